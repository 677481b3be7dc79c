"""MongoDB queries about effects and notifications."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from pymongo import ReturnDocument, UpdateOne

from ...contracts.types import ClaimId, NotificationId, UserId
from ...domain.effects import Effect, advance
from ...domain.records import Notification, Progress, TrustChange
from ...domain.trust import TrustPolicy
from ...ports import History, ReadMark
from ..refusals import no_such_notification, no_such_user
from ..rows import (
    Document,
    bounded,
    effect_document,
    history_of,
    notification_document,
    notification_record,
    progress_document,
    progress_record,
    to_us,
    trust_change_record,
)
from ..schema import Name
from .connection import MongoLink, Session, loaded, stored

Made = dict[str, tuple[Notification, ...]]
"""What each newly applied effect made, by its key."""


@dataclass(frozen=True, slots=True)
class UserEffects:
    """The effects of one call that touch one user, in order."""

    user_id: UserId
    effects: Sequence[Effect]


async def apply(
    link: MongoLink, wanted: Sequence[UserEffects], policy: TrustPolicy, now: datetime, session: Session
) -> list[Made | Exception]:
    """Apply those effects that never were, inside a transaction; each in `wanted` on top of those before it.

    A user who does not exist is answered by RefusedError(USER_NOT_FOUND). The users' rows are written first:
    who comes second meets the conflict before doing any work.
    """
    user_ids = list({item.user_id for item in wanted})
    found = await link[Name.USERS].find({"_id": {"$in": user_ids}}, session=session).to_list(length=None)
    users = {item["_id"]: _Moving(progress_record(item), item["badges"]) for item in found}
    applied = await _applied_among(link, [effect.key for item in wanted for effect in item.effects], session)
    rows = _Rows()
    answers: list[Made | Exception] = []
    for item in wanted:
        user = users.get(item.user_id)
        if user is None:
            answers.append(no_such_user())
            continue
        answers.append(_advance(user, item.effects, applied, rows, policy, now))
    await _write(link, {key: user for key, user in users.items() if user.moved}, rows, session)
    return answers


@dataclass(slots=True)
class _Moving:
    """A user's row while effects are applied to it."""

    progress: Progress
    badges: list[list[Any]]
    unread: int = 0
    moved: bool = False


@dataclass(slots=True)
class _Rows:
    """What is to be inserted."""

    effects: list[Document] = field(default_factory=list)
    notifications: list[Document] = field(default_factory=list)


def _advance(
    user: _Moving,
    effects: Sequence[Effect],
    applied: set[str],
    rows: _Rows,
    policy: TrustPolicy,
    now: datetime,
) -> Made:
    made: Made = {}
    for effect in effects:
        if effect.key in applied:
            continue
        outcome = advance(user.progress, effect, policy, now)
        applied.add(effect.key)
        made[effect.key] = outcome.notifications
        user.progress = outcome.progress
        user.badges += [[badge_id, to_us(now)] for badge_id in outcome.earned]
        user.unread += len(outcome.notifications)
        user.moved = True
        rows.effects.append(stored(effect_document(effect, outcome, now), "key"))
        rows.notifications += [stored(notification_document(item)) for item in outcome.notifications]
    return made


async def _applied_among(link: MongoLink, keys: Sequence[str], session: Session) -> set[str]:
    found = link[Name.EFFECTS].find({"_id": {"$in": list(keys)}}, {"_id": 1}, session=session)
    return {item["_id"] for item in await found.to_list(length=None)}


async def _write(link: MongoLink, users: dict[str, _Moving], rows: _Rows, session: Session) -> None:
    if not users:
        return
    await link[Name.USERS].bulk_write(
        [
            UpdateOne(
                {"_id": user_id},
                {"$set": progress_document(user.progress, user.badges), "$inc": {"unread": user.unread}},
            )
            for user_id, user in users.items()
        ],
        session=session,
    )
    await link[Name.EFFECTS].insert_many(rows.effects, session=session)
    if rows.notifications:
        await link[Name.NOTIFICATIONS].insert_many(rows.notifications, session=session)


async def trust_changes(link: MongoLink, claim_id: ClaimId) -> list[TrustChange]:
    found = await link[Name.EFFECTS].find({"claim_id": claim_id}).sort("_id", 1).to_list(length=None)
    return [trust_change_record(loaded(item, "key")) for item in found]


async def page(
    link: MongoLink,
    user_id: UserId,
    after_seq: int | None,
    before_seq: int | None,
    unread_only: bool,
    limit: int,
) -> list[Notification]:
    seq: dict[str, int] = {}
    if after_seq is not None:
        seq["$gt"] = after_seq
    if before_seq is not None:
        seq["$lt"] = before_seq
    wanted: dict[str, Any] = {"user_id": user_id, "seq": seq} if seq else {"user_id": user_id}
    if unread_only:
        wanted["read"] = False
    order = -1 if after_seq is None else 1
    cursor = link[Name.NOTIFICATIONS].find(wanted).sort("seq", order).limit(bounded(limit))
    return [notification_record(loaded(item)) for item in await cursor.to_list(length=None)]


async def history(link: MongoLink, user_id: UserId, after_seq: int, last_seq: int, limit: int) -> History:
    """The rows right after `after_seq`, none above `last_seq`, which the caller has read before."""
    wanted = {"user_id": user_id, "seq": {"$gt": after_seq, "$lte": last_seq}}
    cursor = link[Name.NOTIFICATIONS].find(wanted).sort("seq", 1).limit(bounded(limit))
    rows = [loaded(item) for item in await cursor.to_list(length=None)]
    return history_of(rows, after_seq, last_seq)


async def last_seqs(link: MongoLink, user_ids: Sequence[UserId]) -> dict[UserId, int]:
    wanted = {"_id": {"$in": list(user_ids)}}
    found = await link[Name.USERS].find(wanted, {"last_seq": 1}).to_list(length=None)
    return {UserId(item["_id"]): item["last_seq"] for item in found}


async def mark_read(link: MongoLink, user_id: UserId, notification_id: NotificationId) -> ReadMark:
    async def body(session: Session) -> ReadMark:
        notifications = link[Name.NOTIFICATIONS]
        found = await notifications.find_one({"_id": notification_id, "user_id": user_id}, session=session)
        if found is None:
            raise no_such_notification()
        changed = [] if found["read"] else [notification_id]
        if changed:
            await notifications.update_one(
                {"_id": notification_id}, {"$set": {"read": True}}, session=session
            )
        unread = await _subtract_unread(link, user_id, len(changed), session)
        return ReadMark(changed, found["seq"], unread)

    return await link.transact(body)


async def mark_all_read(link: MongoLink, user_id: UserId, up_to_seq: int | None) -> ReadMark:
    """A bound above the newest seq means the newest: it must not reach rows that do not exist yet."""

    async def body(session: Session) -> ReadMark:
        user = await link[Name.USERS].find_one({"_id": user_id}, {"last_seq": 1}, session=session)
        last_seq = 0 if user is None else user["last_seq"]
        bound = last_seq if up_to_seq is None else min(up_to_seq, last_seq)
        wanted = {"user_id": user_id, "seq": {"$lte": bound}, "read": False}
        cursor = link[Name.NOTIFICATIONS].find(wanted, {"_id": 1}, session=session).sort("seq", 1)
        ids = [NotificationId(item["_id"]) for item in await cursor.to_list(length=None)]
        if ids:
            await link[Name.NOTIFICATIONS].update_many(wanted, {"$set": {"read": True}}, session=session)
        return ReadMark(ids, bound, await _subtract_unread(link, user_id, len(ids), session))

    return await link.transact(body)


async def _subtract_unread(link: MongoLink, user_id: UserId, count: int, session: Session) -> int:
    users = link[Name.USERS]
    if count:
        user = await users.find_one_and_update(
            {"_id": user_id},
            {"$inc": {"unread": -count}},
            projection={"unread": 1},
            return_document=ReturnDocument.AFTER,
            session=session,
        )
    else:
        user = await users.find_one({"_id": user_id}, {"unread": 1}, session=session)
    return 0 if user is None else user["unread"]
