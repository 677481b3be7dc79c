"""What is collected of a run: readings of both sides, the nodes' counters, the findings made of all."""

import asyncio
import contextlib
import importlib.metadata
import platform
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from .. import host
from ..generator.publisher import Dispatch
from ..generator.worker_report import LedgerReport, Sample, WorkerHealth
from ..histogram import Histogram
from ..ledger.outcomes import OutcomeCounts
from ..result import (
    Connections,
    Conservation,
    FaultMark,
    Findings,
    Generator,
    GeneratorProcess,
    Host,
    Hostile,
    Latency,
    Phase,
    Publishes,
    Reconnect,
    Second,
    Server,
)
from ..result import Ledger as LedgerPart
from ..scenario.models import Scenario
from ..socketio_client import Endpoint
from ..target.http_client import RestClient, RestError
from ..target.server import ManagedServer

PACKAGES = ("vouchstorm", "uvloop", "numpy", "hdrhistogram")


@dataclass(slots=True)
class Measured:
    """Everything a run leaves behind, before it is judged."""

    scenario: Scenario
    target: str
    host: Host
    started_at: str
    phases: list[Phase] = field(default_factory=list)
    connections: Connections = field(default_factory=Connections)
    publishes: Publishes = field(default_factory=Publishes)
    books: LedgerReport | None = None
    schedule_lag: Histogram = field(default_factory=Histogram)
    http: Histogram = field(default_factory=Histogram)
    reconnect: Reconnect = field(default_factory=Reconnect)
    conservation: Conservation = field(default_factory=Conservation)
    generator: Generator = field(default_factory=Generator)
    server: Server = field(default_factory=Server)
    hostile: Hostile = field(default_factory=Hostile)
    faults: list[FaultMark] = field(default_factory=list)
    timeline: list[Second] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    interrupted: bool = False


def findings_of(measured: Measured) -> Findings:
    """The findings document."""
    books = measured.books
    return Findings(
        scenario=measured.scenario.model_dump(mode="json"),
        seed=measured.scenario.seed,
        target=measured.target,
        versions=versions(),
        host=measured.host,
        started_at=measured.started_at,
        duration_s=round(max((phase.ended_s for phase in measured.phases), default=0.0), 3),
        interrupted=measured.interrupted,
        phases=measured.phases,
        connections=measured.connections,
        publishes=measured.publishes,
        ledger=ledger_part(books.total, books.balanced) if books else LedgerPart(),
        ledger_by_kind=(
            {name: ledger_part(tally, tally.balanced) for name, tally in books.by_kind.items()}
            if books
            else {}
        ),
        latency_ms=latencies(measured),
        reconnect=measured.reconnect,
        conservation=measured.conservation,
        generator=measured.generator,
        server=measured.server,
        hostile=measured.hostile,
        faults=measured.faults,
        timeline=measured.timeline,
        notes=measured.notes,
    )


def ledger_part(tally: OutcomeCounts, balanced: bool) -> LedgerPart:
    """A tally as the result holds it."""
    return LedgerPart(**tally.as_dict(), balanced=balanced)


def latencies(measured: Measured) -> dict[str, Latency]:
    """All distributions by name.

    fanout: intended publish time to the receipt of that message (of a snapshot: that version or a newer one),
    all kinds together; then each kind; replay: the same for what came by recovery; schedule_lag: intended to
    actual sending; http: the publishing request.
    """
    found: dict[str, Histogram] = {"fanout": Histogram()}
    if measured.books is not None:
        for name, histogram in measured.books.latency.items():
            found[name] = histogram
            found["fanout"].merge(histogram)
        if measured.books.replay.count:
            found["replay"] = measured.books.replay
    found["schedule_lag"], found["http"] = measured.schedule_lag, measured.http
    return {name: histogram.latency() for name, histogram in found.items()}


def versions() -> dict[str, str]:
    """Versions of what took part."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


# Counters of the server are read node by node: behind a load balancer each scrape meets any of them.
# A process is never compared with the one that took its place.

TIMEOUT_S = 5.0
STARTED = "process_start_time_seconds"


@dataclass(frozen=True, slots=True)
class Page:
    """Counters of one process, summed over their labels. started_s: Unix time; None: it does not say."""

    counters: Mapping[str, float]
    started_s: float | None = None

    def followed_by(self, later: "Page") -> bool:
        """Whether a later page is of the same process: same start, or else no counter that fell."""
        if self.started_s is not None and later.started_s is not None:
            return self.started_s == later.started_s
        return all(later.counters.get(name, 0.0) >= value for name, value in self.counters.items())


Pages = Mapping[str, Page]
"""What each node that answered has, by its name."""


async def scrape(target: Endpoint, ready: Mapping[str, Any]) -> dict[str, Page]:
    """The pages of the nodes that a ready line names, or of the target itself where it names none."""
    nodes = _nodes(target, ready)
    pages = await asyncio.gather(*map(_page, nodes.values()))
    return {name: page for name, page in zip(nodes, pages, strict=True) if page is not None}


def growth(before: Pages, after: Pages) -> dict[str, float]:
    """What grew in all nodes that were there all the time, by how much; unchanged counters are left out."""
    sums: dict[str, float] = {}
    for node in _steady(before, after):
        was = before[node].counters
        for name, value in after[node].counters.items():
            sums[name] = sums.get(name, 0.0) + value - was.get(name, 0.0)
    return {name: round(sums[name], 6) for name in sorted(sums) if sums[name]}


def left_out(before: Pages, after: Pages) -> str:
    """A sentence about the nodes that `growth` is without; empty when it is of all."""
    steady = _steady(before, after)
    missing = sorted({*before, *after} - set(steady))
    if not missing or not (before and after):
        return ""
    return f"server.metrics are without {', '.join(missing)}: started or gone since the load began."


def _steady(before: Pages, after: Pages) -> list[str]:
    return [node for node in after if node in before and before[node].followed_by(after[node])]


def _nodes(target: Endpoint, ready: Mapping[str, Any]) -> dict[str, Endpoint]:
    said, found = ready.get("nodes"), {}
    for node in said if isinstance(said, list) else []:
        with contextlib.suppress(KeyError, TypeError, ValueError):
            found[str(node["name"])] = Endpoint.parse(str(node["url"]))
    return found or {target.authority: target}


async def _page(node: Endpoint) -> Page | None:
    client = RestClient(node)
    try:
        reply = await client.request("GET", "/metrics", timeout_s=TIMEOUT_S)
    except RestError:
        return None
    finally:
        await client.close()
    return parse(reply.body.decode(errors="replace")) if reply.status == 200 else None


def parse(text: str) -> Page:
    """A page in the Prometheus text format; of its gauges only the start of the process, and no buckets."""
    sums: dict[str, float] = {}
    started_s = None
    with contextlib.suppress(ValueError):  # of a page that is broken off, what comes before
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                # some gauges are named as counters are
                if sample.name.endswith(("_total", "_count", "_sum")) and family.type != "gauge":
                    sums[sample.name] = sums.get(sample.name, 0.0) + sample.value
                elif sample.name == STARTED:
                    started_s = sample.value
    return Page(sums, started_s)


NS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Meter:
    """Readings at one moment. own_cpu_s: of this process. workers: of the processes that hold the clients.

    metrics: the counters of the server's nodes, empty when they have none.
    """

    at_ns: int
    own_cpu_s: float
    server_cpu_s: float
    server_rss_bytes: int
    service_cpu_s: dict[str, float]
    workers: Sequence[Sample]
    metrics: Pages = field(default_factory=dict)

    @property
    def events(self) -> int:
        """Events that all clients received so far."""
        return sum(worker.events for worker in self.workers)


def read(server: ManagedServer | None, workers: Sequence[Sample], metrics: Pages) -> Meter:
    """Read everything now."""
    return Meter(
        at_ns=time.monotonic_ns(),
        own_cpu_s=time.process_time(),
        server_cpu_s=server.cpu_s() if server is not None else 0.0,
        server_rss_bytes=server.rss_bytes() if server is not None else 0,
        service_cpu_s=server.cpu_s_by_service() if server is not None else {},
        workers=workers,
        metrics=metrics,
    )


def generator_of(
    before: Meter,
    after: Meter,
    diligence: Sequence[WorkerHealth],
    publishes: Dispatch,
    own_lag: Histogram | None,
    *,
    overrun: str,
    lost: Sequence[str],
) -> Generator:
    """The harness about itself. own_lag: of the process that publishes, where others hold the clients."""
    took_s = max(0.001, (after.at_ns - before.at_ns) / NS)
    was, now = ({worker.number: worker for worker in meter.workers} for meter in (before, after))
    parts = [_process(each, was[each.number], now[each.number], took_s) for each in diligence]
    if own_lag is not None:
        share = round((after.own_cpu_s - before.own_cpu_s) / took_s, 4)
        own = GeneratorProcess(
            name="publishing",
            loop_lag_ms=own_lag.latency(),
            cpu_share=share,
            rss_bytes=host.own_rss_bytes(),
        )
        parts.append(own)
    cpu_share, events = sum(part.cpu_share for part in parts), after.events - before.events
    clients = sum(each.clients for each in diligence)
    grown_bytes = sum(max(0, each.rss_connected_bytes - each.rss_before_bytes) for each in diligence)
    return Generator(
        processes=max(1, len(diligence)),
        by_process=parts,
        lost_processes=list(lost),
        loop_lag_ms=max((part.loop_lag_ms for part in parts), key=lambda lag: lag.p99),
        late_publishes=publishes.counts["late"],
        cpu_share=round(cpu_share, 4),
        cpu_us_per_receipt=round(cpu_share * took_s * 1e6 / events, 2) if events else 0.0,
        rss_bytes=sum(part.rss_bytes for part in parts),
        bytes_per_connection=grown_bytes // max(1, clients),
        source_addresses=max((each.source_addresses for each in diligence), default=1),
        handler_errors=sum(each.handler_errors for each in diligence) + publishes.doubts,
        overrun=overrun,
    )


def _process(each: WorkerHealth, was: Sample, now: Sample, took_s: float) -> GeneratorProcess:
    return GeneratorProcess(
        name=each.name,
        clients=each.clients,
        loop_lag_ms=each.lag.latency(),
        cpu_share=round(max(0.0, now.cpu_s - was.cpu_s) / took_s, 4),
        rss_bytes=now.rss_bytes,
    )


def server_of(before: Meter, after: Meter, server: ManagedServer | None, *, unreachable: bool) -> Server:
    """What was seen of the target; CPU and memory only of one that the run started."""
    took_s = max(0.001, (after.at_ns - before.at_ns) / NS)
    cpu_s, events = after.server_cpu_s - before.server_cpu_s, after.events - before.events
    return Server(
        managed=server is not None,
        died=server.died if server is not None else "",
        unreachable=unreachable,
        cpu_share=round(max(0.0, cpu_s) / took_s, 4),
        cpu_share_by_service={
            name: round((used_s - before.service_cpu_s[name]) / took_s, 4)
            for name, used_s in after.service_cpu_s.items()
            if name in before.service_cpu_s
        },
        cpu_us_per_delivery=round(cpu_s * 1e6 / events, 2) if events and cpu_s > 0 else 0.0,
        rss_bytes=server.peak_rss_bytes if server is not None else 0,
        rss_growth_bytes=max(0, after.server_rss_bytes - before.server_rss_bytes),
        metrics=growth(before.metrics, after.metrics),
    )
