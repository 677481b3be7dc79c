"""SqliteStore: the whole `Store` port in one file on disk, for one machine; several processes may share it.

One writer thread commits everything that is waiting with one fsync (WAL, synchronous=FULL); a few reader
threads serve reads from consistent views. The SQL is in the `sqlite_*` modules; this class only says which
lane a call takes. Guarantees: ADR 0002.
"""

from collections.abc import Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TypeVar

from ...contracts.types import ClaimId, ClaimStatus, NotificationId, UserId, ValidationId
from ...domain.consensus import Decision
from ...domain.effects import Effect
from ...domain.records import Claim, EarnedBadge, Notification, TrustChange, User, Validation
from ...domain.trust import TrustPolicy
from ...ports import Clock, Credentials, Decide, History, Newcomer, Page, ReadMark, Recorded, Trimmed
from ..refusals import no_such_user
from . import claims as sqlite_claims
from . import notifications as sqlite_notifications
from . import retention
from . import users as sqlite_users
from .connection import Connection, connect_reader, connect_writer
from .executor import Lane, Task, commit_together, read_together

T = TypeVar("T")

_READERS = 2
_READ_BATCH_JOBS = 16
_WRITE_BATCH_JOBS = 256
_DEPTH_JOBS = 20_000


class SqliteStore:
    """See `ports.Store` for what each method promises."""

    def __init__(self, path: Path, trust_policy: TrustPolicy, clock: Clock, timeout_s: float) -> None:
        self._policy = trust_policy
        self._clock = clock
        self._timeout_s = timeout_s
        self._writer = Lane(
            "store-writer",
            partial(connect_writer, path, timeout_s),
            commit_together,
            threads=1,
            batch_jobs=_WRITE_BATCH_JOBS,
            depth_jobs=_DEPTH_JOBS,
        )
        self._readers = Lane(
            "store-reader",
            partial(connect_reader, path, timeout_s),
            read_together,
            threads=_READERS,
            batch_jobs=_READ_BATCH_JOBS,
            depth_jobs=_DEPTH_JOBS,
        )

    async def open(self) -> None:
        await self._writer.start()
        try:
            await self._readers.start()
        except BaseException:
            await self._writer.stop()
            raise

    async def close(self) -> None:
        await self._writer.stop()
        await self._readers.stop()

    async def _write(self, task: Task[T]) -> T:
        return await self._writer.call(task, self._timeout_s)

    async def _read(self, task: Task[T]) -> T:
        return await self._readers.call(task, self._timeout_s)

    async def ping(self) -> None:
        await self._write(_touch)
        await self._read(_look)

    # -------------------------------------------------------------- users

    async def create_user(self, user: User, password_hash: str) -> None:
        await self.create_users([user], password_hash)

    async def create_users(self, users: Sequence[User], password_hash: str) -> None:
        await self._write(lambda connection: sqlite_users.create(connection, users, password_hash))

    async def credentials(self, username: str) -> Credentials | None:
        return await self._read(lambda connection: sqlite_users.credentials(connection, username))

    async def user(self, user_id: UserId) -> User | None:
        return await self._read(lambda connection: sqlite_users.user(connection, user_id))

    async def badges(self, user_ids: Sequence[UserId]) -> dict[UserId, list[EarnedBadge]]:
        return await self._read(lambda connection: sqlite_users.badges(connection, user_ids))

    async def leaderboard(self, limit: int, cursor: str | None) -> Page[User]:
        return await self._read(lambda connection: sqlite_users.leaderboard(connection, limit, cursor))

    async def revoke_token(self, jti: str, expires_at: datetime) -> None:
        now = self._clock.now()
        await self._write(lambda connection: sqlite_users.revoke(connection, jti, expires_at, now))

    async def is_revoked(self, jti: str) -> bool:
        return await self._read(lambda connection: sqlite_users.is_revoked(connection, jti))

    async def newcomers(self, asked: Sequence[tuple[UserId, str]]) -> list[Newcomer]:
        return await self._read(lambda connection: sqlite_users.newcomers(connection, asked))

    # -------------------------------------------------------------- claims and validations

    async def create_claim(self, claim: Claim) -> tuple[Claim, bool]:
        return await self._write(lambda connection: sqlite_claims.create(connection, claim))

    async def create_claims(self, claims: Sequence[Claim]) -> None:
        await self._write(lambda connection: sqlite_claims.create_many(connection, claims))

    async def claim(self, claim_id: ClaimId) -> Claim | None:
        return await self._read(lambda connection: sqlite_claims.claim(connection, claim_id))

    async def claims(
        self, limit: int, cursor: str | None, status: ClaimStatus | None, owner_id: UserId | None
    ) -> Page[Claim]:
        return await self._read(
            lambda connection: sqlite_claims.page(connection, limit, cursor, status, owner_id)
        )

    async def record_validation(self, validation: Validation, decide: Decide | None = None) -> Recorded:
        return await self._write(lambda connection: sqlite_claims.record(connection, validation, decide))

    async def validation_by(self, claim_id: ClaimId, user_id: UserId) -> Validation | None:
        return await self._read(lambda connection: sqlite_claims.validation_by(connection, claim_id, user_id))

    async def validations(self, claim_id: ClaimId, limit: int, cursor: str | None) -> Page[Validation]:
        return await self._read(
            lambda connection: sqlite_claims.validations(connection, claim_id, limit, cursor)
        )

    async def participants(self, claim_id: ClaimId) -> list[Validation]:
        return await self._read(lambda connection: sqlite_claims.participants(connection, claim_id))

    async def settle(
        self, claim_id: ClaimId, version: int, decision: Decision, settled_at: datetime
    ) -> Claim | None:
        return await self._write(
            lambda connection: sqlite_claims.settle(connection, claim_id, version, decision, settled_at)
        )

    async def apply_effects(
        self, effects: Sequence[Effect], finishes: ValidationId | ClaimId | None = None
    ) -> list[Notification]:
        now = self._clock.now()
        made, missing = await self._write(
            lambda connection: sqlite_notifications.apply(connection, effects, finishes, self._policy, now)
        )
        if missing is not None:
            raise no_such_user()
        return made

    async def pending_validations(self, before: datetime, limit: int) -> list[Validation]:
        return await self._read(
            lambda connection: sqlite_claims.pending_validations(connection, before, limit)
        )

    async def pending_settlements(self, before: datetime, limit: int) -> list[Claim]:
        return await self._read(
            lambda connection: sqlite_claims.pending_settlements(connection, before, limit)
        )

    async def claims_moved(self, since: datetime, limit: int) -> list[ClaimId]:
        return await self._read(lambda connection: sqlite_claims.moved(connection, since, limit))

    async def trust_changes(self, claim_id: ClaimId) -> list[TrustChange]:
        return await self._read(lambda connection: sqlite_notifications.trust_changes(connection, claim_id))

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
        return await self._read(
            lambda connection: sqlite_notifications.page(
                connection, user_id, after_seq, before_seq, unread_only, limit
            )
        )

    async def history(self, user_id: UserId, after_seq: int, limit: int) -> History:
        return await self._read(
            lambda connection: sqlite_notifications.history(connection, user_id, after_seq, limit)
        )

    async def last_seqs(self, user_ids: Sequence[UserId]) -> dict[UserId, int]:
        return await self._read(lambda connection: sqlite_notifications.last_seqs(connection, user_ids))

    async def unread_count(self, user_id: UserId) -> int:
        return await self._read(lambda connection: sqlite_notifications.unread_count(connection, user_id))

    async def mark_read(self, user_id: UserId, notification_id: NotificationId) -> ReadMark:
        return await self._write(
            lambda connection: sqlite_notifications.mark_read(connection, user_id, notification_id)
        )

    async def mark_all_read(self, user_id: UserId, up_to_seq: int | None) -> ReadMark:
        return await self._write(
            lambda connection: sqlite_notifications.mark_all_read(connection, user_id, up_to_seq)
        )

    # -------------------------------------------------------------- retention

    async def trim_notifications(self, before: datetime, position: str | None, limit: int) -> Trimmed:
        return await self._write(
            lambda connection: retention.notifications(connection, before, position, limit)
        )

    async def trim_effects(self, before: datetime, position: str | None, limit: int) -> Trimmed:
        return await self._write(lambda connection: retention.effects(connection, before, position, limit))


def _touch(connection: Connection) -> None:
    connection.execute(
        """INSERT INTO meta (key, value) VALUES ('ping', '1')
        ON CONFLICT (key) DO UPDATE SET value = CAST(value AS INTEGER) + 1"""
    )


def _look(connection: Connection) -> None:
    connection.execute("SELECT value FROM meta WHERE key = 'ping'").fetchone()
