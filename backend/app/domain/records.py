"""The facts the store keeps, as frozen records. Times are timezone-aware UTC."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from ..contracts.types import (
    Action,
    ClaimId,
    ClaimStatus,
    NotificationId,
    NotificationType,
    Priority,
    UserId,
    ValidationId,
)
from .consensus import Decision, Tally


@dataclass(frozen=True, slots=True)
class Progress:
    """What effects change about a user. `last_seq` is the seq of the newest notification, 0 when none.

    badges: ids of the badges already earned.
    consensus_count: settled claims this user validated.
    accurate_streak: settled claims in a row on which this user agreed (`unsure` neither adds nor breaks).
    """

    trust_score: int = 50
    validations: int = 0
    consensus_count: int = 0
    accurate_streak: int = 0
    claims_verified: int = 0
    badges: frozenset[str] = frozenset()
    last_seq: int = 0


@dataclass(frozen=True, slots=True)
class User:
    id: UserId
    username: str
    display_name: str
    created_at: datetime
    progress: Progress = field(default_factory=Progress)


@dataclass(frozen=True, slots=True)
class EarnedBadge:
    badge_id: str
    earned_at: datetime


@dataclass(frozen=True, slots=True)
class Claim:
    """`weights` is the tally in units of the weighting in force: counts, or summed trust scores."""

    id: ClaimId
    owner_id: UserId
    owner_name: str
    title: str
    body: str
    evidence_urls: tuple[str, ...]
    quorum: int
    created_at: datetime
    status: ClaimStatus = ClaimStatus.OPEN
    tally: Tally = field(default_factory=Tally)
    weights: Tally = field(default_factory=Tally)
    version: int = 0
    decision: Decision | None = None
    settled_at: datetime | None = None
    idempotency_key: str | None = None


@dataclass(frozen=True, slots=True)
class Validation:
    """`version` is the claim's version that this validation made; `weight` what it adds to `weights`."""

    id: ValidationId
    claim_id: ClaimId
    user_id: UserId
    validator_name: str
    action: Action
    created_at: datetime
    version: int = 0
    weight: int = 1
    comment: str | None = None
    idempotency_key: str | None = None


@dataclass(frozen=True, slots=True)
class Notification:
    """One row of a user's bell. `key` is the effect that made it: the same key never makes a second row."""

    id: NotificationId
    user_id: UserId
    seq: int
    type: NotificationType
    title: str
    message: str
    priority: Priority
    action_url: str | None
    data: dict[str, Any]
    created_at: datetime
    read: bool = False


@dataclass(frozen=True, slots=True)
class TrustChange:
    """One move of one user's score; `change` is what the clamp to 0..100 left of the step."""

    key: str
    user_id: UserId
    claim_id: ClaimId
    old_score: int
    new_score: int

    @property
    def change(self) -> int:
        return self.new_score - self.old_score
