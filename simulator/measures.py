"""What is compared between runs: figures of which less is better, and counts that should be nothing.

Pure. Called by `compare`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from .result import Result
from .thresholds import KNOWN

NEVER_MS = 120_000.0
"""Stands for a percentile of which too many never came back: the longest time a histogram holds."""


Family = Literal["load", "recovery"]
FAMILIES: tuple[Family, ...] = ("load", "recovery")


@dataclass(frozen=True, slots=True)
class Metric:
    """A figure of a run; less is better. family: the question it belongs to.

    A family has six members at most: the smallest p that five runs a side can bring about is 0.008, which
    survives the correction for six.
    """

    name: str
    unit: str
    family: Family
    read: Callable[[Result], float | None]


def _level(name: str, family: Family) -> Metric:
    def read(result: Result) -> float | None:
        value = KNOWN[name].read(result)
        return None if value is None else min(value, NEVER_MS)

    return Metric(name, "ms", family, read)


def _server(name: str, unit: str) -> Metric:
    return Metric(name, unit, "load", lambda result: float(getattr(result.server, name)) or None)


METRICS = (
    _level("fanout_p50_ms", "load"),
    _level("fanout_p99_ms", "load"),
    _level("durable_p99_ms", "load"),
    _level("http_p99_ms", "load"),
    _server("cpu_us_per_delivery", "us"),
    _server("rss_bytes", "bytes"),
    _level("reconnect_p95_ms", "recovery"),
    _level("caught_up_p95_ms", "recovery"),
)

FAULTS: Mapping[str, Callable[[Result], int]] = {
    "lost": lambda result: result.ledger.lost,
    "misrouted": lambda result: result.ledger.misrouted,
    "duplicate": lambda result: result.ledger.duplicate,
    "out_of_order": lambda result: result.ledger.out_of_order,
    "silent_holes": lambda result: result.reconnect.recovery.silent_hole,
    "violations": lambda result: result.conservation.violation_count,
    "server_died": lambda result: int(bool(result.server.died or result.server.unreachable)),
}
"""What a correct server never does. Where the baseline has none, a single one is a change for the worse."""
