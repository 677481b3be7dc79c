"""Effects in SQLite: applied once each, together with what they change on users and the rows they make."""

from collections.abc import Sequence
from datetime import datetime

from ...contracts.types import ClaimId, ValidationId
from ...domain.effects import Effect
from ...domain.records import Notification, TrustChange
from ...domain.trust import TrustPolicy
from ...ports import Clock, Trimmed
from ..rows import applied, no_such_user, notification_document, to_us, trust_change_record
from ..schema import EFFECTS, NOTIFICATIONS, USERS
from .claims import finish, unfinished
from .connection import (
    Connection,
    Database,
    Repository,
    insert,
    json_list,
    reading,
    select,
    select_one,
    update,
    writing,
)


class SqliteEffects(Repository):
    """See `ports.EffectRepository`."""

    def __init__(self, database: Database, clock: Clock, policy: TrustPolicy) -> None:
        super().__init__(database)
        self._clock = clock
        self._policy = policy

    async def apply_effects(
        self, effects: Sequence[Effect], finishes: ValidationId | ClaimId | None = None
    ) -> list[Notification]:
        made, complete = await self._apply(effects, finishes, self._clock.now())
        if not complete:
            # Not inside the job: that would undo the effects before.
            raise no_such_user()
        return made

    @writing
    def _apply(
        self,
        connection: Connection,
        effects: Sequence[Effect],
        finishes: ValidationId | ClaimId | None,
        now: datetime,
    ) -> tuple[list[Notification], bool]:
        """The notifications made; False: cut, unfinished, at a user that does not exist."""
        made: list[Notification] = []
        for effect in effects:
            if connection.execute("SELECT 1 FROM effects WHERE key = ?", (effect.key,)).fetchone():
                continue
            row = select_one(connection, USERS, "WHERE id = ?", (effect.user_id,))
            if row is None:
                return made, False
            changes, effect_row, rows = applied(row, effect, self._policy, now)
            update(connection, USERS, effect.user_id, changes | {"unread": row["unread"] + len(rows)})
            insert(connection, EFFECTS, [effect_row])
            insert(connection, NOTIFICATIONS, [notification_document(item) for item in rows])
            made.extend(rows)
        if finishes is not None:
            finish(connection, finishes)
        return made, True

    @reading
    def trust_changes(self, connection: Connection, claim_id: ClaimId) -> list[TrustChange]:
        rows = select(connection, EFFECTS, "WHERE claim_id = ? ORDER BY key", (claim_id,))
        return [trust_change_record(row) for row in rows]

    @writing
    def trim_effects(
        self, connection: Connection, before: datetime, position: str | None, limit: int
    ) -> Trimmed:
        before_us = to_us(before)
        if unfinished(connection, before_us):
            return Trimmed(0, None)
        rows = connection.execute(
            "SELECT key, claim_id, applied_at_us FROM effects WHERE key > ? ORDER BY key LIMIT ?",
            (position or "", limit),
        ).fetchall()
        old = [
            key
            for key, claim_id, applied_at_us in rows
            if claim_id is None and applied_at_us is not None and applied_at_us < before_us
        ]
        connection.execute(
            "DELETE FROM effects WHERE key IN (SELECT value FROM json_each(?))", (json_list(old),)
        )
        return Trimmed(len(old), rows[-1][0] if len(rows) == limit else None)
