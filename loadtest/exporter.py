"""A Prometheus page of a running load test, from Locust's own statistics: `--metrics-port`.

Counters restart with each test, as Prometheus expects of a restarted process. Served by the process that
leads; its figures are those of all workers.
"""

from collections.abc import Callable, Iterator
from typing import Any

from gevent.pywsgi import WSGIServer
from locust.env import Environment
from locust.runners import MasterRunner
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from . import metrics

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class LocustCollector(Collector):
    """Locust's statistics as metrics, read at the scrape."""

    def __init__(self, environment: Environment) -> None:
        self._environment = environment

    def collect(self) -> Iterator[Metric]:
        """For the registry."""
        runner = self._environment.runner
        users = GaugeMetricFamily(metrics.USERS, "Simulated users that are running.")
        users.add_metric([], runner.user_count if runner is not None else 0)
        yield users
        workers = GaugeMetricFamily(metrics.WORKERS, "Processes that run users.")
        workers.add_metric([], runner.worker_count if isinstance(runner, MasterRunner) else 1)
        yield workers
        yield from self._entries()

    def _entries(self) -> Iterator[Metric]:
        labels = ["type", "name"]
        requests = CounterMetricFamily(
            metrics.REQUESTS, "Requests, events and pushes by entry.", labels=labels
        )
        failures = CounterMetricFamily(metrics.FAILURES, "Failures by entry.", labels=labels)
        times = HistogramMetricFamily(
            metrics.RESPONSES,
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
    times = sorted(entry.response_times.items())
    cumulated: list[tuple[str, float]] = []
    at = reached = 0
    for bound_s in BUCKETS_S:
        while at < len(times) and times[at][0] / 1000 <= bound_s:
            reached += times[at][1]
            at += 1
        cumulated.append((str(bound_s), reached))
    cumulated.append(("+Inf", sum(number for _, number in times)))
    return cumulated, entry.total_response_time / 1000


def serve_metrics(environment: Environment, port: int) -> WSGIServer:
    """Serve the page at `/metrics` on every address; the started server, to be stopped at the end."""
    registry = CollectorRegistry()
    registry.register(LocustCollector(environment))

    def page(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        if environ["PATH_INFO"] != "/metrics":
            start_response("404 Not Found", [("Content-Type", "text/plain")])
            return [b"The metrics are at /metrics.\n"]
        start_response("200 OK", [("Content-Type", CONTENT_TYPE)])
        return [generate_latest(registry)]

    server = WSGIServer(("0.0.0.0", port), page, log=None)
    server.start()
    return server
