"""The badge catalogue and when each is earned: at most once per user."""

from collections.abc import Callable
from dataclasses import dataclass

from .records import Progress

TRUSTED_SCORE = 80
STREAK_LENGTH = 10


@dataclass(frozen=True, slots=True)
class Badge:
    id: str
    name: str
    description: str
    earned: Callable[[Progress], bool]


CATALOG: tuple[Badge, ...] = (
    Badge("first_validation", "First validation", "Validated a claim.", lambda p: p.validations >= 1),
    Badge("validations_10", "Ten validations", "Validated 10 claims.", lambda p: p.validations >= 10),
    Badge("validations_100", "Hundred validations", "Validated 100 claims.", lambda p: p.validations >= 100),
    Badge(
        "validations_1000", "Thousand validations", "Validated 1000 claims.", lambda p: p.validations >= 1000
    ),
    Badge(
        "first_consensus", "First consensus", "Took part in a consensus.", lambda p: p.consensus_count >= 1
    ),
    Badge(
        "accurate_streak_10",
        "Sharp eye",
        f"Agreed with {STREAK_LENGTH} consensuses in a row.",
        lambda p: p.accurate_streak >= STREAK_LENGTH,
    ),
    Badge(
        "trusted",
        "Trusted",
        f"Reached a trust score of {TRUSTED_SCORE}.",
        lambda p: p.trust_score >= TRUSTED_SCORE,
    ),
    Badge("claim_verified", "Claim verified", "Had a claim verified.", lambda p: p.claims_verified >= 1),
)

BY_ID: dict[str, Badge] = {badge.id: badge for badge in CATALOG}


def newly_earned(progress: Progress) -> list[Badge]:
    """Badges that this progress deserves and does not hold yet, in catalogue order."""
    return [badge for badge in CATALOG if badge.id not in progress.badges and badge.earned(progress)]
