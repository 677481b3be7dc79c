"""Histograms agree with the reference implementation, merge exactly and survive encoding."""

import numpy as np
from hdrh.histogram import HdrHistogram
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.histogram import DIGITS, HIGHEST_US, LOWEST_US, Histogram

VALUES = st.lists(st.integers(0, HIGHEST_US), min_size=1, max_size=200)


def of(values: list[int]) -> Histogram:
    histogram = Histogram()
    for value in values:
        histogram.record(value)
    return histogram


@settings(max_examples=100, deadline=None)
@given(VALUES, st.sampled_from([0.1, 50.0, 90.0, 99.0, 99.9]))
def test_percentiles_are_those_of_the_reference(values: list[int], percentile: float) -> None:
    reference = HdrHistogram(LOWEST_US, HIGHEST_US, DIGITS)
    for value in values:
        reference.record_value(value)
    expected = min(reference.get_value_at_percentile(percentile), max(values))
    assert of(values).value_at(percentile) == expected


@settings(max_examples=50, deadline=None)
@given(VALUES, VALUES)
def test_merging_is_recording_both(left: list[int], right: list[int]) -> None:
    merged = of(left)
    merged.merge(of(right))
    assert merged.latency() == of(left + right).latency()


@settings(max_examples=50, deadline=None)
@given(VALUES)
def test_decoding_gives_the_counts_back(values: list[int]) -> None:
    encoded = of(values).encode()
    assert Histogram.decode(encoded).encode() == encoded


@settings(max_examples=50, deadline=None)
@given(VALUES)
def test_bulk_and_single_recording_agree(values: list[int]) -> None:
    bulk = Histogram()
    bulk.record_many(np.array(values, dtype=np.int64))
    assert bulk.latency() == of(values).latency()


def test_an_empty_histogram_is_all_zero() -> None:
    assert Histogram().latency().model_dump() == {
        "count": 0, "min": 0, "p50": 0, "p90": 0, "p95": 0, "p99": 0, "p999": 0, "max": 0, "hdr": ""
    }  # fmt: skip


def test_min_and_max_are_exact() -> None:
    latency = of([1_234_567, 7]).latency()
    assert (latency.min, latency.max) == (0.007, 1_234.567)


def test_values_beyond_the_range_are_kept_as_the_highest_with_their_true_max() -> None:
    histogram = of([HIGHEST_US * 3])
    assert histogram.latency().max == HIGHEST_US * 3 / 1000
    assert histogram.count == 1


def test_negative_values_count_as_zero() -> None:
    assert of([-5]).latency().p50 == 0.0


def test_the_curve_never_falls() -> None:
    curve = of([1, 10, 100, 1_000, 10_000]).curve([1, 25, 50, 75, 90, 99, 100])
    assert [ms for _, ms in curve] == sorted(ms for _, ms in curve)
