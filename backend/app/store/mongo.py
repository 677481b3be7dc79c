"""MongoStore: the whole `Store` port on a MongoDB replica set, for any number of nodes.

Writes are acknowledged by the majority, on its journals; reads see only such writes. What touches several
documents (a validation, a user's effects, read marks) is one transaction; callers of one claim or one user
share transactions (`combiner`). The queries are in the `mongo_*` modules. Guarantees: ADR 0006.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from typing import TypeVar

from ..contracts.words import ClaimId, ClaimStatus, NotificationId, UserId, ValidationId
from ..domain.consensus import Decision
from ..domain.effects import Effect
from ..domain.records import Claim, EarnedBadge, Notification, TrustChange, User, Validation
from ..domain.trust import TrustPolicy
from ..errors import RefusedError, UnavailableError
from ..ports import Clock, Credentials, History, Page, ReadMark, Recorded
from . import mongo_claims, mongo_notifications, mongo_setup, mongo_users
from .combiner import Combiner
from .mongo_driver import MongoDriver, make_client
from .mongo_link import MongoLink
from .mongo_notifications import Made
from .schema import Name

T = TypeVar("T")

_BATCH = 64
_DEPTH = 20_000
_KEYS_AT_ONCE = 16
_USERS_PER_STEP = 64


class MongoStore:
    """See `ports.Store` for what each method promises."""

    def __init__(
        self,
        url: str,
        trust_policy: TrustPolicy,
        clock: Clock,
        timeout_s: float,
        driver: MongoDriver,
        rng: random.Random,
    ) -> None:
        self._url = url
        self._policy = trust_policy
        self._clock = clock
        self._timeout_s = timeout_s
        self._driver: MongoDriver = driver
        self._rng = rng
        self._link: MongoLink | None = None
        self._claims = Combiner(self._record_together, batch=_BATCH, depth=_DEPTH, keys_at_once=_KEYS_AT_ONCE)
        self._users = Combiner(self._apply_together, batch=_BATCH, depth=_DEPTH, keys_at_once=_KEYS_AT_ONCE)

    async def open(self) -> None:
        client = make_client(self._url, self._driver, self._timeout_s)
        link = MongoLink(client, self._driver, self._timeout_s, self._rng)
        try:
            await mongo_setup.prepare(link, self._url)
        except BaseException:
            await link.close()
            raise
        self._link = link

    async def close(self) -> None:
        await self._claims.close()
        await self._users.close()
        link, self._link = self._link, None
        if link is not None:
            await link.close()

    async def _call(self, work: Callable[[MongoLink], Awaitable[T]]) -> T:
        link = self._link
        if link is None:
            raise UnavailableError("The store is not open.")
        return await link.call(lambda: work(link))

    async def ping(self) -> None:
        async def touch(link: MongoLink) -> None:
            await link[Name.META].update_one({"_id": "ping"}, {"$inc": {"value": 1}}, upsert=True)

        await self._call(touch)

    # -------------------------------------------------------------- users

    async def create_user(self, user: User, password_hash: str) -> None:
        await self.create_users([user], password_hash)

    async def create_users(self, users: Sequence[User], password_hash: str) -> None:
        await self._call(lambda link: mongo_users.create(link, users, password_hash))

    async def credentials(self, username: str) -> Credentials | None:
        return await self._call(lambda link: mongo_users.credentials(link, username))

    async def user(self, user_id: UserId) -> User | None:
        return await self._call(lambda link: mongo_users.user(link, user_id))

    async def badges(self, user_ids: Sequence[UserId]) -> dict[UserId, list[EarnedBadge]]:
        return await self._call(lambda link: mongo_users.badges(link, user_ids))

    async def leaderboard(self, limit: int, cursor: str | None) -> Page[User]:
        return await self._call(lambda link: mongo_users.leaderboard(link, limit, cursor))

    async def revoke_token(self, jti: str, expires_at: datetime) -> None:
        await self._call(lambda link: mongo_users.revoke(link, jti, expires_at))

    async def is_revoked(self, jti: str) -> bool:
        return await self._call(lambda link: mongo_users.is_revoked(link, jti))

    # -------------------------------------------------------------- claims and validations

    async def create_claim(self, claim: Claim) -> tuple[Claim, bool]:
        return await self._call(lambda link: mongo_claims.create(link, claim))

    async def create_claims(self, claims: Sequence[Claim]) -> None:
        await self._call(lambda link: mongo_claims.create_many(link, claims))

    async def claim(self, claim_id: ClaimId) -> Claim | None:
        return await self._call(lambda link: mongo_claims.claim(link, claim_id))

    async def claims(
        self, limit: int, cursor: str | None, status: ClaimStatus | None, owner_id: UserId | None
    ) -> Page[Claim]:
        return await self._call(lambda link: mongo_claims.page(link, limit, cursor, status, owner_id))

    async def record_validation(self, validation: Validation) -> Recorded:
        return await self._claims.submit(validation.claim_id, validation, self._timeout_s)

    async def _record_together(
        self, claim_id: str, validations: Sequence[Validation]
    ) -> Sequence[Recorded | Exception]:
        try:
            return await self._call(lambda link: mongo_claims.record(link, ClaimId(claim_id), validations))
        except RefusedError as refusal:
            if len(validations) == 1:
                return [refusal]
        # One of them contradicts a unique index and took the others down: each on its own.
        return [(await self._record_together(claim_id, [validation]))[0] for validation in validations]

    async def validation_by(self, claim_id: ClaimId, user_id: UserId) -> Validation | None:
        return await self._call(lambda link: mongo_claims.validation_by(link, claim_id, user_id))

    async def validations(self, claim_id: ClaimId, limit: int, cursor: str | None) -> Page[Validation]:
        return await self._call(lambda link: mongo_claims.validations(link, claim_id, limit, cursor))

    async def participants(self, claim_id: ClaimId) -> list[Validation]:
        return await self._call(lambda link: mongo_claims.participants(link, claim_id))

    async def settle(
        self, claim_id: ClaimId, version: int, decision: Decision, settled_at: datetime
    ) -> Claim | None:
        return await self._call(
            lambda link: mongo_claims.settle(link, claim_id, version, decision, settled_at)
        )

    async def apply_effects(
        self, effects: Sequence[Effect], finishes: ValidationId | ClaimId | None = None
    ) -> list[Notification]:
        """As the port says; the timeout counts for each user's transaction, what is applied stays applied."""
        by_user: dict[UserId, list[Effect]] = {}
        for effect in effects:
            by_user.setdefault(effect.user_id, []).append(effect)
        user_ids = list(by_user)
        made: Made = {}
        for start in range(0, len(user_ids), _USERS_PER_STEP):
            step = {user_id: by_user[user_id] for user_id in user_ids[start : start + _USERS_PER_STEP]}
            made.update(await self._apply_step(step))
        if finishes is not None:
            await self._call(lambda link: mongo_claims.finish(link, finishes))
        return [item for effect in effects for item in made.pop(effect.key, ())]

    async def _apply_step(self, by_user: Mapping[UserId, Sequence[Effect]]) -> Made:
        """Side by side; the first failure is raised when all have ended."""
        answers = await asyncio.gather(
            *(self._users.submit(user_id, own, self._timeout_s) for user_id, own in by_user.items()),
            return_exceptions=True,
        )
        made: Made = {}
        for answer in answers:
            if isinstance(answer, BaseException):
                raise answer
            made.update(answer)
        return made

    async def _apply_together(
        self, user_id: str, lists: Sequence[Sequence[Effect]]
    ) -> Sequence[Made | Exception]:
        effects = [effect for own in lists for effect in own]
        now = self._clock.now()
        made = await self._call(
            lambda link: mongo_notifications.apply(link, UserId(user_id), effects, self._policy, now)
        )
        # A key that two callers brought goes to the first: each notification is returned once.
        return [{effect.key: made.pop(effect.key) for effect in own if effect.key in made} for own in lists]

    async def pending_validations(self, before: datetime, limit: int) -> list[Validation]:
        return await self._call(lambda link: mongo_claims.pending_validations(link, before, limit))

    async def pending_settlements(self, before: datetime, limit: int) -> list[Claim]:
        return await self._call(lambda link: mongo_claims.pending_settlements(link, before, limit))

    async def claims_moved(self, since: datetime, limit: int) -> list[ClaimId]:
        return await self._call(lambda link: mongo_claims.moved(link, since, limit))

    async def trust_changes(self, claim_id: ClaimId) -> list[TrustChange]:
        return await self._call(lambda link: mongo_notifications.trust_changes(link, claim_id))

    # -------------------------------------------------------------- notifications

    async def notifications(
        self,
        user_id: UserId,
        *,
        after_seq: int | None = None,
        before_seq: int | None = None,
        unread_only: bool = False,
        limit: int,
    ) -> list[Notification]:
        return await self._call(
            lambda link: mongo_notifications.page(link, user_id, after_seq, before_seq, unread_only, limit)
        )

    async def history(self, user_id: UserId, after_seq: int, limit: int) -> History:
        return await self._call(lambda link: mongo_notifications.history(link, user_id, after_seq, limit))

    async def last_seqs(self, user_ids: Sequence[UserId]) -> dict[UserId, int]:
        return await self._call(lambda link: mongo_notifications.last_seqs(link, user_ids))

    async def unread_count(self, user_id: UserId) -> int:
        return await self._call(lambda link: mongo_notifications.unread_count(link, user_id))

    async def mark_read(self, user_id: UserId, notification_id: NotificationId) -> ReadMark:
        return await self._call(lambda link: mongo_notifications.mark_read(link, user_id, notification_id))

    async def mark_all_read(self, user_id: UserId, up_to_seq: int | None) -> ReadMark:
        return await self._call(lambda link: mongo_notifications.mark_all_read(link, user_id, up_to_seq))
