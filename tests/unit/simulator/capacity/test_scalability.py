"""What more nodes bring, on capacities and points that follow a known law: the law is found again."""

import asyncio
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.capacity.scalability import Curve, Scaling, find_curve, fit, parse_counts
from simulator.capacity.search import Bound, Capacity
from simulator.errors import ScenarioError
from simulator.report.markdown import curve_markdown

KNOWN = Scaling(rate=1_000, sigma=0.05, kappa=0.01, worst_error=0, tight=True)


def capacity(passing: float | None, bound: Bound = "server") -> Capacity:
    return Capacity(
        scenario="fanout",
        tolerance=0.1,
        passing=passing,
        failing=None if passing is None else passing * 1.05,
        bound=bound,
        signal="fanout_p99_ms",
        saturated=[],
        steps=[],
    )


def curve(counts: list[int], bounds: dict[int, Bound] | None = None) -> Curve:
    async def find(nodes: int) -> Capacity:
        return capacity(KNOWN.throughput(nodes), (bounds or {}).get(nodes, "server"))

    return asyncio.run(find_curve(counts, find))


def test_a_known_law_is_found_again() -> None:
    law = curve([1, 2, 4, 8]).law
    assert law is not None
    assert (law.contention, law.coherence) == pytest.approx((0.05, 0.01), rel=0.01)


def test_the_peak_is_where_the_law_has_it() -> None:
    law = curve([1, 2, 4, 8]).law
    assert law is not None
    assert law.peak_nodes == pytest.approx(KNOWN.peak_workers, rel=0.01)


def test_counts_are_searched_once_each_the_smallest_first() -> None:
    assert [point.nodes for point in curve([4, 1, 2, 1]).points] == [1, 2, 4]


def test_too_few_counts_make_no_law() -> None:
    found = curve([1, 2])
    assert (found.law, "3 node counts; 2 are known" in found.sentence()) == (None, True)


def test_what_the_generator_limited_is_no_capacity_of_the_server() -> None:
    found = curve([1, 2, 4], {4: "generator"})
    assert found.law is None
    assert "With 4 nodes it was not the server" in found.sentence()


def test_an_interruption_ends_the_series() -> None:
    found = curve([1, 2, 4], {2: "interrupted"})
    assert ([point.nodes for point in found.points], found.exit_code) == ([1, 2], 130)


def test_the_report_has_the_law_first_and_every_count_under_its_own_heading() -> None:
    text = curve_markdown(curve([1, 2, 4]))
    headings = [line[:12] for line in text.splitlines() if line.startswith("#")]
    assert headings == ["## fanout by", "### 1 node: ", "### 2 nodes:", "### 4 nodes:"]


def test_the_document_survives_json() -> None:
    found = curve([1, 2, 4])
    assert Curve.model_validate_json(found.model_dump_json()) == found


def test_counts_are_parsed_and_sorted() -> None:
    assert parse_counts("4,1,2") == [1, 2, 4]


@pytest.mark.parametrize("text", ["", "two", "1,,2", "0,1"])
def test_what_is_no_list_of_counts_is_refused(text: str) -> None:
    with pytest.raises(ScenarioError, match="for example --nodes 1,2,4"):
        parse_counts(text)


# -------------------------------------------------------------- the fit


COUNTS = (1, 2, 3, 4, 6, 8, 12, 16)


def points_of(law: Scaling) -> list[tuple[int, float]]:
    return [(count, law.throughput(count)) for count in COUNTS]


@settings(deadline=None, max_examples=30)
@given(
    rate=st.floats(1, 1e6),
    sigma=st.floats(0.0, 0.5),
    kappa=st.floats(0.0005, 0.05),
)
def test_the_law_of_any_points_is_found_again(rate: float, sigma: float, kappa: float) -> None:
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
