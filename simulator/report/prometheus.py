"""The simulator's Prometheus page: what the clients see, on the same time line as the servers.

`MetricsPage` watches a run (`simulator.progress.Ui`) and answers scrapes from the newest `Live` alone, so a
scrape never sees half a second. The server has a thread of its own and listens on loopback unless told
otherwise.
"""

import threading
from collections.abc import Iterable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import accumulate
from types import TracebackType
from typing import Self

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from ..errors import SetupError
from ..ledger.live import BOUNDS_MS
from ..progress import Live
from ..scenario.models import Scenario

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
PHASES = ("setup", "connect", "warmup", "load", "drain", "reconcile")
KINDS = ("snapshot", "event", "durable")
NOTHING = Live("", 0.0, 0.0, 0, 0, 0, 0, 0, 0, 0.0, 0.0, 0.0)
NO_COUNTS = (0,) * (len(BOUNDS_MS) + 1)

GAUGES = {
    "simulator_clients": "Clients that the run wants.",
    "simulator_connected_clients": "Clients that are connected.",
    "simulator_reconnecting_clients": "Clients that are away, or back and not caught up.",
    "simulator_loop_lag_seconds": "How late the generator's own event loop was at worst in the last second.",
}
COUNTERS = {
    "simulator_published": "Publishes that were accepted.",
    "simulator_publish_failures": "Publishes that failed or found no free worker.",
    "simulator_late_publishes": "Publishes that the generator sent too late.",
    "simulator_events_received": "Events received by clients, of all sorts.",
    "simulator_overdue_messages": "Owed messages that did not come in time to clients that were there.",
}
LABELLED = {
    "simulator_phase": ("phase", "1 for the phase the run is in."),
    "simulator_fault": ("kind", "1 while a fault of this kind is under way."),
    "simulator_latency_seconds": (
        "quantile",
        "From the intended publishing to the receipt, over about the last two seconds.",
    ),
}
RECEIPTS = "simulator_messages_received"
FANOUT = "simulator_fanout_seconds"
INFO = "simulator_run"

SERIES = (
    f"{INFO}_info",
    *GAUGES,
    *(f"{name}_total" for name in COUNTERS),
    *LABELLED,
    f"{RECEIPTS}_total",
    *(f"{FANOUT}_{part}" for part in ("bucket", "sum", "count")),
)
"""Every series, as it is in the exposition."""


class PageServer:
    """Serves a collector's metrics at `/metrics`, on a thread of its own, until it is stopped."""

    def __init__(self, collector: Collector, host: str, port: int) -> None:
        """Listen; port: 0 takes a free one. Raises SetupError when the port is taken."""
        registry = CollectorRegistry(auto_describe=False)
        registry.register(collector)
        try:
            self._server = ThreadingHTTPServer((host, port), _handler(registry))
        except OSError as error:
            raise SetupError(
                f"Port {port} for the metrics is not to be had ({error.strerror}): choose another "
                "--metrics-port."
            ) from error
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, name="metrics", daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        """Where the page is."""
        return int(self._server.server_address[1])

    def stop(self) -> None:
        """Close the port; returns when the thread has ended."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class MetricsPage:
    """`with MetricsPage(scenario, port=0) as page:` serves until the block ends. port: 0 takes a free one."""

    def __init__(self, scenario: Scenario, *, host: str = "127.0.0.1", port: int = 0) -> None:
        self._labels = {"scenario": scenario.name, "seed": str(scenario.seed), "profile": scenario.profile}
        self._fault_kinds = sorted({str(fault.kind) for fault in scenario.faults})
        self._phase = ""
        self._live = NOTHING
        self._place = (host, port)
        self._server: PageServer

    @property
    def port(self) -> int:
        """Where the page is."""
        return self._server.port

    def __enter__(self) -> Self:
        """Listen. Raises SetupError when the port is taken."""
        self._server = PageServer(self, *self._place)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.stop()

    # -------------------------------------------------------------- simulator.progress.Ui

    def phase(self, name: str) -> None:
        """A phase begins."""
        self._phase = name

    def progress(self, what: str, done: int, total: int) -> None:
        """Not a metric."""

    def note(self, text: str) -> None:
        """Not a metric."""

    def tick(self, live: Live) -> None:
        """Once a second while traffic flows."""
        self._live = live

    # -------------------------------------------------------------- prometheus_client's collector

    def collect(self) -> Iterator[Metric]:
        """All families, from one tick."""
        live, phase = self._live, self._phase
        yield InfoMetricFamily(INFO, "Which run this is.", value=self._labels)
        yield from _gauges(live)
        yield from _counters(live)
        yield _labelled("simulator_phase", {name: float(name == phase) for name in PHASES})
        kinds = {*self._fault_kinds, *live.faults}
        yield _labelled("simulator_fault", {kind: float(kind in live.faults) for kind in sorted(kinds)})
        quantiles = {"0.5": live.p50_ms / 1000, "0.99": live.p99_ms / 1000}
        yield _labelled("simulator_latency_seconds", quantiles)
        yield _receipts(live)
        yield _fanout(live)


def _gauges(live: Live) -> Iterable[Metric]:
    values = (live.clients, live.connected, live.reconnecting, live.lag_ms / 1000)
    for (name, text), value in zip(GAUGES.items(), values, strict=True):
        yield GaugeMetricFamily(name, text, value=value)


def _counters(live: Live) -> Iterable[Metric]:
    values = (live.published, live.failed, live.late, live.events, live.overdue)
    for (name, text), value in zip(COUNTERS.items(), values, strict=True):
        yield CounterMetricFamily(name, text, value=value)


def _labelled(name: str, values: Mapping[str, float]) -> Metric:
    label, text = LABELLED[name]
    family = GaugeMetricFamily(name, text, labels=[label])
    for key, value in values.items():
        family.add_metric([key], value)
    return family


def _receipts(live: Live) -> Metric:
    family = CounterMetricFamily(RECEIPTS, "First receipts of messages, by kind.", labels=["kind"])
    for kind in KINDS:
        family.add_metric([kind], live.received.get(kind, 0))
    return family


def _fanout(live: Live) -> Metric:
    sums = list(accumulate(live.latency_counts or NO_COUNTS))
    bounds = [*(f"{bound / 1000:g}" for bound in BOUNDS_MS), "+Inf"]
    return HistogramMetricFamily(
        FANOUT,
        "From the intended publishing to the receipt, every receipt.",
        buckets=list(zip(bounds, sums, strict=True)),
        sum_value=live.latency_sum_ms / 1000,
    )


def _handler(registry: CollectorRegistry) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = 5.0

        def do_GET(self) -> None:  # the name is the base class's
            found = self.path.partition("?")[0] == "/metrics"
            page = generate_latest(registry) if found else b"The metrics are at /metrics.\n"
            self.send_response(200 if found else 404)
            self.send_header("Content-Type", CONTENT_TYPE)
            self.send_header("Content-Length", str(len(page)))
            self.end_headers()
            self.wfile.write(page)

        def log_message(self, format: str, *args: object) -> None:
            """Scrapes are not logged."""

    return Handler
