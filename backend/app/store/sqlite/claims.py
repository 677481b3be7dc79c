"""Claims and validations in SQLite."""

from collections.abc import Sequence
from datetime import datetime

from ...contracts.types import ClaimId, ClaimStatus, UserId, ValidationId
from ...domain.consensus import Decision
from ...domain.records import Claim, Validation
from ...ports import Decide, Page, Recorded
from ..rows import (
    CLAIMS_BY_AGE,
    VALIDATIONS_BY_VERSION,
    Document,
    bounded,
    check_same_request,
    check_validation,
    claim_document,
    claim_record,
    counted,
    recorded_document,
    settlement_document,
    to_us,
    validation_document,
    validation_record,
)
from ..schema import CLAIMS, VALIDATIONS, Table
from .connection import Connection, Repository, insert, reading, select, select_one, update, writing

_BY_AUTHOR = "WHERE claim_id = ? AND user_id = ?"


class SqliteClaims(Repository):
    """See `ports.ClaimRepository`."""

    @writing
    def create_claim(self, connection: Connection, claim: Claim) -> tuple[Claim, bool]:
        if claim.idempotency_key is not None:
            same_key = "WHERE owner_id = ? AND idempotency_key = ?"
            row = select_one(connection, CLAIMS, same_key, (claim.owner_id, claim.idempotency_key))
            if row is not None:
                stored = claim_record(row)
                check_same_request(stored, claim)
                return stored, False
        insert(connection, CLAIMS, [claim_document(claim)])
        return claim, True

    @writing
    def create_claims(self, connection: Connection, claims: Sequence[Claim]) -> None:
        insert(connection, CLAIMS, [claim_document(claim) for claim in claims])

    @reading
    def claim(self, connection: Connection, claim_id: ClaimId) -> Claim | None:
        row = select_one(connection, CLAIMS, "WHERE id = ?", (claim_id,))
        return None if row is None else claim_record(row)

    @reading
    def claims(
        self,
        connection: Connection,
        limit: int,
        cursor: str | None,
        status: ClaimStatus | None,
        owner_id: UserId | None,
    ) -> Page[Claim]:
        limit = bounded(limit)
        conditions: list[str] = []
        values: list[int | str] = []
        if status is not None:
            conditions.append("status = ?")
            values.append(status.value)
        if owner_id is not None:
            conditions.append("owner_id = ?")
            values.append(owner_id)
        if cursor is not None:
            conditions.append("(created_at_us, id) < (?, ?)")
            values.extend(CLAIMS_BY_AGE.position(cursor))
        where = "WHERE " + " AND ".join(conditions) if conditions else ""
        newest_first = f"{where} ORDER BY created_at_us DESC, id DESC LIMIT ?"
        return CLAIMS_BY_AGE.page(select(connection, CLAIMS, newest_first, (*values, limit + 1)), limit)

    @writing
    def record_validation(
        self, connection: Connection, validation: Validation, decide: Decide | None = None
    ) -> Recorded:
        row = select_one(connection, CLAIMS, "WHERE id = ?", (validation.claim_id,))
        author = (validation.claim_id, validation.user_id)
        repeated = select_one(connection, VALIDATIONS, _BY_AUTHOR, author) is not None
        before = check_validation(None if row is None else claim_record(row), validation, repeated=repeated)
        recorded = counted(before, validation, decide)
        insert(connection, VALIDATIONS, [validation_document(recorded.validation)])
        update(connection, CLAIMS, before.id, recorded_document(recorded.claim))
        return recorded

    @reading
    def validation_by(self, connection: Connection, claim_id: ClaimId, user_id: UserId) -> Validation | None:
        row = select_one(connection, VALIDATIONS, _BY_AUTHOR, (claim_id, user_id))
        return None if row is None else validation_record(row)

    @reading
    def validations(
        self, connection: Connection, claim_id: ClaimId, limit: int, cursor: str | None
    ) -> Page[Validation]:
        limit = bounded(limit)
        (after,) = (0,) if cursor is None else VALIDATIONS_BY_VERSION.position(cursor)
        rows = select(
            connection,
            VALIDATIONS,
            "WHERE claim_id = ? AND version > ? ORDER BY version LIMIT ?",
            (claim_id, after, limit + 1),
        )
        return VALIDATIONS_BY_VERSION.page(rows, limit)

    @reading
    def participants(self, connection: Connection, claim_id: ClaimId) -> list[Validation]:
        rows = select(connection, VALIDATIONS, "WHERE claim_id = ? ORDER BY version", (claim_id,))
        return [validation_record(row) for row in rows]

    @writing
    def settle(
        self,
        connection: Connection,
        claim_id: ClaimId,
        version: int,
        decision: Decision,
        settled_at: datetime,
    ) -> Claim | None:
        open_at_version = "WHERE id = ? AND version = ? AND status = ?"
        found = select_one(connection, CLAIMS, open_at_version, (claim_id, version, ClaimStatus.OPEN.value))
        if found is None:
            return None
        changes = settlement_document(decision, settled_at)
        update(connection, CLAIMS, claim_id, changes)
        return claim_record({**found, **changes})

    @reading
    def pending_validations(self, connection: Connection, before: datetime, limit: int) -> list[Validation]:
        rows = _pending(connection, VALIDATIONS, "created_at_us", before, limit)
        return [validation_record(row) for row in rows]

    @reading
    def pending_settlements(self, connection: Connection, before: datetime, limit: int) -> list[Claim]:
        rows = _pending(connection, CLAIMS, "settled_at_us", before, limit)
        return [claim_record(row) for row in rows]

    @reading
    def claims_moved(self, connection: Connection, since: datetime, limit: int) -> list[ClaimId]:
        rows = connection.execute(
            "SELECT claim_id FROM validations WHERE created_at_us >= ? GROUP BY claim_id "
            "ORDER BY MAX(created_at_us) DESC LIMIT ?",
            (to_us(since), bounded(limit)),
        )
        return [ClaimId(claim_id) for (claim_id,) in rows]


def _pending(
    connection: Connection, table: Table, column: str, before: datetime, limit: int
) -> list[Document]:
    oldest_first = f"WHERE pending = 1 AND {column} < ? ORDER BY {column}, id LIMIT ?"
    return select(connection, table, oldest_first, (to_us(before), bounded(limit)))


def finish(connection: Connection, finished: ValidationId | ClaimId) -> None:
    """The validation or the settled claim with this id is no longer pending."""
    connection.execute("UPDATE validations SET pending = 0 WHERE id = ? AND pending = 1", (finished,))
    connection.execute("UPDATE claims SET pending = 0 WHERE id = ? AND pending = 1", (finished,))


def unfinished(connection: Connection, before_us: int) -> bool:
    """Is there work from before that time whose effects may be applied again?"""
    found = connection.execute(
        """SELECT EXISTS (SELECT 1 FROM validations WHERE pending = 1 AND created_at_us < ?)
        OR EXISTS (SELECT 1 FROM claims WHERE pending = 1 AND settled_at_us < ?)""",
        (before_us, before_us),
    ).fetchone()
    return bool(found[0])
