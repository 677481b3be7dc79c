"""Who is to be told what: plans made of keyed effects."""

from collections.abc import Iterable

from ..contracts.words import NotificationType, Priority
from .consensus import Decision
from .effects import Draft, Effect, Settled, Told, Validated
from .records import Claim, Validation

_VERBS = {"vouch": "vouched for", "dispute": "disputed", "unsure": "is unsure about"}


def validation_received(claim: Claim, validation: Validation) -> Draft:
    """The note that a claim's owner gets for each validation."""
    return Draft(
        NotificationType.VALIDATION_RECEIVED,
        "New validation",
        f"{validation.validator_name} {_VERBS[validation.action.value]} “{claim.title}”.",
        Priority.MEDIUM,
        f"/claims/{claim.id}",
        {
            "claim_id": claim.id,
            "validation_id": validation.id,
            "validator_name": validation.validator_name,
            "action": validation.action.value,
        },
    )


def plan_validation(claim: Claim, validation: Validation) -> list[Effect]:
    """Effects of one accepted validation: the owner is told, the author's count grows."""
    return [
        Told(f"validation:{validation.id}:received", claim.owner_id, validation_received(claim, validation)),
        Validated(f"validation:{validation.id}:made", validation.user_id, claim.id, validation.id),
    ]


def plan_consensus(claim: Claim, decision: Decision, participants: Iterable[Validation]) -> list[Effect]:
    """Effects of one consensus: once per participant, once for the owner."""
    owner = Settled(
        f"consensus:{claim.id}:{claim.owner_id}", claim.owner_id, claim.id, claim.title, decision, None
    )
    others = [
        Settled(
            f"consensus:{claim.id}:{row.user_id}", row.user_id, claim.id, claim.title, decision, row.action
        )
        for row in participants
    ]
    return [owner, *others]
