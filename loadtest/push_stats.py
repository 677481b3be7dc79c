"""Pushes in Locust's statistics: many at once, so that one costs a fraction of a microsecond.

Locust's way, one `request` event per sample, takes longer than receiving the message. Here latencies are
collected and merged into its entries a few times a second, with its own `extend`; percentiles, CSV, HTML, web
page and distributed merging work as ever. Called by the load room.
"""

import time
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from locust.env import Environment
from locust.stats import RequestStats, StatsEntry, bucket_response_time
from numpy.typing import NDArray

from simulator.histogram import Histogram

PUSH = "PUSH"
ENTRY = "push:"
"""Before the event's name, in Locust's tables."""
FINE_BELOW_MS = 100


class PushStats:
    """histograms: event name -> exact latencies of this process, kept for the verdict."""

    def __init__(self, environment: Environment, *, each: bool = False) -> None:
        """each: fire Locust's `request` event for every push, for listeners that want them one by one."""
        self._environment = environment
        self._each = each
        self.histograms: dict[str, Histogram] = {}

    def add(self, name: str, latencies_ns: Iterable[int]) -> None:
        """Enter latencies of pushes."""
        values_ns: NDArray[np.int64] = np.fromiter(latencies_ns, dtype=np.int64)
        if not values_ns.size:
            return
        values_ns = np.maximum(values_ns, 0)
        self.histograms.setdefault(name, Histogram()).record_many(values_ns // 1000)
        values_ms = values_ns / 1e6
        if self._each:
            self._fire(name, values_ms)
            return
        self._merge(name, values_ms.size, total_ms=float(values_ms.sum()), values_ms=values_ms)

    def add_unmeasured(self, counts: Mapping[str, int]) -> None:
        """Enter pushes that came, and of which nobody knows when they were published."""
        for name, count in counts.items():
            self._merge(name, count, total_ms=0.0, values_ms=None)

    def _fire(self, name: str, values_ms: NDArray[np.float64]) -> None:
        for value_ms in values_ms.tolist():
            self._environment.events.request.fire(
                request_type=PUSH,
                name=ENTRY + name,
                response_time=value_ms,
                response_length=0,
                exception=None,
                context={},
            )  # type: ignore[no-untyped-call]

    def _merge(
        self, name: str, count: int, *, total_ms: float, values_ms: NDArray[np.float64] | None
    ) -> None:
        stats = self._environment.stats
        batch: Any = StatsEntry(RequestStats(use_response_times_cache=False), ENTRY + name, PUSH)
        batch.num_requests = count
        batch.last_request_timestamp = time.time()
        batch.num_reqs_per_sec[int(batch.last_request_timestamp)] = count
        if values_ms is None:
            batch.num_none_requests = count
        else:
            batch.total_response_time = total_ms
            batch.min_response_time = float(values_ms.min())
            batch.max_response_time = float(values_ms.max())
            batch.response_times = buckets(values_ms)
        stats.entries[(ENTRY + name, PUSH)].extend(batch)
        stats.total.extend(batch)


def buckets(values_ms: NDArray[np.float64]) -> dict[float, int]:
    """Counts by rounded latency: to a tenth of a millisecond below 100 ms, as Locust rounds above."""
    fine = values_ms < FINE_BELOW_MS
    found: dict[float, int] = {}
    tenths, counts = np.unique(
        np.maximum(np.rint(values_ms[fine] * 10), 1).astype(np.int64), return_counts=True
    )
    for tenth, count in zip(tenths.tolist(), counts.tolist(), strict=True):
        found[tenth / 10] = count
    for value_ms in values_ms[~fine].tolist():
        key = bucket_response_time(value_ms)
        found[key] = found.get(key, 0) + 1
    return found
