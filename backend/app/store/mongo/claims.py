"""Claims and validations in MongoDB."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from pymongo import UpdateOne
from pymongo.errors import DuplicateKeyError

from ...contracts.types import ClaimId, ClaimStatus, UserId
from ...domain.consensus import Decision
from ...domain.records import Claim, Validation
from ...errors import RefusedError
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
from ..schema import Name
from .connection import Lookup, MongoConnection, Repository, Session, one_call, stored

Recording = tuple[Validation, Decide | None]
"""A validation that waits to be recorded, and what decides about its claim then."""

_NEWEST_FIRST = {"created_at_us": -1, "_id": -1}


class MongoClaims(Repository):
    """See `ports.ClaimRepository`."""

    def __init__(self, connection: MongoConnection) -> None:
        super().__init__(connection)
        self._claim_rows = Lookup(connection, Name.CLAIMS)
        self._recording = connection.batcher(self._record_together)

    @one_call
    async def create_claim(self, claim: Claim) -> tuple[Claim, bool]:
        try:
            await self.connection[Name.CLAIMS].insert_one(stored(Name.CLAIMS, claim_document(claim)))
        except DuplicateKeyError:
            if claim.idempotency_key is None:
                raise
            same_key = {"owner_id": claim.owner_id, "idempotency_key": claim.idempotency_key}
            row = await self.connection.find_one(Name.CLAIMS, same_key)
            if row is None:
                raise
            earlier = claim_record(row)
            check_same_request(earlier, claim)
            return earlier, False
        return claim, True

    @one_call
    async def create_claims(self, claims: Sequence[Claim]) -> None:
        documents = [claim_document(claim) for claim in claims]
        await self.connection.transact(
            lambda session: self.connection.insert(Name.CLAIMS, documents, session)
        )

    async def claim(self, claim_id: ClaimId) -> Claim | None:
        row = await self._claim_rows.one(claim_id)
        return None if row is None else claim_record(row)

    @one_call
    async def claims(
        self, limit: int, cursor: str | None, status: ClaimStatus | None, owner_id: UserId | None
    ) -> Page[Claim]:
        limit = bounded(limit)
        wanted: dict[str, Any] = {}
        if status is not None:
            wanted["status"] = status.value
        if owner_id is not None:
            wanted["owner_id"] = owner_id
        if cursor is not None:
            created_at_us, claim_id = CLAIMS_BY_AGE.position(cursor)
            wanted["created_at_us"] = {"$lte": created_at_us}
            wanted["$or"] = [{"created_at_us": {"$lt": created_at_us}}, {"_id": {"$lt": claim_id}}]
        rows = await self.connection.find(Name.CLAIMS, wanted, sort=_NEWEST_FIRST, limit=limit + 1)
        return CLAIMS_BY_AGE.page(rows, limit)

    async def record_validation(self, validation: Validation, decide: Decide | None = None) -> Recorded:
        return await self._recording.submit(
            validation.claim_id, (validation, decide), self.connection.timeout_s
        )

    async def _record_together(self, recordings: Sequence[Recording]) -> Sequence[Recorded | Exception]:
        return await self.connection.transact_together(
            recordings, lambda recording: recording[0].claim_id, self._record
        )

    async def _record(self, recordings: Sequence[Recording], session: Session) -> list[Recorded | Exception]:
        """Record validations of any claims inside a transaction, each as if it came alone, in this order.

        The claims are written first: who comes second meets the conflict before doing any work.
        """
        connection = self.connection
        claim_ids = {validation.claim_id for validation, _ in recordings}
        rows = await connection.find(Name.CLAIMS, {"_id": {"$in": list(claim_ids)}}, session=session)
        claims = {ClaimId(row["id"]): claim_record(row) for row in rows}
        answers = _count(claims, recordings, await self._authors_among(recordings, session))
        accepted = [answer for answer in answers if isinstance(answer, Recorded)]
        if accepted:
            newest = {item.claim.id: recorded_document(item.claim) for item in accepted}
            await connection[Name.CLAIMS].bulk_write(
                [UpdateOne({"_id": claim_id}, {"$set": changes}) for claim_id, changes in newest.items()],
                session=session,
            )
            documents = [validation_document(item.validation) for item in accepted]
            await connection.insert(Name.VALIDATIONS, documents, session)
        return answers

    async def _authors_among(self, recordings: Sequence[Recording], session: Session) -> set[tuple[str, str]]:
        """Those pairs of claim and author that are stored."""
        by_claim: dict[str, list[str]] = {}
        for validation, _ in recordings:
            by_claim.setdefault(validation.claim_id, []).append(validation.user_id)
        pairs = [{"claim_id": claim_id, "user_id": {"$in": users}} for claim_id, users in by_claim.items()]
        columns = {"claim_id": 1, "user_id": 1}
        rows = await self.connection.find(Name.VALIDATIONS, {"$or": pairs}, columns, session=session)
        return {(row["claim_id"], row["user_id"]) for row in rows}

    @one_call
    async def validation_by(self, claim_id: ClaimId, user_id: UserId) -> Validation | None:
        wanted = {"claim_id": claim_id, "user_id": user_id}
        row = await self.connection.find_one(Name.VALIDATIONS, wanted)
        return None if row is None else validation_record(row)

    @one_call
    async def validations(self, claim_id: ClaimId, limit: int, cursor: str | None) -> Page[Validation]:
        limit = bounded(limit)
        (after,) = (0,) if cursor is None else VALIDATIONS_BY_VERSION.position(cursor)
        rows = await self.connection.find(
            Name.VALIDATIONS,
            {"claim_id": claim_id, "version": {"$gt": after}},
            sort={"version": 1},
            limit=limit + 1,
        )
        return VALIDATIONS_BY_VERSION.page(rows, limit)

    @one_call
    async def participants(self, claim_id: ClaimId) -> list[Validation]:
        rows = await self.connection.find(Name.VALIDATIONS, {"claim_id": claim_id}, sort={"version": 1})
        return [validation_record(row) for row in rows]

    @one_call
    async def settle(
        self, claim_id: ClaimId, version: int, decision: Decision, settled_at: datetime
    ) -> Claim | None:
        """In a transaction though it is one document: a plain write would wait for a dead process's lock."""

        async def body(session: Session) -> Claim | None:
            row = await self.connection.update(
                Name.CLAIMS,
                {"_id": claim_id, "version": version, "status": ClaimStatus.OPEN.value},
                {"$set": settlement_document(decision, settled_at)},
                session,
            )
            return None if row is None else claim_record(row)

        return await self.connection.transact(body)

    @one_call
    async def pending_validations(self, before: datetime, limit: int) -> list[Validation]:
        rows = await self._pending(Name.VALIDATIONS, "created_at_us", before, limit)
        return [validation_record(row) for row in rows]

    @one_call
    async def pending_settlements(self, before: datetime, limit: int) -> list[Claim]:
        rows = await self._pending(Name.CLAIMS, "settled_at_us", before, limit)
        return [claim_record(row) for row in rows]

    async def _pending(self, name: Name, column: str, before: datetime, limit: int) -> list[Document]:
        wanted = {"pending": True, column: {"$lt": to_us(before)}}
        return await self.connection.find(name, wanted, sort={column: 1, "_id": 1}, limit=bounded(limit))

    @one_call
    async def claims_moved(self, since: datetime, limit: int) -> list[ClaimId]:
        limit = bounded(limit)
        rows = await self.connection.find(
            Name.VALIDATIONS,
            {"created_at_us": {"$gte": to_us(since)}},
            {"claim_id": 1},
            sort={"created_at_us": -1},
            limit=limit * 20,
        )
        return list(dict.fromkeys(ClaimId(row["claim_id"]) for row in rows))[:limit]


def _count(
    claims: dict[ClaimId, Claim], recordings: Sequence[Recording], authors: set[tuple[str, str]]
) -> list[Recorded | Exception]:
    """Each validation on top of those before it. authors: who validated which claim already."""
    answers: list[Recorded | Exception] = []
    for validation, decide in recordings:
        author = (validation.claim_id, validation.user_id)
        try:
            claim = check_validation(claims.get(validation.claim_id), validation, repeated=author in authors)
        except RefusedError as refusal:
            answers.append(refusal)
            continue
        recorded = counted(claim, validation, decide)
        claims[claim.id] = recorded.claim
        authors.add(author)
        answers.append(recorded)
    return answers


async def finish(connection: MongoConnection, finished: Sequence[str]) -> None:
    """The validations and the settled claims with these ids are no longer pending."""
    wanted = {"_id": {"$in": list(finished)}, "pending": True}
    for name in (Name.VALIDATIONS, Name.CLAIMS):
        await connection[name].update_many(wanted, {"$set": {"pending": False}})


async def unfinished(connection: MongoConnection, before_us: int) -> bool:
    """Is there work from before that time whose effects may be applied again?"""
    earlier = {"$lt": before_us}
    return bool(
        await connection.find_one(Name.VALIDATIONS, {"pending": True, "created_at_us": earlier})
        or await connection.find_one(Name.CLAIMS, {"pending": True, "settled_at_us": earlier})
    )
