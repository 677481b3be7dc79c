"""What a seed plans: the same for ever, nobody twice, and not more memory than is asked for."""

import hashlib
import tracemalloc
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.app.errors import SetupError
from backend.app.seeding import SeedPlan, SeedSize, plan_seed

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def planned(users: int, claims: int, validations: int, seed: int = 1) -> SeedPlan:
    return plan_seed(SeedSize(users, claims, validations), seed, NOW)


def answers(plan: SeedPlan) -> list[tuple[int, int, str]]:
    return [(user, claim, action.value) for user, claim, action in plan.answers]


def test_the_answers_of_a_seed_never_change() -> None:
    assert answers(planned(2, 3, 3, seed=9)) == [(0, 1, "vouch"), (1, 0, "unsure"), (1, 2, "unsure")]


def test_the_many_answers_of_a_seed_never_change() -> None:
    text = repr(answers(planned(40, 30, 300)))
    assert (
        hashlib.sha256(text.encode()).hexdigest()
        == "a2672c0885da1233f1f18bc0739fb838dde8315830b555522996f0de852d85a1"
    )


@given(st.integers(1, 12), st.integers(0, 12), st.integers(0, 1_000), st.data())
def test_nobody_answers_twice_nor_themselves(users: int, claims: int, seed: int, data: st.DataObject) -> None:
    validations = data.draw(st.integers(0, claims * (users - 1)))
    pairs = [(user, claim) for user, claim, _ in planned(users, claims, validations, seed).answers]
    assert len(set(pairs)) == validations
    assert all(claim % users != user < users and claim < claims for user, claim in pairs)


def test_every_pair_can_be_asked_for() -> None:
    pairs = {(user, claim) for user, claim, _ in planned(4, 6, 18).answers}
    assert pairs == {(user, claim) for user in range(4) for claim in range(6) if claim % 4 != user}


def test_one_more_than_fits_is_refused() -> None:
    with pytest.raises(SetupError, match="At most 18 validations fit"):
        planned(4, 6, 19)


@pytest.mark.parametrize("validations", [0, 50])
def test_memory_does_not_grow_with_the_pairs(validations: int) -> None:
    """2.25 million pairs; their tuples alone would take 160 MB."""
    tracemalloc.start()
    try:
        planned(1_500, 1_500, validations)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak_bytes < 10 * 2**20
