"""MongoStore: the whole `Store` port on a MongoDB replica set, for any number of nodes.

Writes are acknowledged by the majority, on its journals; reads see only such writes. What touches several
documents (a validation, a user's effects, read marks) is one transaction; callers that wait at the same time
share transactions (`combiner`, `mongo_batches`). The queries are in the `mongo_*` modules. Guarantees:
ADR 0006.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from typing import TypeVar

from ...contracts.types import ClaimId, ClaimStatus, NotificationId, UserId, ValidationId
from ...domain.consensus import Decision
from ...domain.effects import Effect
from ...domain.records import Claim, EarnedBadge, Notification, TrustChange, User, Validation
from ...domain.trust import TrustPolicy
from ...errors import UnavailableError
from ...ports import Clock, Credentials, Decide, History, Newcomer, Page, ReadMark, Recorded, Trimmed
from ..rows import claim_record, history_of, user_record
from ..schema import Name
from . import claims as mongo_claims
from . import migrations, retention
from . import notifications as mongo_notifications
from . import users as mongo_users
from .batcher import Combiner, serve_batch
from .claims import Lookup, Recording
from .connection import MongoDriver, MongoLink, make_client
from .notifications import Made, UserEffects

T = TypeVar("T")

_BATCH = 128
_DEPTH = 20_000
_BATCHES_AT_ONCE = 4
_USERS_PER_STEP = 512


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
        sizes = {"batch": _BATCH, "batches_at_once": _BATCHES_AT_ONCE, "depth": _DEPTH}
        self._claims: Combiner[Recording, Recorded] = Combiner(self._record_together, **sizes)
        self._finishing: Combiner[str, None] = Combiner(self._finish_together, **sizes)
        self._users: Combiner[UserEffects, Made] = Combiner(self._apply_together, **sizes)

        self._user_rows = Lookup(self._opened, Name.USERS, timeout_s, {"password_hash": 0})
        self._claim_rows = Lookup(self._opened, Name.CLAIMS, timeout_s)
        self._revoked_tokens = Lookup(self._opened, Name.REVOKED_TOKENS, timeout_s)

    async def open(self) -> None:
        client = make_client(self._url, self._driver, self._timeout_s)
        link = MongoLink(client, self._driver, self._timeout_s, self._rng)
        try:
            await migrations.prepare(link, self._url)
        except BaseException:
            await link.close()
            raise
        self._link = link

    async def close(self) -> None:
        for waiting in (self._claims, self._users, self._finishing):
            await waiting.close()
        for lookup in (self._user_rows, self._claim_rows, self._revoked_tokens):
            await lookup.close()
        link, self._link = self._link, None
        if link is not None:
            await link.close()

    async def _call(self, work: Callable[[MongoLink], Awaitable[T]]) -> T:
        link = self._opened()
        return await link.call(lambda: work(link))

    def _opened(self) -> MongoLink:
        if self._link is None:
            raise UnavailableError("The store is not open.")
        return self._link

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
        row = await self._user_rows.one(user_id)
        return None if row is None else user_record(row)

    async def badges(self, user_ids: Sequence[UserId]) -> dict[UserId, list[EarnedBadge]]:
        return await self._call(lambda link: mongo_users.badges(link, user_ids))

    async def leaderboard(self, limit: int, cursor: str | None) -> Page[User]:
        return await self._call(lambda link: mongo_users.leaderboard(link, limit, cursor))

    async def revoke_token(self, jti: str, expires_at: datetime) -> None:
        await self._call(lambda link: mongo_users.revoke(link, jti, expires_at))

    async def is_revoked(self, jti: str) -> bool:
        return await self._revoked_tokens.one(jti) is not None

    async def newcomers(self, asked: Sequence[tuple[UserId, str]]) -> list[Newcomer]:
        return await self._call(lambda link: mongo_users.newcomers(link, asked))

    # -------------------------------------------------------------- claims and validations

    async def create_claim(self, claim: Claim) -> tuple[Claim, bool]:
        return await self._call(lambda link: mongo_claims.create(link, claim))

    async def create_claims(self, claims: Sequence[Claim]) -> None:
        await self._call(lambda link: mongo_claims.create_many(link, claims))

    async def claim(self, claim_id: ClaimId) -> Claim | None:
        row = await self._claim_rows.one(claim_id)
        return None if row is None else claim_record(row)

    async def claims(
        self, limit: int, cursor: str | None, status: ClaimStatus | None, owner_id: UserId | None
    ) -> Page[Claim]:
        return await self._call(lambda link: mongo_claims.page(link, limit, cursor, status, owner_id))

    async def record_validation(self, validation: Validation, decide: Decide | None = None) -> Recorded:
        recording = Recording(validation, decide)
        return await self._claims.submit(validation.claim_id, recording, self._timeout_s)

    async def _record_together(self, recordings: Sequence[Recording]) -> Sequence[Recorded | Exception]:
        link = self._opened()
        return await serve_batch(
            link,
            recordings,
            lambda recording: recording.validation.claim_id,
            lambda values, session: mongo_claims.record(link, values, session),
        )

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
            await self._finishing.submit(finishes, finishes, self._timeout_s)
        return [item for effect in effects for item in made.pop(effect.key, ())]

    async def _finish_together(self, ids: Sequence[str]) -> Sequence[None]:
        await self._call(lambda link: mongo_claims.finish(link, ids))
        return [None for _ in ids]

    async def _apply_step(self, by_user: Mapping[UserId, Sequence[Effect]]) -> Made:
        """Side by side; the first failure is raised when all have ended."""
        answers = await asyncio.gather(
            *(
                self._users.submit(user_id, UserEffects(user_id, own), self._timeout_s)
                for user_id, own in by_user.items()
            ),
            return_exceptions=True,
        )
        made: Made = {}
        for answer in answers:
            if isinstance(answer, BaseException):
                raise answer
            made.update(answer)
        return made

    async def _apply_together(self, wanted: Sequence[UserEffects]) -> Sequence[Made | Exception]:
        link, now = self._opened(), self._clock.now()
        return await serve_batch(
            link,
            wanted,
            lambda item: item.user_id,
            lambda values, session: mongo_notifications.apply(link, values, self._policy, now, session),
        )

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
        """One view: the newest seq is read first, and all rows up to it were committed with it."""
        row = await self._user_rows.one(user_id)
        last_seq = 0 if row is None else row["last_seq"]
        if after_seq >= last_seq:
            return history_of([], after_seq, last_seq)
        return await self._call(
            lambda link: mongo_notifications.history(link, user_id, after_seq, last_seq, limit)
        )

    async def last_seqs(self, user_ids: Sequence[UserId]) -> dict[UserId, int]:
        return await self._call(lambda link: mongo_notifications.last_seqs(link, user_ids))

    async def unread_count(self, user_id: UserId) -> int:
        row = await self._user_rows.one(user_id)
        return 0 if row is None else int(row["unread"])

    async def mark_read(self, user_id: UserId, notification_id: NotificationId) -> ReadMark:
        return await self._call(lambda link: mongo_notifications.mark_read(link, user_id, notification_id))

    async def mark_all_read(self, user_id: UserId, up_to_seq: int | None) -> ReadMark:
        return await self._call(lambda link: mongo_notifications.mark_all_read(link, user_id, up_to_seq))

    # -------------------------------------------------------------- retention

    async def trim_notifications(self, before: datetime, position: str | None, limit: int) -> Trimmed:
        return await self._call(lambda link: retention.notifications(link, before, position, limit))

    async def trim_effects(self, before: datetime, position: str | None, limit: int) -> Trimmed:
        return await self._call(lambda link: retention.effects(link, before, position, limit))
