"""The consensus engine with a span around each validation; built by `main` where tracing is on."""

from ..contracts.types import Action, ClaimId
from ..domain.records import User
from ..observability.tracing import Tracing
from .consensus_engine import ConsensusEngine, Processed


class TracedEngine(ConsensusEngine):
    """See `ConsensusEngine`. tracing: set by the composition root, before anybody calls."""

    tracing: Tracing

    async def process_validation(
        self,
        *,
        claim_id: ClaimId,
        user: User,
        action: Action,
        comment: str | None = None,
        idempotency_key: str | None = None,
    ) -> Processed:
        """See `ConsensusEngine.process_validation`; the span says claim and version."""
        with self.tracing.span("process_validation", claim_id=claim_id) as span:
            processed = await super().process_validation(
                claim_id=claim_id,
                user=user,
                action=action,
                comment=comment,
                idempotency_key=idempotency_key,
            )
            span.set_attribute("version", processed.claim.version)
            return processed
