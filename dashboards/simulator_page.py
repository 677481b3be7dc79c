"""The simulator's Prometheus page: what its clients see, on the same time line as the servers.

`SimulatorPage` watches a run as the terminal does (it is a `simulator.progress.Ui`) and hands everything on
to the watcher it stands in front of. Wire it where the terminal's is made:

    with SimulatorPage(terminal, port=9101) as ui:
        run_scenario(options, ui)
"""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest

from simulator.progress import Live, Silent, Ui

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
PHASES = ("setup", "connect", "warmup", "load", "drain", "reconcile")
SERIES = (
    "simulator_phase",
    "simulator_clients",
    "simulator_connected_clients",
    "simulator_reconnecting_clients",
    "simulator_published_total",
    "simulator_publish_failures_total",
    "simulator_events_received_total",
    "simulator_latency_seconds",
)
"""Every series, as it is in the exposition."""


class SimulatorPage:
    """inner: the watcher that is told everything, too. port: 0 takes a free one."""

    def __init__(self, inner: Ui | None = None, *, host: str = "127.0.0.1", port: int = 0) -> None:
        self._inner: Ui = inner or Silent()
        self._registry = CollectorRegistry()
        self._declare()
        self._seen = {"published": 0, "failed": 0, "events": 0}
        self._server = ThreadingHTTPServer((host, port), _handler(self._registry))
        self._server.daemon_threads = True
        self._thread = threading.Thread(
            target=self._server.serve_forever, name="simulator-metrics", daemon=True
        )

    def _declare(self) -> None:
        registry = self._registry
        self._phase = Gauge("simulator_phase", "1 for the phase the run is in.", ["phase"], registry=registry)
        self._clients = Gauge("simulator_clients", "Clients that the run wants.", registry=registry)
        self._connected = Gauge(
            "simulator_connected_clients", "Clients that are connected.", registry=registry
        )
        self._reconnecting = Gauge(
            "simulator_reconnecting_clients", "Clients that are on their way back.", registry=registry
        )
        self._latency = Gauge(
            "simulator_latency_seconds",
            "From the intended publishing to the receipt, over about the last two seconds.",
            ["quantile"],
            registry=registry,
        )
        self._counters = {
            "published": Counter("simulator_published", "Messages published.", registry=registry),
            "failed": Counter("simulator_publish_failures", "Publishes that failed.", registry=registry),
            "events": Counter("simulator_events_received", "Events received by clients.", registry=registry),
        }
        for phase in PHASES:
            self._phase.labels(phase).set(0)

    @property
    def port(self) -> int:
        """Where the page is."""
        return int(self._server.server_address[1])

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    # -------------------------------------------------------------- simulator.progress.Ui

    def phase(self, name: str) -> None:
        """A phase begins."""
        for phase in PHASES:
            self._phase.labels(phase).set(phase == name)
        self._inner.phase(name)

    def progress(self, what: str, done: int, total: int) -> None:
        """Handed on."""
        self._inner.progress(what, done, total)

    def note(self, text: str) -> None:
        """Handed on."""
        self._inner.note(text)

    def tick(self, live: Live) -> None:
        """Once a second while traffic flows."""
        self._clients.set(live.clients)
        self._connected.set(live.connected)
        self._reconnecting.set(live.reconnecting)
        self._latency.labels("0.5").set(live.p50_ms / 1000)
        self._latency.labels("0.99").set(live.p99_ms / 1000)
        for name, total in (("published", live.published), ("failed", live.failed), ("events", live.events)):
            self._counters[name].inc(max(0, total - self._seen[name]))
            self._seen[name] = total
        self._inner.tick(live)


def _handler(registry: CollectorRegistry) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = 5.0

        def do_GET(self) -> None:  # the name is the base class's
            page = generate_latest(registry) if self.path == "/metrics" else b"The metrics are at /metrics.\n"
            self.send_response(200 if self.path == "/metrics" else 404)
            self.send_header("Content-Type", CONTENT_TYPE)
            self.send_header("Content-Length", str(len(page)))
            self.end_headers()
            self.wfile.write(page)

        def log_message(self, format: str, *args: object) -> None:
            """Scrapes are not logged."""

    return Handler
