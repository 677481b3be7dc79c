"""Percentages and decisions: exact, whatever the numbers."""

from fractions import Fraction

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from backend.app.contracts.types import STATUS_OF_ACTION, Action, ClaimStatus
from backend.app.domain.consensus import (
    ConsensusPolicy,
    Decision,
    Tally,
    decide,
    effective_weights,
    percentages,
)

amounts = st.one_of(st.integers(0, 12), st.integers(0, 100_000), st.integers(0, 10**12))
tallies = st.builds(Tally, amounts, amounts, amounts)
some = tallies.filter(lambda tally: tally.total > 0)
thresholds = st.integers(501, 1000)
policies = st.builds(ConsensusPolicy, thresholds)
actions = st.sampled_from(Action)


def tenths(value: float) -> int:
    """A shown percentage in whole tenths; fails if it has more decimals."""
    assert round(value * 10) / 10 == value
    return round(value * 10)


# ---------------------------------------------------------------- percentages


@given(some)
def test_percentages_sum_to_exactly_one_hundred(tally: Tally) -> None:
    share = percentages(tally)
    assert tenths(share.vouch) + tenths(share.dispute) + tenths(share.unsure) == 1000


def test_nobody_has_no_share() -> None:
    share = percentages(Tally())
    assert (share.vouch, share.dispute, share.unsure) == (0.0, 0.0, 0.0)


@given(some, actions)
def test_a_percentage_is_less_than_a_tenth_from_the_truth(tally: Tally, action: Action) -> None:
    shown = Fraction(tenths(percentages(tally).of(action)))
    assert abs(shown - Fraction(tally.of(action) * 1000, tally.total)) < 1


@given(some)
def test_who_has_more_is_never_shown_less(tally: Tally) -> None:
    share = percentages(tally)
    by_amount = sorted(Action, key=tally.of)
    shown = [share.of(action) for action in by_amount]
    assert shown == sorted(shown) or len({tally.of(action) for action in Action}) < 3


@given(some)
def test_equal_amounts_differ_by_a_tenth_at_most(tally: Tally) -> None:
    share = percentages(tally)
    for one in Action:
        for other in Action:
            if tally.of(one) == tally.of(other):
                assert abs(tenths(share.of(one)) - tenths(share.of(other))) <= 1


@given(some, actions)
def test_one_more_voice_never_lowers_its_share(tally: Tally, action: Action) -> None:
    assert percentages(tally.plus(action)).of(action) >= percentages(tally).of(action)


@given(some, actions)
def test_nothing_is_shown_as_nothing_and_all_as_all(tally: Tally, action: Action) -> None:
    share = percentages(tally).of(action)
    if tally.of(action) == 0:
        assert share == 0.0
    if tally.of(action) == tally.total:
        assert share == 100.0


@given(some, st.integers(2, 1_000))
def test_percentages_depend_on_proportions_only(tally: Tally, factor: int) -> None:
    scaled = Tally(tally.vouch * factor, tally.dispute * factor, tally.unsure * factor)
    assert percentages(scaled) == percentages(tally)


@pytest.mark.parametrize(
    ("tally", "shown"),
    [
        (Tally(1, 1, 1), (33.4, 33.3, 33.3)),
        (Tally(2, 1, 0), (66.7, 33.3, 0.0)),
        (Tally(1, 2, 0), (33.3, 66.7, 0.0)),
        (Tally(1, 1, 0), (50.0, 50.0, 0.0)),
        (Tally(0, 0, 7), (0.0, 0.0, 100.0)),
        (Tally(1, 1, 4), (16.7, 16.7, 66.6)),
        (Tally(999_999, 1, 0), (100.0, 0.0, 0.0)),
    ],
)
def test_known_percentages(tally: Tally, shown: tuple[float, float, float]) -> None:
    share = percentages(tally)
    assert (share.vouch, share.dispute, share.unsure) == shown


# ---------------------------------------------------------------- tallies


@given(tallies, actions, amounts)
def test_plus_touches_one_action(tally: Tally, action: Action, amount: int) -> None:
    after = tally.plus(action, amount)
    assert {a: after.of(a) - tally.of(a) for a in Action} == {a: amount if a is action else 0 for a in Action}


# ---------------------------------------------------------------- decisions


@given(some, policies, st.integers(1, 100))
def test_nothing_is_decided_below_the_quorum(tally: Tally, policy: ConsensusPolicy, missing: int) -> None:
    assert decide(tally, tally, tally.total + missing, policy) is None


@given(some, policies)
def test_a_decision_is_exactly_when_the_leader_reaches_the_threshold(
    tally: Tally, policy: ConsensusPolicy
) -> None:
    leading = max(tally.of(action) for action in Action)
    reached = Fraction(leading, tally.total) >= Fraction(policy.threshold_tenths, 1000)
    assert (decide(tally, tally, tally.total, policy) is not None) == reached


@given(some, policies)
def test_the_decision_names_the_leader_and_its_share(tally: Tally, policy: ConsensusPolicy) -> None:
    decision = decide(tally, tally, 1, policy)
    assume(decision is not None)
    assert decision is not None
    assert tally.of(decision.action) == max(tally.of(action) for action in Action)
    assert decision.percentage == percentages(tally).of(decision.action)


@pytest.mark.parametrize(("vouch", "others", "decided"), [(600, 400, True), (599, 401, False)])
def test_the_threshold_itself_is_enough(vouch: int, others: int, decided: bool) -> None:
    tally = Tally(vouch, others, 0)
    assert (decide(tally, tally, 1, ConsensusPolicy(600)) is not None) == decided


def test_a_share_that_only_rounds_to_the_threshold_is_not_enough() -> None:
    tally = Tally(59_996, 40_004, 0)
    assert percentages(tally).vouch == 60.0
    assert decide(tally, tally, 1, ConsensusPolicy(600)) is None


@given(some, policies, st.integers(1, 10_000))
def test_equal_weights_decide_as_the_tally_does(tally: Tally, policy: ConsensusPolicy, weight: int) -> None:
    weights = Tally(tally.vouch * weight, tally.dispute * weight, tally.unsure * weight)
    assert decide(tally, weights, 1, policy) == decide(tally, tally, 1, policy)


def test_weights_decide_and_not_heads() -> None:
    assert decide(Tally(1, 2, 0), Tally(100, 20, 0), 3, ConsensusPolicy()) == Decision(Action.VOUCH, 83.3)


def test_the_quorum_counts_heads_and_not_weights() -> None:
    assert decide(Tally(2, 0, 0), Tally(200, 0, 0), 3, ConsensusPolicy()) is None


@given(some, policies)
def test_without_any_weight_heads_decide(tally: Tally, policy: ConsensusPolicy) -> None:
    assert decide(tally, Tally(), 1, policy) == decide(tally, tally, 1, policy)


@given(tallies, tallies)
def test_effective_weights_are_the_weights_unless_there_are_none(tally: Tally, weights: Tally) -> None:
    assert effective_weights(tally, weights) == (weights if weights.total else tally)


@given(actions)
def test_each_action_has_its_status(action: Action) -> None:
    assert Decision(action, 60.0).status is STATUS_OF_ACTION[action] is not ClaimStatus.OPEN


@pytest.mark.parametrize("threshold", [0, 499, 500, 1001])
def test_a_threshold_that_two_could_reach_is_refused(threshold: int) -> None:
    with pytest.raises(ValueError, match="threshold"):
        ConsensusPolicy(threshold)
