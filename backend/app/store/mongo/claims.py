"""MongoDB queries about claims, validations and settlements."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pymongo import ReturnDocument, UpdateOne
from pymongo.errors import DuplicateKeyError

from ...contracts.types import ClaimId, ClaimStatus, UserId
from ...domain.consensus import Decision
from ...domain.records import Claim, Validation
from ...errors import RefusedError
from ...ports import Decide, Page, Recorded
from .. import rows as cursors
from ..refusals import check_same_request, check_validation
from ..rows import (
    Document,
    bounded,
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
from .batcher import Combiner
from .connection import MongoLink, Session, loaded, stored


@dataclass(frozen=True, slots=True)
class Recording:
    """A validation that waits to be recorded, and what decides about its claim then."""

    validation: Validation
    decide: Decide | None


_CLAIMS = "claims"
_VALIDATIONS = "validations"


async def create(link: MongoLink, claim: Claim) -> tuple[Claim, bool]:
    """Insert, or find what the owner made with the same idempotency key."""
    try:
        await link[Name.CLAIMS].insert_one(stored(claim_document(claim)))
    except DuplicateKeyError:
        if claim.idempotency_key is None:
            raise
        found = await link[Name.CLAIMS].find_one(
            {"owner_id": claim.owner_id, "idempotency_key": claim.idempotency_key}
        )
        if found is None:
            raise
        earlier = claim_record(loaded(found))
        check_same_request(earlier, claim)
        return earlier, False
    return claim, True


async def create_many(link: MongoLink, claims: Sequence[Claim]) -> None:
    """Insert all or none."""
    if not claims:
        return
    documents = [stored(claim_document(claim)) for claim in claims]

    async def insert(session: Session) -> None:
        await link[Name.CLAIMS].insert_many(documents, session=session)

    await link.transact(insert)


async def page(
    link: MongoLink, limit: int, cursor: str | None, status: ClaimStatus | None, owner_id: UserId | None
) -> Page[Claim]:
    limit = bounded(limit)
    wanted: dict[str, Any] = {}
    if status is not None:
        wanted["status"] = status.value
    if owner_id is not None:
        wanted["owner_id"] = owner_id
    if cursor is not None:
        created_at_us, claim_id = cursors.decode(cursor, _CLAIMS, (int, str))
        wanted["created_at_us"] = {"$lte": created_at_us}
        wanted["$or"] = [{"created_at_us": {"$lt": created_at_us}}, {"_id": {"$lt": claim_id}}]
    newest_first = [("created_at_us", -1), ("_id", -1)]
    found = await link[Name.CLAIMS].find(wanted).sort(newest_first).limit(limit + 1).to_list(length=None)
    following = None
    if len(found) > limit:
        last = found[limit - 1]
        following = cursors.encode(_CLAIMS, (last["created_at_us"], last["_id"]))
    return Page([claim_record(loaded(item)) for item in found[:limit]], following)


async def record(
    link: MongoLink, recordings: Sequence[Recording], session: Session
) -> list[Recorded | Exception]:
    """Record validations of any claims inside a transaction, each as if it came alone, in this order.

    The claims are written first: who comes second meets the conflict before doing any work.
    """
    validations = [item.validation for item in recordings]
    claim_ids = {item.claim_id for item in validations}
    found = (
        await link[Name.CLAIMS].find({"_id": {"$in": list(claim_ids)}}, session=session).to_list(length=None)
    )
    claims = {ClaimId(item["_id"]): claim_record(loaded(item)) for item in found}
    answers = _count(claims, recordings, await _authors_among(link, validations, session))
    accepted = {answer.claim.id: answer.claim for answer in answers if isinstance(answer, Recorded)}
    if accepted:
        await link[Name.CLAIMS].bulk_write(
            [UpdateOne({"_id": item.id}, {"$set": recorded_document(item)}) for item in accepted.values()],
            session=session,
        )
        await link[Name.VALIDATIONS].insert_many(
            [stored(validation_document(item.validation)) for item in answers if isinstance(item, Recorded)],
            session=session,
        )
    return answers


def _count(
    claims: dict[ClaimId, Claim], recordings: Sequence[Recording], authors: set[tuple[str, str]]
) -> list[Recorded | Exception]:
    """Each validation on top of those before it. authors: who validated which claim already."""
    answers: list[Recorded | Exception] = []
    for recording in recordings:
        validation = recording.validation
        author = (validation.claim_id, validation.user_id)
        try:
            claim = check_validation(claims.get(validation.claim_id), validation, repeated=author in authors)
        except RefusedError as refusal:
            answers.append(refusal)
            continue
        recorded = counted(claim, validation, recording.decide)
        claims[claim.id] = recorded.claim
        authors.add(author)
        answers.append(recorded)
    return answers


async def _authors_among(
    link: MongoLink, validations: Sequence[Validation], session: Session
) -> set[tuple[str, str]]:
    """Those pairs of claim and author of `validations` that are stored."""
    by_claim: dict[str, list[str]] = {}
    for item in validations:
        by_claim.setdefault(item.claim_id, []).append(item.user_id)
    pairs = [{"claim_id": claim_id, "user_id": {"$in": users}} for claim_id, users in by_claim.items()]
    cursor = link[Name.VALIDATIONS].find({"$or": pairs}, {"claim_id": 1, "user_id": 1}, session=session)
    return {(item["claim_id"], item["user_id"]) for item in await cursor.to_list(length=None)}


async def validation_by(link: MongoLink, claim_id: ClaimId, user_id: UserId) -> Validation | None:
    found = await link[Name.VALIDATIONS].find_one({"claim_id": claim_id, "user_id": user_id})
    return None if found is None else validation_record(loaded(found))


async def validations(link: MongoLink, claim_id: ClaimId, limit: int, cursor: str | None) -> Page[Validation]:
    limit = bounded(limit)
    after: int | str = 0
    if cursor is not None:
        (after,) = cursors.decode(cursor, _VALIDATIONS, (int,))
    wanted = {"claim_id": claim_id, "version": {"$gt": after}}
    found = await link[Name.VALIDATIONS].find(wanted).sort("version", 1).limit(limit + 1).to_list(length=None)
    following = cursors.encode(_VALIDATIONS, (found[limit - 1]["version"],)) if len(found) > limit else None
    return Page([validation_record(loaded(item)) for item in found[:limit]], following)


async def participants(link: MongoLink, claim_id: ClaimId) -> list[Validation]:
    found = await link[Name.VALIDATIONS].find({"claim_id": claim_id}).sort("version", 1).to_list(length=None)
    return [validation_record(loaded(item)) for item in found]


async def settle(
    link: MongoLink, claim_id: ClaimId, version: int, decision: Decision, settled_at: datetime
) -> Claim | None:
    """In a transaction though it is one document: a plain write would wait for a dead process's lock."""

    async def body(session: Session) -> Claim | None:
        found = await link[Name.CLAIMS].find_one_and_update(
            {"_id": claim_id, "version": version, "status": ClaimStatus.OPEN.value},
            {"$set": settlement_document(decision, settled_at)},
            return_document=ReturnDocument.AFTER,
            session=session,
        )
        return None if found is None else claim_record(loaded(found))

    return await link.transact(body)


async def finish(link: MongoLink, finished: Sequence[str]) -> None:
    """The validations and the settled claims with these ids are no longer pending."""
    wanted = {"_id": {"$in": list(finished)}, "pending": True}
    for name in (Name.VALIDATIONS, Name.CLAIMS):
        await link[name].update_many(wanted, {"$set": {"pending": False}})


async def pending_validations(link: MongoLink, before: datetime, limit: int) -> list[Validation]:
    found = await _pending(link, Name.VALIDATIONS, "created_at_us", before, limit)
    return [validation_record(loaded(item)) for item in found]


async def moved(link: MongoLink, since: datetime, limit: int) -> list[ClaimId]:
    limit = bounded(limit)
    newest_first = (
        link[Name.VALIDATIONS]
        .find({"created_at_us": {"$gte": to_us(since)}}, {"claim_id": 1})
        .sort([("created_at_us", -1)])
        .limit(limit * 20)
    )
    rows = await newest_first.to_list(length=None)
    return list(dict.fromkeys(ClaimId(row["claim_id"]) for row in rows))[:limit]


async def pending_settlements(link: MongoLink, before: datetime, limit: int) -> list[Claim]:
    found = await _pending(link, Name.CLAIMS, "settled_at_us", before, limit)
    return [claim_record(loaded(item)) for item in found]


async def _pending(link: MongoLink, name: Name, column: str, before: datetime, limit: int) -> list[Any]:
    wanted = {"pending": True, column: {"$lt": to_us(before)}}
    oldest_first = [(column, 1), ("_id", 1)]
    cursor = link[name].find(wanted).sort(oldest_first).limit(bounded(limit))
    found: list[Any] = await cursor.to_list(length=None)
    return found


# Rows by id, merged: reads that wait at the same time become one query.
#
# After a deploy thousands of clients come back at once, and each asks for its user, its counters and
# the claim
# on its screen. One query for all that wait costs little more than one for one. A read never joins a
# query that
# has begun before it, so that everyone sees what was written before they asked. Called by
# `MongoStore`.

_BATCH = 512
_BATCHES_AT_ONCE = 4
_DEPTH = 100_000

OpenedLink = Callable[[], MongoLink]


class Lookup:
    """Documents of one collection by `_id`."""

    def __init__(
        self,
        link: OpenedLink,
        name: Name,
        timeout_s: float,
        projection: Mapping[str, int] | None = None,
    ) -> None:
        self._link = link
        self._name = name
        self._timeout_s = timeout_s
        self._projection = projection
        self._combiner: Combiner[str, Document | None] = Combiner(
            self._find_together, batch=_BATCH, batches_at_once=_BATCHES_AT_ONCE, depth=_DEPTH
        )

    async def one(self, row_id: str) -> Document | None:
        """The document with this id, or None."""
        return await self._combiner.submit(row_id, row_id, self._timeout_s)

    async def close(self) -> None:
        """Answer what was accepted."""
        await self._combiner.close()

    async def _find_together(self, ids: Sequence[str]) -> Sequence[Document | None]:
        link = self._link()
        wanted = {"_id": {"$in": list(set(ids))}}

        def find() -> Awaitable[list[Document]]:
            cursor = link[self._name].find(wanted, self._projection)
            found: Awaitable[list[Document]] = cursor.to_list(length=None)
            return found

        rows = {row["_id"]: loaded(row) for row in await link.call(find)}
        return [rows.get(row_id) for row_id in ids]
