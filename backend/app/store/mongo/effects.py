"""Effects in MongoDB: applied once each, together with what they change on users and the rows they make."""

import asyncio
from collections.abc import Sequence
from datetime import datetime

from pymongo import UpdateOne

from ...contracts.types import ClaimId, UserId, ValidationId
from ...domain.effects import Effect
from ...domain.records import Notification, TrustChange
from ...domain.trust import TrustPolicy
from ...ports import Clock, Trimmed
from ..rows import (
    Document,
    applied,
    no_such_user,
    notification_document,
    to_us,
    trust_change_record,
)
from ..schema import PROGRESS_COLUMNS, Name
from .claims import finish, unfinished
from .connection import MongoConnection, Repository, Session, one_call

UserEffects = tuple[UserId, Sequence[Effect]]
"""The effects of one call that touch one user, in order."""

Made = dict[str, tuple[Notification, ...]]
"""What each newly applied effect made, by its key."""

_USERS_PER_STEP = 512


class MongoEffects(Repository):
    """See `ports.EffectRepository`."""

    def __init__(self, connection: MongoConnection, clock: Clock, policy: TrustPolicy) -> None:
        super().__init__(connection)
        self._clock = clock
        self._policy = policy
        self._users = connection.batcher(self._apply_together)
        self._finishing = connection.batcher(self._finish_together)

    async def apply_effects(
        self, effects: Sequence[Effect], finishes: ValidationId | ClaimId | None = None
    ) -> list[Notification]:
        """As the port says; the timeout counts for each user's transaction, what is applied stays applied."""
        by_user: dict[UserId, list[Effect]] = {}
        for effect in effects:
            by_user.setdefault(effect.user_id, []).append(effect)
        users = list(by_user.items())
        timeout_s = self.connection.timeout_s
        made: Made = {}
        for start in range(0, len(users), _USERS_PER_STEP):
            step = users[start : start + _USERS_PER_STEP]
            # Side by side; the first failure is raised when all have ended.
            calls = (self._users.submit(item[0], item, timeout_s) for item in step)
            for answer in await asyncio.gather(*calls, return_exceptions=True):
                if isinstance(answer, BaseException):
                    raise answer
                made |= answer
        if finishes is not None:
            await self._finishing.submit(finishes, finishes, timeout_s)
        return [item for effect in effects for item in made.pop(effect.key, ())]

    async def _finish_together(self, ids: Sequence[str]) -> Sequence[None]:
        await self.connection.call(lambda: finish(self.connection, ids))
        return [None for _ in ids]

    async def _apply_together(self, wanted: Sequence[UserEffects]) -> Sequence[Made | Exception]:
        now = self._clock.now()
        return await self.connection.transact_together(
            wanted, lambda item: item[0], lambda values, session: self._apply(values, now, session)
        )

    async def _apply(
        self, wanted: Sequence[UserEffects], now: datetime, session: Session
    ) -> list[Made | Exception]:
        """Apply those effects that never were, in a transaction; each in `wanted` on top of those before it.

        The users' rows are written first: who comes second meets the conflict before doing any work.
        """
        connection = self.connection
        user_ids = {"$in": list({user_id for user_id, _ in wanted})}
        keys = {"$in": [effect.key for _, effects in wanted for effect in effects]}
        users = await connection.find(Name.USERS, {"_id": user_ids}, session=session)
        earlier = await connection.find(Name.EFFECTS, {"_id": keys}, {"_id": 1}, session=session)
        step = _Step(users, earlier, self._policy, now)
        answers = [step.apply(user_id, effects) for user_id, effects in wanted]
        if step.unread:
            await connection[Name.USERS].bulk_write(step.user_updates(), session=session)
            await connection.insert(Name.EFFECTS, step.effects, session)
            await connection.insert(Name.NOTIFICATIONS, step.notifications, session)
        return answers

    @one_call
    async def trust_changes(self, claim_id: ClaimId) -> list[TrustChange]:
        rows = await self.connection.find(Name.EFFECTS, {"claim_id": claim_id}, sort={"_id": 1})
        return [trust_change_record(row) for row in rows]

    @one_call
    async def trim_effects(self, before: datetime, position: str | None, limit: int) -> Trimmed:
        before_us = to_us(before)
        if await unfinished(self.connection, before_us):
            return Trimmed(0, None)
        rows = await self.connection.find(
            Name.EFFECTS,
            {"_id": {"$gt": position or ""}},
            {"claim_id": 1, "applied_at_us": 1},
            sort={"_id": 1},
            limit=limit,
        )
        old = [
            row["_id"]
            for row in rows
            if row["claim_id"] is None and row.get("applied_at_us", before_us) < before_us
        ]
        if old:
            await self.connection[Name.EFFECTS].delete_many({"_id": {"$in": old}})
        return Trimmed(len(old), rows[-1]["_id"] if len(rows) == limit else None)


class _Step:
    """What the effects of one transaction amount to. unread: how many more, per user that moved."""

    def __init__(
        self, users: Sequence[Document], earlier: Sequence[Document], policy: TrustPolicy, now: datetime
    ) -> None:
        self._users = {row["id"]: row for row in users}
        self._applied = {row["key"] for row in earlier}
        self._policy = policy
        self._now = now
        self.unread: dict[str, int] = {}
        self.effects: list[Document] = []
        self.notifications: list[Document] = []

    def apply(self, user_id: UserId, effects: Sequence[Effect]) -> Made | Exception:
        """What was made; USER_NOT_FOUND for a user who does not exist."""
        row = self._users.get(user_id)
        if row is None:
            return no_such_user()
        made: Made = {}
        for effect in effects:
            if effect.key in self._applied:
                continue
            changes, effect_row, made[effect.key] = applied(row, effect, self._policy, self._now)
            row |= changes
            self._applied.add(effect.key)
            self.unread[user_id] = self.unread.get(user_id, 0) + len(made[effect.key])
            self.effects.append(effect_row)
            self.notifications += [notification_document(item) for item in made[effect.key]]
        return made

    def user_updates(self) -> list[UpdateOne]:
        return [
            UpdateOne(
                {"_id": user_id},
                {
                    "$set": {column: self._users[user_id][column] for column in PROGRESS_COLUMNS},
                    "$inc": {"unread": unread},
                },
            )
            for user_id, unread in self.unread.items()
        ]
