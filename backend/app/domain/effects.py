"""What a validation or a consensus does to people, as data.

An effect touches exactly one user and carries a `key`. The store applies each key at most once, inside one
transaction per user: it reads the user's `Progress`, calls `advance`, and writes what comes back. That is
all that makes a crash harmless: applying a plan again changes nothing.
"""

import uuid
from dataclasses import dataclass, replace
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
from .badges import newly_earned
from .consensus import Decision
from .records import Notification, Progress, TrustChange
from .trust import TrustPolicy, clamp, owner_step, validator_step

_NOTIFICATION_NAMESPACE = uuid.UUID("6d1f2f0e-7b83-4f2e-9e57-0c9c2f6a1b11")


@dataclass(frozen=True, slots=True)
class Draft:
    """A notification before it has its seq."""

    type: NotificationType
    title: str
    message: str
    priority: Priority
    action_url: str | None
    data: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Told:
    """Tells a user something and changes nothing else (a claim owner about a validation, a system note)."""

    key: str
    user_id: UserId
    draft: Draft


@dataclass(frozen=True, slots=True)
class Validated:
    """Counts a validation for its author."""

    key: str
    user_id: UserId
    claim_id: ClaimId
    validation_id: ValidationId


@dataclass(frozen=True, slots=True)
class Settled:
    """A consensus reaches one participant. `action` is what this user answered, None for the owner."""

    key: str
    user_id: UserId
    claim_id: ClaimId
    claim_title: str
    decision: Decision
    action: Action | None


Effect = Told | Validated | Settled


@dataclass(frozen=True, slots=True)
class Outcome:
    """What to write for one effect: the new progress, the rows, the trust move, the badges just earned."""

    progress: Progress
    notifications: tuple[Notification, ...]
    trust_change: TrustChange | None
    earned: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Step:
    progress: Progress
    drafts: tuple[Draft, ...] = ()
    trust_change: TrustChange | None = None


def notification_id(key: str, index: int) -> NotificationId:
    """The id of the index-th notification of an effect: the same after a crash, on every node."""
    return NotificationId(uuid.uuid5(_NOTIFICATION_NAMESPACE, f"{key}#{index}").hex)


def advance(progress: Progress, effect: Effect, policy: TrustPolicy, now: datetime) -> Outcome:
    """Apply one effect to one user's progress. Notifications come numbered from `progress.last_seq + 1`."""
    step = _step(progress, effect, policy)
    badges = newly_earned(step.progress)
    drafts = [
        *step.drafts,
        *(
            Draft(
                NotificationType.BADGE_EARNED,
                "Badge earned",
                f"You earned the badge “{badge.name}”.",
                Priority.MEDIUM,
                f"/users/{effect.user_id}",
                {"badge_id": badge.id, "badge_name": badge.name},
            )
            for badge in badges
        ),
    ]
    notifications = tuple(
        Notification(
            id=notification_id(effect.key, index),
            user_id=effect.user_id,
            seq=progress.last_seq + 1 + index,
            type=draft.type,
            title=draft.title,
            message=draft.message,
            priority=draft.priority,
            action_url=draft.action_url,
            data=draft.data,
            created_at=now,
        )
        for index, draft in enumerate(drafts)
    )
    earned = tuple(badge.id for badge in badges)
    after = replace(
        step.progress,
        badges=step.progress.badges | frozenset(earned),
        last_seq=progress.last_seq + len(notifications),
    )
    return Outcome(after, notifications, step.trust_change, earned)


def _step(progress: Progress, effect: Effect, policy: TrustPolicy) -> _Step:
    match effect:
        case Told():
            return _Step(progress, (effect.draft,))
        case Validated():
            return _Step(replace(progress, validations=progress.validations + 1))
        case Settled():
            return _settled_step(progress, effect, policy)


def _settled_step(progress: Progress, effect: Settled, policy: TrustPolicy) -> _Step:
    consensus = effect.decision.action
    if effect.action is None:
        points = owner_step(consensus, policy)
        moved = replace(progress, claims_verified=progress.claims_verified + (consensus is Action.VOUCH))
    else:
        points = validator_step(effect.action, consensus, policy)
        moved = replace(
            progress,
            consensus_count=progress.consensus_count + 1,
            accurate_streak=_streak(progress.accurate_streak, effect.action, consensus),
        )
    change = TrustChange(
        effect.key,
        effect.user_id,
        effect.claim_id,
        progress.trust_score,
        clamp(progress.trust_score + points),
    )
    drafts = [_consensus_draft(effect)]
    if change.change:
        drafts.append(_trust_draft(effect, change))
    return _Step(replace(moved, trust_score=change.new_score), tuple(drafts), change)


def _streak(streak: int, action: Action, consensus: Action) -> int:
    if action is Action.UNSURE:
        return streak
    return streak + 1 if action is consensus else 0


def _consensus_draft(effect: Settled) -> Draft:
    decision = effect.decision
    whose = "Your claim" if effect.action is None else "A claim you validated"
    return Draft(
        NotificationType.CONSENSUS_REACHED,
        "Consensus reached",
        f"{whose} “{effect.claim_title}” is {decision.status.value} ({decision.percentage:.1f} %).",
        Priority.HIGH,
        f"/claims/{effect.claim_id}",
        {
            "claim_id": effect.claim_id,
            "action": decision.action.value,
            "percentage": decision.percentage,
            "status": decision.status.value,
        },
    )


def _trust_draft(effect: Settled, change: TrustChange) -> Draft:
    return Draft(
        NotificationType.TRUST_SCORE_UPDATED,
        "Trust score updated",
        f"Your trust score went from {change.old_score} to {change.new_score}.",
        Priority.LOW,
        f"/users/{effect.user_id}",
        {
            "claim_id": effect.claim_id,
            "old_score": change.old_score,
            "new_score": change.new_score,
            "change": change.change,
        },
    )
