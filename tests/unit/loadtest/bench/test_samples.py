"""Samples of a benchmark: alternation, medians, ratios of neighbours, invalid repetitions."""

import pytest

from loadtest.bench.samples import Sample, Series


def a_series(**figures: list[float | None]) -> Series:
    return Series(
        [
            Sample("fanout@1000", name, value, "" if value is not None else "incomplete")
            for name, values in figures.items()
            for value in values
        ]
    )


def test_the_median_is_of_the_valid_repetitions() -> None:
    assert a_series(ours=[1.0, None, 3.0, 8.0]).median("fanout@1000", "ours") == 3.0


def test_without_a_valid_repetition_there_is_no_median() -> None:
    assert a_series(ours=[None]).medians("fanout@1000") == {}


def test_a_ratio_is_taken_between_neighbours() -> None:
    series = a_series(ours=[1.0, 10.0, 3.0], node=[2.0, 20.0, 3.0])
    assert series.ratio("fanout@1000", "ours", "node") == 0.5


def test_an_invalid_repetition_leaves_its_neighbour_out() -> None:
    series = a_series(ours=[1.0, None, 3.0], node=[2.0, 1.0, 6.0])
    assert series.ratio("fanout@1000", "ours", "node") == 0.5


def test_without_a_peer_there_is_no_ratio() -> None:
    assert a_series(ours=[1.0]).ratio("fanout@1000", "ours", "node") is None


def test_the_spread_names_smallest_and_largest() -> None:
    spread = a_series(ours=[5.0, 1.0, 3.0]).spread("fanout@1000", "ours")
    assert (spread["n"], spread["min"], spread["median"], spread["max"]) == (3, 1.0, 3.0, 5.0)


def test_invalid_repetitions_keep_their_reason() -> None:
    assert [sample.reason for sample in a_series(ours=[1.0, None]).invalid()] == ["incomplete"]


@pytest.mark.parametrize("metric", ["burst@1000", "idle_rss"])
def test_other_metrics_are_not_mixed_in(metric: str) -> None:
    series = a_series(ours=[1.0])
    series.samples.append(Sample(metric, "ours", 99.0))
    assert series.values("fanout@1000", "ours") == [1.0]
