"""From a posted validation to everything that follows from it.

record and settle -> apply effects -> push. Each store call is atomic and each effect is keyed, so that a
crash between any two calls leaves work that `complete` (called again by the reconciler) finishes without
doing anything twice.
"""

import logging
from dataclasses import dataclass
from typing import Literal

from ..contracts.errors import Code
from ..contracts.types import Action, ClaimId, ClaimStatus, ValidationId
from ..domain.consensus import ConsensusPolicy, Decision, decide
from ..domain.effects import plan_consensus, plan_validation
from ..domain.records import Claim, User, Validation
from ..errors import RefusedError, VouchstormError
from ..observability.tracing import Tracing
from ..ports import Clock, Ids, Recorded, Store
from .websocket_service import WebSocketService

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Processed:
    """The stored validation and the claim right after it; `replayed` if it was stored by an earlier try."""

    validation: Validation
    claim: Claim
    replayed: bool


class ConsensusEngine:
    """Processes validations. One per node; any number of nodes may work on the same claim."""

    def __init__(
        self,
        store: Store,
        websocket: WebSocketService,
        clock: Clock,
        ids: Ids,
        policy: ConsensusPolicy,
        weighting: Literal["equal", "trust"] = "equal",
        tracing: Tracing | None = None,
    ) -> None:
        self._store = store
        self._websocket = websocket
        self._clock = clock
        self._ids = ids
        self._policy = policy
        self._weighting = weighting
        self._tracing = tracing or Tracing()
        self.answers_lost = 0
        """Validations whose consequences may be stored, though nobody heard so."""

    async def process_validation(
        self,
        *,
        claim_id: ClaimId,
        user: User,
        action: Action,
        comment: str | None = None,
        idempotency_key: str | None = None,
    ) -> Processed:
        """Store a validation and do what follows from it.

        Returns as soon as the validation is stored and its consequences are, or are left to the reconciler:
        trouble after the first write is logged, never reported as a failure of the write.

        Raises:
            RefusedError: CLAIM_NOT_FOUND, OWN_CLAIM, CLAIM_SETTLED, ALREADY_VALIDATED, or
                IDEMPOTENCY_KEY_REUSED when the key was used with another action or comment.
            UnavailableError: stored whole or not at all; a repetition with the same key tells.
        """
        wanted = Validation(
            id=ValidationId(self._ids.new()),
            claim_id=claim_id,
            user_id=user.id,
            validator_name=user.display_name,
            action=action,
            created_at=self._clock.now(),
            weight=user.progress.trust_score if self._weighting == "trust" else 1,
            comment=comment,
            idempotency_key=idempotency_key,
        )
        with self._tracing.span("process_validation", claim_id=claim_id) as span:
            processed = await self._process(wanted)
            span.set_attribute("version", processed.claim.version)
            return processed

    async def _process(self, wanted: Validation) -> Processed:
        try:
            recorded = await self._store.claims.record_validation(wanted, self._decide)
        except RefusedError as refusal:
            return await self._replay(wanted, refusal)
        claim = recorded.claim
        try:
            claim = await self.complete(recorded)
        except VouchstormError:
            self.answers_lost += 1
            log.exception(
                "validation stored, its consequences are left to the reconciler",
                extra={"validation_id": recorded.validation.id, "claim_id": wanted.claim_id},
            )
        return Processed(recorded.validation, claim, replayed=False)

    async def complete(self, recorded: Recorded) -> Claim:
        """Everything after the first write; may be called again at any time, by anybody.

        A claim is settled together with the validation that decides it. One that is still open although its
        tally decides it was recorded under another policy: it is settled here, by whoever comes first.
        """
        validation, claim = recorded.validation, recorded.claim
        overdue = self._decide(claim) if claim.status is ClaimStatus.OPEN else None
        if overdue is not None:
            settled = await self._store.claims.settle(claim.id, claim.version, overdue, self._clock.now())
            claim = settled or claim
        if overdue is None or claim.status is not ClaimStatus.OPEN:
            # Otherwise the claim is no longer as it was recorded, and whoever moved it on says so: to push
            # `open` now could be the last word about a claim that is settled.
            self._websocket.push_claim(claim, validation)
        rows = await self._store.effects.apply_effects(
            plan_validation(claim, validation), finishes=validation.id
        )
        self._websocket.notify_many(rows)
        if claim.status is not ClaimStatus.OPEN:
            await self.announce(claim)
        return claim

    def _decide(self, claim: Claim) -> Decision | None:
        return decide(claim.tally, claim.weights, claim.quorum, self._policy)

    async def announce(self, settled: Claim) -> None:
        """Apply and push the effects of a consensus; may be called again."""
        if settled.decision is None:
            raise ValueError(f"claim {settled.id} is not settled")
        participants = await self._store.claims.participants(settled.id)
        plan = plan_consensus(settled, settled.decision, participants)
        rows = await self._store.effects.apply_effects(plan, finishes=settled.id)
        self._websocket.notify_many(rows)

    async def _replay(self, wanted: Validation, refusal: RefusedError) -> Processed:
        """Answer a repeated request with what the first one stored, or raise the refusal."""
        if wanted.idempotency_key is None or refusal.code not in (Code.ALREADY_VALIDATED, Code.CLAIM_SETTLED):
            raise refusal
        stored = await self._store.claims.validation_by(wanted.claim_id, wanted.user_id)
        if stored is None or stored.idempotency_key != wanted.idempotency_key:
            raise refusal
        if (stored.action, stored.comment) != (wanted.action, wanted.comment):
            raise RefusedError(
                "This Idempotency-Key was used with another validation; send a new key.",
                Code.IDEMPOTENCY_KEY_REUSED,
            )
        claim = await self._store.claims.claim(wanted.claim_id)
        if claim is None:
            raise refusal
        return Processed(stored, claim, replayed=True)
