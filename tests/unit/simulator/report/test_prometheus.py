"""The simulator's Prometheus page, asked over HTTP: one tick, whole; names as Prometheus wants them."""

import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import replace

import pytest
from prometheus_client.parser import text_string_to_metric_families

from simulator.errors import SetupError
from simulator.ledger.live import BOUNDS_MS
from simulator.progress import Live
from simulator.report.prometheus import SERIES, MetricsPage
from simulator.scenario.loader import build

SCENARIO = build({"name": "mine", "seed": 9, "faults": [{"kind": "drop", "at_s": 1}]})
LIVE = Live(
    *("load", 1.0, 30.0, 10, 8, 2, 3, 1, 9, 5.0, 12.0, 40.0),
    late=4,
    overdue=6,
    lag_ms=15.0,
    received={"durable": 7},
    latency_counts=[1, 2, *[0] * (len(BOUNDS_MS) - 2), 5],
    latency_sum_ms=1_500.0,
    faults=["drop"],
)


@pytest.fixture
def page() -> Iterator[MetricsPage]:
    with MetricsPage(SCENARIO) as page:
        yield page


def text_of(page: MetricsPage) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{page.port}/metrics", timeout=5) as answer:
        return str(answer.read().decode())


def values_of(page: MetricsPage) -> dict[str, float]:
    return {
        " ".join([item.name, *item.labels.values()]): item.value
        for family in text_string_to_metric_families(text_of(page))
        for item in family.samples
    }


@pytest.mark.parametrize(
    ("series", "value"),
    [
        ("simulator_clients", 10),
        ("simulator_connected_clients", 8),
        ("simulator_reconnecting_clients", 2),
        ("simulator_published_total", 3),
        ("simulator_publish_failures_total", 1),
        ("simulator_events_received_total", 9),
        ("simulator_late_publishes_total", 4),
        ("simulator_overdue_messages_total", 6),
        ("simulator_loop_lag_seconds", 0.015),
        ("simulator_messages_received_total durable", 7),
        ("simulator_latency_seconds 0.99", 0.04),
        ("simulator_phase load", 1),
        ("simulator_phase setup", 0),
        ("simulator_fault drop", 1),
        ("simulator_fanout_seconds_bucket 0.001", 1),
        ("simulator_fanout_seconds_bucket 0.002", 3),
        ("simulator_fanout_seconds_bucket +Inf", 8),
        ("simulator_fanout_seconds_count", 8),
        ("simulator_fanout_seconds_sum", 1.5),
        ("simulator_run_info vouchstorm mine 9", 1),
    ],
)
def test_a_tick_is_shown(page: MetricsPage, series: str, value: float) -> None:
    page.phase("load")
    page.tick(LIVE)
    assert values_of(page)[series] == pytest.approx(value)


def test_a_fault_that_is_over_is_zero(page: MetricsPage) -> None:
    page.tick(replace(LIVE, faults=()))
    assert values_of(page)["simulator_fault drop"] == 0


def test_the_page_serves_what_it_says_and_nothing_else(page: MetricsPage) -> None:
    page.tick(LIVE)
    assert {name.split(" ")[0] for name in values_of(page)} == set(SERIES)


def test_before_the_first_tick_everything_is_there_at_zero(page: MetricsPage) -> None:
    assert {name.split(" ")[0] for name in values_of(page)} == set(SERIES)


def test_another_path_says_where_the_metrics_are(page: MetricsPage) -> None:
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(f"http://127.0.0.1:{page.port}/", timeout=5)
    with refused.value as answer:
        assert (answer.code, b"/metrics" in answer.read()) == (404, True)


def test_a_port_that_is_taken_is_one_sentence(page: MetricsPage) -> None:
    with pytest.raises(SetupError, match="--metrics-port"), MetricsPage(SCENARIO, port=page.port):
        pass
