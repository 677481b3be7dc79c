"""Trust scores: 0..100, moved only by a consensus."""

from dataclasses import dataclass

from ..contracts.types import Action

MIN_SCORE = 0
MAX_SCORE = 100
START_SCORE = 50


@dataclass(frozen=True, slots=True)
class TrustPolicy:
    """Steps in points, each >= 0."""

    agreed_gain: int = 2
    disagreed_loss: int = 3
    owner_gain: int = 3
    owner_loss: int = 4


def clamp(score: int) -> int:
    """The nearest score inside the range."""
    return max(MIN_SCORE, min(MAX_SCORE, score))


def validator_step(action: Action, consensus: Action, policy: TrustPolicy) -> int:
    """Points for a validator: agreed gains, disagreed loses, unsure stays."""
    if action is Action.UNSURE:
        return 0
    return policy.agreed_gain if action is consensus else -policy.disagreed_loss


def owner_step(consensus: Action, policy: TrustPolicy) -> int:
    """Points for the claim's owner: gains on verified, loses on refuted, stays on inconclusive."""
    return {Action.VOUCH: policy.owner_gain, Action.DISPUTE: -policy.owner_loss, Action.UNSURE: 0}[consensus]
