"""A Prometheus page of a running load test, from Locust's own statistics: `--metrics-port`.

Counters restart with each test, as Prometheus expects of a restarted process. Served by the process that
leads; its figures are those of all workers. Imports no Locust, so that dashboards can be checked without it.
"""

from collections.abc import Iterator
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from simulator.report.prometheus import PageServer

USERS = "locust_users"
WORKERS = "locust_workers"
REQUESTS = "locust_requests"
FAILURES = "locust_failures"
RESPONSES = "locust_response_seconds"

SERIES = (
    USERS,
    WORKERS,
    f"{REQUESTS}_total",
    f"{FAILURES}_total",
    *(f"{RESPONSES}_{part}" for part in ("bucket", "sum", "count")),
)
"""Every series, as it is in the exposition."""
BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class LocustCollector:
    """The statistics of a `locust.env.Environment` as metrics, read at the scrape."""

    def __init__(self, environment: Any) -> None:
        self._environment = environment

    def collect(self) -> Iterator[Metric]:
        """For the registry."""
        runner = self._environment.runner
        users = runner.user_count if runner is not None else 0
        yield GaugeMetricFamily(USERS, "Simulated users that are running.", value=users)
        # A runner without workers runs the users itself.
        workers = getattr(runner, "worker_count", 1)
        yield GaugeMetricFamily(WORKERS, "Processes that run users.", value=workers)
        yield from self._entries()

    def _entries(self) -> Iterator[Metric]:
        labels = ["type", "name"]
        requests = CounterMetricFamily(REQUESTS, "Requests, events and pushes by entry.", labels=labels)
        failures = CounterMetricFamily(FAILURES, "Failures by entry.", labels=labels)
        times = HistogramMetricFamily(
            RESPONSES,
            "Response times; of a push, from the intended publishing to the receipt.",
            labels=labels,
        )
        for (name, kind), entry in sorted(self._environment.stats.entries.items()):
            requests.add_metric([kind, name], entry.num_requests)
            failures.add_metric([kind, name], entry.num_failures)
            if entry.response_times:
                times.add_metric([kind, name], *_histogram(entry))
        yield requests
        yield failures
        yield times


def _histogram(entry: Any) -> tuple[list[tuple[str, float]], float]:
    """Cumulated buckets and sum, in seconds, of Locust's counts by rounded milliseconds."""
    counts: dict[float, int] = entry.response_times
    reached = [
        (str(bound_s), float(sum(count for ms, count in counts.items() if ms / 1000 <= bound_s)))
        for bound_s in BUCKETS_S
    ]
    return [*reached, ("+Inf", float(sum(counts.values())))], entry.total_response_time / 1000


def serve_metrics(environment: Any, port: int) -> PageServer:
    """Serve the page at `/metrics` on every address; the started server, to be stopped at the end."""
    return PageServer(LocustCollector(environment), "0.0.0.0", port)
