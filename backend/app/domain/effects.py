"""What a validation or a consensus does to people, as data.

An effect touches exactly one user and carries a `key`. The store applies each key at most once, inside one
transaction per user: it reads the user's `Progress`, calls `advance`, and writes what comes back. That is
all that makes a crash harmless: applying a plan again changes nothing.
"""

import uuid
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime

from ..contracts.types import Action, ClaimId, NotificationId, UserId, ValidationId
from .badges import newly_earned
from .consensus import Decision
from .notifications import Draft, badge_draft, consensus_draft, trust_draft, validation_draft
from .records import Claim, Notification, Progress, TrustChange, Validation
from .trust import TrustPolicy, clamp, owner_step, validator_step

_NOTIFICATION_NAMESPACE = uuid.UUID("6d1f2f0e-7b83-4f2e-9e57-0c9c2f6a1b11")


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
    drafts = [*step.drafts, *(badge_draft(effect.user_id, badge.id, badge.name) for badge in badges)]
    notifications = tuple(
        draft.row(notification_id(effect.key, index), effect.user_id, progress.last_seq + 1 + index, now)
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
    whose = "Your claim" if effect.action is None else "A claim you validated"
    drafts = [consensus_draft(effect.claim_id, effect.claim_title, effect.decision, whose)]
    if change.change:
        drafts.append(trust_draft(effect.user_id, change.old_score, change.new_score, effect.claim_id))
    return _Step(replace(moved, trust_score=change.new_score), tuple(drafts), change)


def _streak(streak: int, action: Action, consensus: Action) -> int:
    if action is Action.UNSURE:
        return streak
    return streak + 1 if action is consensus else 0


def plan_validation(claim: Claim, validation: Validation) -> list[Effect]:
    """Effects of one accepted validation: the owner is told, the author's count grows."""
    draft = validation_draft(
        claim.id, claim.title, validation.id, validation.validator_name, validation.action
    )
    return [
        Told(f"validation:{validation.id}:received", claim.owner_id, draft),
        Validated(f"validation:{validation.id}:made", validation.user_id, claim.id, validation.id),
    ]


def plan_consensus(claim: Claim, decision: Decision, participants: Iterable[Validation]) -> list[Effect]:
    """Effects of one consensus: once for the owner, once per participant."""
    told = [(claim.owner_id, None), *((row.user_id, row.action) for row in participants)]
    return [
        Settled(f"consensus:{claim.id}:{user_id}", user_id, claim.id, claim.title, decision, action)
        for user_id, action in told
    ]
