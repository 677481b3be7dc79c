"""Readings of both sides at two moments, and what they say of generator and server. Called by the course."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from . import host
from .generator.publisher import Dispatch
from .generator.worker_report import Diligence, Sample
from .histogram import Histogram
from .node_metrics import Pages, growth
from .result import Generator, GeneratorProcess, Server
from .target.server import ManagedServer

NS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Meter:
    """Readings at one moment. own_cpu_s: of this process. shards: of the processes that hold the clients.

    metrics: the counters of the server's nodes, empty when they have none.
    """

    at_ns: int
    own_cpu_s: float
    server_cpu_s: float
    server_rss_bytes: int
    service_cpu_s: dict[str, float]
    shards: Sequence[Sample]
    metrics: Pages = field(default_factory=dict)

    @property
    def events(self) -> int:
        """Events that all clients received so far."""
        return sum(shard.events for shard in self.shards)


def read(server: ManagedServer | None, shards: Sequence[Sample], metrics: Pages) -> Meter:
    """Read everything now."""
    return Meter(
        at_ns=time.monotonic_ns(),
        own_cpu_s=host.own_cpu_s(),
        server_cpu_s=server.cpu_s() if server is not None else 0.0,
        server_rss_bytes=server.rss_bytes() if server is not None else 0,
        service_cpu_s=server.cpu_s_by_service() if server is not None else {},
        shards=shards,
        metrics=metrics,
    )


def generator_of(
    before: Meter,
    after: Meter,
    diligence: Sequence[Diligence],
    publishes: Dispatch,
    own_lag: Histogram | None,
    *,
    overrun: str,
    lost: Sequence[str],
) -> Generator:
    """The harness about itself. own_lag: of the process that publishes, where others hold the clients."""
    took_s = max(0.001, (after.at_ns - before.at_ns) / NS)
    was, now = ({shard.number: shard for shard in meter.shards} for meter in (before, after))
    parts = [_process(each, was[each.number], now[each.number], took_s) for each in diligence]
    if own_lag is not None:
        share = round((after.own_cpu_s - before.own_cpu_s) / took_s, 4)
        own = GeneratorProcess(
            name="publishing",
            loop_lag_ms=own_lag.latency(),
            cpu_share=share,
            rss_bytes=host.rss_of(host.own_pid()),
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


def _process(each: Diligence, was: Sample, now: Sample, took_s: float) -> GeneratorProcess:
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
