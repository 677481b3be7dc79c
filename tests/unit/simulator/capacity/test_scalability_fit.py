"""The universal scalability law is found again in points that were made from it."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.capacity.scalability import Scaling, fit
from simulator.errors import ScenarioError

COUNTS = (1, 2, 3, 4, 6, 8, 12, 16)


def points_of(law: Scaling) -> list[tuple[int, float]]:
    return [(count, law.throughput(count)) for count in COUNTS]


@settings(deadline=None, max_examples=30)
@given(
    rate=st.floats(1, 1e6),
    sigma=st.floats(0.0, 0.5),
    kappa=st.floats(0.0005, 0.05),
)
def test_the_law_is_found_again(rate: float, sigma: float, kappa: float) -> None:
    found = fit(points_of(Scaling(rate, sigma, kappa, 0, tight=True)))
    assert [found.rate / rate, found.sigma, found.kappa] == pytest.approx([1, sigma, kappa], abs=0.01)


def test_the_peak_is_where_the_law_has_its_maximum() -> None:
    found = fit(points_of(Scaling(1_000, 0.05, 0.01, 0, tight=True)))
    best = max(np.arange(1, 40, 0.01), key=found.throughput)
    assert found.peak_workers == pytest.approx(best, abs=0.02)


def test_noise_moves_the_peak_little() -> None:
    law = Scaling(5_000, 0.05, 0.01, 0, tight=True)
    rng = np.random.default_rng(7)
    noisy = [(n, x * float(rng.lognormal(0, 0.02))) for n, x in points_of(law) for _ in range(3)]
    assert fit(noisy).peak_throughput == pytest.approx(law.peak_throughput, rel=0.05)


def test_perfect_scaling_has_no_peak() -> None:
    found = fit([(count, 100.0 * count) for count in COUNTS])
    assert found.sentence().endswith("no peak in sight.")


def test_contention_alone_ends_in_a_plateau() -> None:
    found = fit(points_of(Scaling(100, 0.2, 0.0, 0, tight=True)))
    assert found.throughput(1e5) == pytest.approx(500, rel=0.1)


def test_three_points_are_fitted_but_say_nothing_about_their_error() -> None:
    assert not fit([(1, 100), (2, 180), (4, 300)]).tight


@pytest.mark.parametrize("points", [[(1, 10.0), (2, 19.0)], [(1, 10.0), (1, 11.0), (2, 20.0)]])
def test_too_few_worker_counts_are_refused(points: list[tuple[int, float]]) -> None:
    with pytest.raises(ScenarioError, match="measure 1 more"):
        fit(points)


@pytest.mark.parametrize("point", [(0, 5.0), (3, 0.0), (3, math.nan), (3, math.inf)])
def test_impossible_points_are_refused(point: tuple[int, float]) -> None:
    with pytest.raises(ScenarioError, match="above 0"):
        fit([(1, 1.0), (2, 2.0), point])
