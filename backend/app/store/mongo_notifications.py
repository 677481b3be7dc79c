"""MongoDB queries about effects and notifications."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from pymongo import ReturnDocument

from ..contracts.words import ClaimId, NotificationId, UserId
from ..domain.effects import Effect, Outcome, advance
from ..domain.records import Notification, TrustChange
from ..domain.trust import TrustPolicy
from ..ports import History, ReadMark
from .mongo_driver import Session
from .mongo_link import MongoLink, loaded, stored
from .refusals import no_such_notification, no_such_user
from .rows import (
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
from .schema import Name

Made = dict[str, tuple[Notification, ...]]
"""What each newly applied effect made, by its key."""


async def apply(
    link: MongoLink, user_id: UserId, effects: Sequence[Effect], policy: TrustPolicy, now: datetime
) -> Made:
    """Apply those effects of one user that never were, in one transaction.

    Raises:
        RefusedError: USER_NOT_FOUND.
    """

    async def body(session: Session) -> Made:
        user = await link[Name.USERS].find_one({"_id": user_id}, session=session)
        if user is None:
            raise no_such_user()
        fresh = await _never_applied(link, effects, session)
        outcomes, changes = _advance_all(user, fresh, policy, now)
        if outcomes:
            await _write(link, user_id, outcomes, changes, session)
        return {effect.key: outcome.notifications for effect, outcome in outcomes}

    return await link.transact(body)


async def _never_applied(link: MongoLink, effects: Sequence[Effect], session: Session) -> list[Effect]:
    by_key: dict[str, Effect] = {}
    for effect in effects:
        by_key.setdefault(effect.key, effect)
    wanted = {"_id": {"$in": list(by_key)}}
    found = await link[Name.EFFECTS].find(wanted, {"_id": 1}, session=session).to_list(length=None)
    applied = {item["_id"] for item in found}
    return [effect for key, effect in by_key.items() if key not in applied]


def _advance_all(
    user: Document, effects: Sequence[Effect], policy: TrustPolicy, now: datetime
) -> tuple[list[tuple[Effect, Outcome]], Document]:
    """The outcome of each effect on top of the ones before it, and the user's columns after the last."""
    progress, badges = progress_record(user), list(user["badges"])
    outcomes = []
    for effect in effects:
        outcome = advance(progress, effect, policy, now)
        progress = outcome.progress
        badges += [[badge_id, to_us(now)] for badge_id in outcome.earned]
        outcomes.append((effect, outcome))
    return outcomes, progress_document(progress, badges)


async def _write(
    link: MongoLink,
    user_id: UserId,
    outcomes: Sequence[tuple[Effect, Outcome]],
    changes: Document,
    session: Session,
) -> None:
    """The user's row first: who comes second meets the conflict before doing any work."""
    notifications = [item for _, outcome in outcomes for item in outcome.notifications]
    await link[Name.USERS].update_one(
        {"_id": user_id}, {"$set": changes, "$inc": {"unread": len(notifications)}}, session=session
    )
    await link[Name.EFFECTS].insert_many(
        [stored(effect_document(effect, outcome), "key") for effect, outcome in outcomes], session=session
    )
    if notifications:
        await link[Name.NOTIFICATIONS].insert_many(
            [stored(notification_document(item)) for item in notifications], session=session
        )


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


async def history(link: MongoLink, user_id: UserId, after_seq: int, limit: int) -> History:
    """The newest seq is read first: all rows up to it were committed with it, so the view is consistent."""
    last_seq = (await last_seqs(link, [user_id])).get(user_id, 0)
    wanted = {"user_id": user_id, "seq": {"$gt": after_seq, "$lte": last_seq}}
    cursor = link[Name.NOTIFICATIONS].find(wanted).sort("seq", 1).limit(bounded(limit))
    rows = [loaded(item) for item in await cursor.to_list(length=None)]
    return history_of(rows, after_seq, last_seq)


async def last_seqs(link: MongoLink, user_ids: Sequence[UserId]) -> dict[UserId, int]:
    wanted = {"_id": {"$in": list(user_ids)}}
    found = await link[Name.USERS].find(wanted, {"last_seq": 1}).to_list(length=None)
    return {UserId(item["_id"]): item["last_seq"] for item in found}


async def unread_count(link: MongoLink, user_id: UserId) -> int:
    found = await link[Name.USERS].find_one({"_id": user_id}, {"unread": 1})
    return 0 if found is None else found["unread"]


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
