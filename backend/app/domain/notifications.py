"""What people are told: the words and facts of each notification, before it has its seq."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ..contracts.types import (
    Action,
    ClaimId,
    NotificationId,
    NotificationType,
    Priority,
    UserId,
    ValidationId,
)
from .consensus import Decision
from .records import Notification

_VERBS = {
    Action.VOUCH: "vouched for",
    Action.DISPUTE: "disputed",
    Action.UNSURE: "is unsure about",
}


@dataclass(frozen=True, slots=True)
class Draft:
    """A notification before it has its seq."""

    type: NotificationType
    title: str
    message: str
    priority: Priority
    action_url: str | None
    data: dict[str, Any]

    def row(self, row_id: NotificationId, user_id: UserId, seq: int, created_at: datetime) -> Notification:
        """The notification as it is stored."""
        return Notification(
            id=row_id,
            user_id=user_id,
            seq=seq,
            type=self.type,
            title=self.title,
            message=self.message,
            priority=self.priority,
            action_url=self.action_url,
            data=self.data,
            created_at=created_at,
        )


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


def consensus_draft(claim_id: ClaimId, claim_title: str, decision: Decision, whose: str) -> Draft:
    """The note that participants and the owner get. whose: how the sentence begins."""
    return Draft(
        NotificationType.CONSENSUS_REACHED,
        "Consensus reached",
        f"{whose} “{claim_title}” is {decision.status.value} ({decision.percentage:.1f} %).",
        Priority.HIGH,
        f"/claims/{claim_id}",
        {
            "claim_id": claim_id,
            "action": decision.action.value,
            "percentage": decision.percentage,
            "status": decision.status.value,
        },
    )


def badge_draft(user_id: UserId, badge_id: str, badge_name: str) -> Draft:
    """The note about a badge just earned."""
    return Draft(
        NotificationType.BADGE_EARNED,
        "Badge earned",
        f"You earned the badge “{badge_name}”.",
        Priority.MEDIUM,
        f"/users/{user_id}",
        {"badge_id": badge_id, "badge_name": badge_name},
    )


def trust_draft(user_id: UserId, old_score: int, new_score: int, claim_id: ClaimId | None = None) -> Draft:
    """The note about a score that moved. claim_id: whose consensus moved it, None where none did."""
    cause = {} if claim_id is None else {"claim_id": claim_id}
    return Draft(
        NotificationType.TRUST_SCORE_UPDATED,
        "Trust score updated",
        f"Your trust score went from {old_score} to {new_score}.",
        Priority.LOW,
        f"/users/{user_id}",
        {**cause, "old_score": old_score, "new_score": new_score, "change": new_score - old_score},
    )
