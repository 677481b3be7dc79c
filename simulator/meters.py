"""Readings of both sides at two moments, and what they say of generator and server. Called by the course."""

import os
import time
from dataclasses import dataclass, field

from . import host
from .histogram import Histogram
from .publisher import Publisher
from .result import Generator, Server
from .swarm import Swarm
from .target import ManagedServer, growth

NS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Meter:
    """Readings at one moment. metrics: the server's counters, empty when it has none."""

    at_ns: int
    own_cpu_s: float
    server_cpu_s: float
    server_rss_bytes: int
    events: int
    metrics: dict[str, float] = field(default_factory=dict)


def read(server: ManagedServer | None, swarm: Swarm, metrics: dict[str, float]) -> Meter:
    """Read everything now."""
    return Meter(
        at_ns=time.monotonic_ns(),
        own_cpu_s=host.own_cpu_s(),
        server_cpu_s=server.cpu_s() if server is not None else 0.0,
        server_rss_bytes=server.rss_bytes() if server is not None else 0,
        events=swarm.events(),
        metrics=metrics,
    )


def generator_of(
    before: Meter,
    after: Meter,
    swarm: Swarm,
    publisher: Publisher,
    lag: Histogram,
    rss_before_bytes: int,
    overrun: str,
) -> Generator:
    """The harness about itself. rss_before_bytes: of this process before the clients were made."""
    took_s = max(0.001, (after.at_ns - before.at_ns) / NS)
    cpu_s, events = after.own_cpu_s - before.own_cpu_s, after.events - before.events
    rss = host.rss_bytes(os.getpid())
    return Generator(
        loop_lag_ms=lag.latency(),
        late_publishes=publisher.counts["late"],
        cpu_share=round(cpu_s / took_s, 4),
        cpu_us_per_receipt=round(cpu_s * 1e6 / events, 2) if events else 0.0,
        rss_bytes=rss,
        bytes_per_connection=max(0, rss - rss_before_bytes) // len(swarm.members),
        source_addresses=swarm.source_addresses,
        handler_errors=swarm.handler_errors(),
        overrun=overrun,
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
        cpu_us_per_delivery=round(cpu_s * 1e6 / events, 2) if events and cpu_s > 0 else 0.0,
        rss_bytes=server.peak_rss_bytes if server is not None else 0,
        rss_growth_bytes=max(0, after.server_rss_bytes - before.server_rss_bytes),
        metrics=growth(before.metrics, after.metrics),
    )
