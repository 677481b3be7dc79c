"""Claims: posted, found, paged. What validations do to them is the consensus engine's room."""

from dataclasses import dataclass

from ..contracts.errors import Code
from ..contracts.types import ClaimId, ClaimStatus, UserId
from ..domain.records import Claim, User, Validation
from ..errors import RefusedError
from ..ports import Clock, Ids, Page, Store


@dataclass(frozen=True, slots=True)
class Posted:
    """The stored claim; `replayed` when an earlier request with the same idempotency key had made it."""

    claim: Claim
    replayed: bool


class Claims:
    """Creates and finds claims."""

    def __init__(self, store: Store, clock: Clock, ids: Ids, *, default_quorum: int) -> None:
        self._store = store
        self._clock = clock
        self._ids = ids
        self._default_quorum = default_quorum

    async def create(
        self,
        owner: User,
        *,
        title: str,
        body: str = "",
        evidence_urls: tuple[str, ...] = (),
        quorum: int | None = None,
        idempotency_key: str | None = None,
    ) -> Posted:
        """Store a new open claim, or find the one that this key already made.

        quorum: None for the default. Raises RefusedError(IDEMPOTENCY_KEY_REUSED) for other content.
        """
        draft = Claim(
            id=ClaimId(self._ids.new()),
            owner_id=owner.id,
            owner_name=owner.display_name,
            title=title,
            body=body,
            evidence_urls=evidence_urls,
            quorum=self._default_quorum if quorum is None else quorum,
            created_at=self._clock.now(),
            idempotency_key=idempotency_key,
        )
        claim, created = await self._store.claims.create_claim(draft)
        return Posted(claim, replayed=not created)

    async def get(self, claim_id: ClaimId) -> Claim:
        """Raises RefusedError(CLAIM_NOT_FOUND)."""
        claim = await self._store.claims.claim(claim_id)
        if claim is None:
            raise RefusedError("There is no such claim.", Code.CLAIM_NOT_FOUND)
        return claim

    async def page(
        self,
        limit: int,
        cursor: str | None = None,
        status: ClaimStatus | None = None,
        owner_id: UserId | None = None,
    ) -> Page[Claim]:
        """Newest first. Raises RefusedError(INVALID_CURSOR)."""
        return await self._store.claims.claims(limit, cursor, status, owner_id)

    async def validations(self, claim_id: ClaimId, limit: int, cursor: str | None = None) -> Page[Validation]:
        """In the order they were accepted. Raises RefusedError: CLAIM_NOT_FOUND, INVALID_CURSOR."""
        await self.get(claim_id)
        return await self._store.claims.validations(claim_id, limit, cursor)
