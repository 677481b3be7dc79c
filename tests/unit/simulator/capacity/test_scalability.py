"""What more nodes bring, on capacities that follow a known law."""

import asyncio

import pytest

from simulator.capacity.scalability import Curve, Scaling, find_curve, parse_counts
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
