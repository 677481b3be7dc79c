"""A store that times every call and counts what was stored; otherwise exactly the store it wraps.

Facts are counted where they become facts: a validation when it is recorded, a consensus when it is settled, a
notification when its row exists. Built in the composition root around the real store.
"""

import time
from collections.abc import Awaitable, Sequence
from datetime import datetime
from typing import TypeVar

from ..contracts.types import ClaimId, ClaimStatus, NotificationId, UserId, ValidationId
from ..domain.consensus import Decision
from ..domain.effects import Effect
from ..domain.records import Claim, EarnedBadge, Notification, TrustChange, User, Validation
from ..errors import RefusedError, UnavailableError
from ..observability.metrics import Metrics
from ..ports import Credentials, Decide, History, Newcomer, Page, ReadMark, Recorded, Store, Trimmed

T = TypeVar("T")


class MeteredStore:
    """Forwards every call of the `Store` port; guarantees and errors are those of the wrapped store."""

    def __init__(self, store: Store, metrics: Metrics) -> None:
        self._store = store
        self._metrics = metrics

    async def _timed(self, method: str, call: Awaitable[T]) -> T:
        started_s = time.perf_counter()
        try:
            return await call
        except RefusedError:
            self._metrics.store_error(method, "refused")
            raise
        except UnavailableError:
            self._metrics.store_error(method, "unavailable")
            raise
        except Exception:
            self._metrics.store_error(method, "bug")
            raise
        finally:
            self._metrics.store_call(method, time.perf_counter() - started_s)

    async def open(self) -> None:
        await self._timed("open", self._store.open())

    async def close(self) -> None:
        await self._timed("close", self._store.close())

    async def ping(self) -> None:
        await self._timed("ping", self._store.ping())

    # -------------------------------------------------------------- users

    async def create_user(self, user: User, password_hash: str) -> None:
        await self._timed("create_user", self._store.create_user(user, password_hash))

    async def create_users(self, users: Sequence[User], password_hash: str) -> None:
        await self._timed("create_users", self._store.create_users(users, password_hash))

    async def credentials(self, username: str) -> Credentials | None:
        return await self._timed("credentials", self._store.credentials(username))

    async def user(self, user_id: UserId) -> User | None:
        return await self._timed("user", self._store.user(user_id))

    async def badges(self, user_ids: Sequence[UserId]) -> dict[UserId, list[EarnedBadge]]:
        return await self._timed("badges", self._store.badges(user_ids))

    async def leaderboard(self, limit: int, cursor: str | None) -> Page[User]:
        return await self._timed("leaderboard", self._store.leaderboard(limit, cursor))

    async def revoke_token(self, jti: str, expires_at: datetime) -> None:
        await self._timed("revoke_token", self._store.revoke_token(jti, expires_at))

    async def is_revoked(self, jti: str) -> bool:
        return await self._timed("is_revoked", self._store.is_revoked(jti))

    async def newcomers(self, asked: Sequence[tuple[UserId, str]]) -> list[Newcomer]:
        return await self._timed("newcomers", self._store.newcomers(asked))

    # -------------------------------------------------------------- claims and validations

    async def create_claim(self, claim: Claim) -> tuple[Claim, bool]:
        return await self._timed("create_claim", self._store.create_claim(claim))

    async def create_claims(self, claims: Sequence[Claim]) -> None:
        await self._timed("create_claims", self._store.create_claims(claims))

    async def claim(self, claim_id: ClaimId) -> Claim | None:
        return await self._timed("claim", self._store.claim(claim_id))

    async def claims(
        self, limit: int, cursor: str | None, status: ClaimStatus | None, owner_id: UserId | None
    ) -> Page[Claim]:
        return await self._timed("claims", self._store.claims(limit, cursor, status, owner_id))

    async def record_validation(self, validation: Validation, decide: Decide | None = None) -> Recorded:
        recorded = await self._timed("record_validation", self._store.record_validation(validation, decide))
        self._metrics.validations.inc(recorded.validation.action)
        if recorded.claim.decision is not None:
            self._metrics.consensus.inc(recorded.claim.status)
        return recorded

    async def validation_by(self, claim_id: ClaimId, user_id: UserId) -> Validation | None:
        return await self._timed("validation_by", self._store.validation_by(claim_id, user_id))

    async def validations(self, claim_id: ClaimId, limit: int, cursor: str | None) -> Page[Validation]:
        return await self._timed("validations", self._store.validations(claim_id, limit, cursor))

    async def participants(self, claim_id: ClaimId) -> list[Validation]:
        return await self._timed("participants", self._store.participants(claim_id))

    async def settle(
        self, claim_id: ClaimId, version: int, decision: Decision, settled_at: datetime
    ) -> Claim | None:
        settled = await self._timed("settle", self._store.settle(claim_id, version, decision, settled_at))
        if settled is not None:
            self._metrics.consensus.inc(settled.status)
        return settled

    async def apply_effects(
        self, effects: Sequence[Effect], finishes: ValidationId | ClaimId | None = None
    ) -> list[Notification]:
        rows = await self._timed("apply_effects", self._store.apply_effects(effects, finishes))
        for row in rows:
            self._metrics.notifications_created.inc(row.type)
        return rows

    async def pending_validations(self, before: datetime, limit: int) -> list[Validation]:
        return await self._timed("pending_validations", self._store.pending_validations(before, limit))

    async def pending_settlements(self, before: datetime, limit: int) -> list[Claim]:
        return await self._timed("pending_settlements", self._store.pending_settlements(before, limit))

    async def claims_moved(self, since: datetime, limit: int) -> list[ClaimId]:
        return await self._timed("claims_moved", self._store.claims_moved(since, limit))

    async def trust_changes(self, claim_id: ClaimId) -> list[TrustChange]:
        return await self._timed("trust_changes", self._store.trust_changes(claim_id))

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
        return await self._timed(
            "notifications",
            self._store.notifications(
                user_id, after_seq=after_seq, before_seq=before_seq, unread_only=unread_only, limit=limit
            ),
        )

    async def history(self, user_id: UserId, after_seq: int, limit: int) -> History:
        return await self._timed("history", self._store.history(user_id, after_seq, limit))

    async def last_seqs(self, user_ids: Sequence[UserId]) -> dict[UserId, int]:
        return await self._timed("last_seqs", self._store.last_seqs(user_ids))

    async def unread_count(self, user_id: UserId) -> int:
        return await self._timed("unread_count", self._store.unread_count(user_id))

    async def mark_read(self, user_id: UserId, notification_id: NotificationId) -> ReadMark:
        return await self._timed("mark_read", self._store.mark_read(user_id, notification_id))

    async def mark_all_read(self, user_id: UserId, up_to_seq: int | None) -> ReadMark:
        return await self._timed("mark_all_read", self._store.mark_all_read(user_id, up_to_seq))

    # -------------------------------------------------------------- retention

    async def trim_notifications(self, before: datetime, position: str | None, limit: int) -> Trimmed:
        return await self._timed(
            "trim_notifications", self._store.trim_notifications(before, position, limit)
        )

    async def trim_effects(self, before: datetime, position: str | None, limit: int) -> Trimmed:
        return await self._timed("trim_effects", self._store.trim_effects(before, position, limit))
