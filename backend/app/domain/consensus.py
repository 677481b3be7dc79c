"""When a claim is settled, and as what.

Everything is integer arithmetic on tenths of a percent, so that two nodes never disagree by a rounding.
"""

from dataclasses import dataclass, replace

from ..contracts.types import STATUS_OF_ACTION, Action, ClaimStatus


@dataclass(frozen=True, slots=True)
class Tally:
    """Non-negative amounts per action: validations, or summed weights."""

    vouch: int = 0
    dispute: int = 0
    unsure: int = 0

    @property
    def total(self) -> int:
        return self.vouch + self.dispute + self.unsure

    def of(self, action: Action) -> int:
        """The amount behind one action."""
        amount: int = getattr(self, action.value)
        return amount

    def plus(self, action: Action, amount: int = 1) -> "Tally":
        """A tally with `amount` more behind `action`."""
        return replace(self, **{action.value: self.of(action) + amount})


@dataclass(frozen=True, slots=True)
class Percentages:
    """Shares in percent with one decimal; they sum to exactly 100.0, or are all 0.0 for an empty tally."""

    vouch: float
    dispute: float
    unsure: float

    def of(self, action: Action) -> float:
        share: float = getattr(self, action.value)
        return share


@dataclass(frozen=True, slots=True)
class Decision:
    """The consensus on a claim. `percentage` is the leading action's share, one decimal."""

    action: Action
    percentage: float

    @property
    def status(self) -> ClaimStatus:
        return STATUS_OF_ACTION[self.action]


@dataclass(frozen=True, slots=True)
class ConsensusPolicy:
    """threshold_tenths: share that settles a claim, in tenths of a percent, 501..1000."""

    threshold_tenths: int = 600

    def __post_init__(self) -> None:
        if not 500 < self.threshold_tenths <= 1000:
            raise ValueError("the consensus threshold must be above 50 and at most 100 percent")


def percentages(tally: Tally) -> Percentages:
    """Shares by the largest-remainder method, so that the shown numbers always add up to 100.0.

    Equal remainders are served in the order vouch, dispute, unsure.
    """
    total = tally.total
    if total == 0:
        return Percentages(0.0, 0.0, 0.0)
    amounts = (tally.vouch, tally.dispute, tally.unsure)
    tenths = [amount * 1000 // total for amount in amounts]
    remainders = [amount * 1000 % total for amount in amounts]
    by_remainder = sorted(range(3), key=lambda index: -remainders[index])
    for index in by_remainder[: 1000 - sum(tenths)]:
        tenths[index] += 1
    return Percentages(tenths[0] / 10, tenths[1] / 10, tenths[2] / 10)


def effective_weights(tally: Tally, weights: Tally) -> Tally:
    """What decides: the weights, or the plain counts when every author had a trust score of zero."""
    return weights if weights.total > 0 else tally


def decide(tally: Tally, weights: Tally, quorum: int, policy: ConsensusPolicy) -> Decision | None:
    """The consensus that this tally amounts to, or None below the quorum or below the threshold.

    The quorum counts validations, the share counts weights. The threshold is compared exactly, not on the
    rounded percentage.
    """
    if tally.total < quorum:
        return None
    basis = effective_weights(tally, weights)
    leader = max(Action, key=basis.of)
    if basis.of(leader) * 1000 < policy.threshold_tenths * basis.total:
        return None
    return Decision(leader, percentages(basis).of(leader))
