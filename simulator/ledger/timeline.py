"""The run by the second: what was published and delivered, how fast, who was there.

Samples of presence are taken while it runs; deliveries and latencies are spread over the seconds at the end,
from the ledgers' own records. Pure.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..histogram import MAX_CELLS, cells_of, highest_in
from ..result import FaultMark, Second
from .broadcast_audit import Ints
from .ledger import Account

NS = 1_000_000_000
MAX_SECONDS = 7_200


def seconds_between(start_ns: int, end_ns: int) -> int:
    """How many seconds a timeline has, at most two hours of them."""
    return min(MAX_SECONDS, max(0, -(-(end_ns - start_ns) // NS)))


def per_second(at_ns: Ints, start_ns: int, count: int) -> Ints:
    """How many moments fall into each second."""
    index = (at_ns - start_ns) // NS
    inside = index[(index >= 0) & (index < count)]
    return np.bincount(inside, minlength=count)[:count].astype(np.int64)


@dataclass(slots=True)
class SecondCounts:
    """What came in by the second, and how fast; adds up over processes, percentiles included.

    delivered: receipts per second. cells, counts: latencies by `second * MAX_CELLS + bucket`, in order.
    """

    delivered: Ints
    cells: Ints
    counts: Ints

    @classmethod
    def of(cls, account: Account, start_ns: int, count: int) -> "SecondCounts":
        """From one process's ledger; count: seconds from `start_ns` on."""
        delivered = per_second(account.delivered_ns, start_ns, count)
        parts = list(account.samples.values())
        at_ns = np.concatenate([np.empty(0, dtype=np.int64), *(part.at_ns for part in parts)])
        latency_us = np.concatenate([np.empty(0, dtype=np.int64), *(part.latency_us for part in parts)])
        second = (at_ns - start_ns) // NS
        inside = (second >= 0) & (second < count)
        keys = second[inside] * MAX_CELLS + cells_of(latency_us[inside])
        cells, counts = np.unique(keys, return_counts=True)
        return cls(delivered, cells, counts.astype(np.int64))

    def first(self, count: int) -> "SecondCounts":
        """The same of the first seconds only."""
        inside = self.cells < count * MAX_CELLS
        return SecondCounts(self.delivered[:count], self.cells[inside], self.counts[inside])

    def add(self, other: "SecondCounts") -> None:
        """Add another process's counts to these; both cover the same seconds."""
        self.delivered = self.delivered + other.delivered
        keys = np.concatenate([self.cells, other.cells])
        counts = np.concatenate([self.counts, other.counts])
        self.cells, where = np.unique(keys, return_inverse=True)
        self.counts = np.bincount(where, weights=counts, minlength=self.cells.size).astype(np.int64)

    def latencies(self) -> dict[int, tuple[float, float]]:
        """p50 and p99 in ms of each second in which something was measured."""
        found: dict[int, tuple[float, float]] = {}
        second = self.cells // MAX_CELLS
        for t_s in np.unique(second).tolist():
            start, end = np.searchsorted(second, [t_s, t_s + 1])
            so_far = np.cumsum(self.counts[start:end])
            p50_ms, p99_ms = (
                highest_in(int(self.cells[start + np.searchsorted(so_far, share * so_far[-1])]) % MAX_CELLS)
                / 1000
                for share in (0.5, 0.99)
            )
            found[t_s] = (p50_ms, p99_ms)
        return found


def seconds(
    start_ns: int,
    counted: SecondCounts,
    sent_ns: Sequence[int],
    presence: Sequence[tuple[int, int, int]],
    faults: Sequence[FaultMark],
) -> list[Second]:
    """The seconds from the start of the load on, as many as were counted.

    presence: samples of (time, connected clients, reconnecting clients).
    """
    count = counted.delivered.size
    published = per_second(np.array(sent_ns, dtype=np.int64), start_ns, count)
    latencies = counted.latencies()
    here = {(at_ns - start_ns) // NS: (connected, away) for at_ns, connected, away in presence}
    rows: list[Second] = []
    known = (0, 0)
    for t_s in range(count):
        known = here.get(t_s, known)
        p50_ms, p99_ms = latencies.get(t_s, (0.0, 0.0))
        rows.append(
            Second(
                t_s=t_s,
                published=int(published[t_s]),
                delivered=int(counted.delivered[t_s]),
                p50_ms=p50_ms,
                p99_ms=p99_ms,
                connected=known[0],
                reconnecting=known[1],
                faults=[mark.kind for mark in faults if mark.at_s < t_s + 1 and t_s <= mark.until_s],
            )
        )
    return rows
