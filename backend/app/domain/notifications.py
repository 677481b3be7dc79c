"""Who is to be told what: plans made of keyed effects."""

from collections.abc import Iterable

from ..contracts.types import Action, ClaimId, NotificationType, Priority, ValidationId
from .consensus import Decision
from .effects import Draft, Effect, Settled, Told, Validated
from .records import Claim, Validation

_VERBS = {
    Action.VOUCH: "vouched for",
    Action.DISPUTE: "disputed",
    Action.UNSURE: "is unsure about",
}


def validation_draft(
    claim_id: ClaimId, claim_title: str, validation_id: ValidationId, validator_name: str, action: Action
) -> Draft:
    """The note that a claim's owner gets for each validation."""
    return Draft(
        NotificationType.VALIDATION_RECEIVED,
        "New validation",
        f"{validator_name} {_VERBS[action]} “{claim_title}”.",
        Priority.MEDIUM,
        f"/claims/{claim_id}",
        {
            "claim_id": claim_id,
            "validation_id": validation_id,
            "validator_name": validator_name,
            "action": action.value,
        },
    )


def plan_validation(claim: Claim, validation: Validation) -> list[Effect]:
    """Effects of one accepted validation: the owner is told, the author's count grows."""
    return [
        Told(
            f"validation:{validation.id}:received",
            claim.owner_id,
            validation_draft(
                claim.id, claim.title, validation.id, validation.validator_name, validation.action
            ),
        ),
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
