"""The run by the second: what was published and delivered, how fast, who was there.

Samples of presence are taken while it runs; deliveries and latencies are spread over the seconds at the end,
from the ledger's own records. Pure. Called by the runner.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from .ledger import Account
from .result import FaultMark, Second

NS = 1_000_000_000
MAX_SECONDS = 7_200


@dataclass(slots=True)
class Presence:
    """Connected and reconnecting clients as sampled, by time."""

    samples: list[tuple[int, int, int]] = field(default_factory=list)

    def add(self, at_ns: int, connected: int, reconnecting: int) -> None:
        """One sample."""
        self.samples.append((at_ns, connected, reconnecting))


def seconds(
    start_ns: int,
    end_ns: int,
    account: Account,
    sent_ns: Sequence[int],
    presence: Presence,
    faults: Sequence[FaultMark],
) -> list[Second]:
    """The seconds from the start of the load to the end of the observation, at most two hours of them."""
    count = min(MAX_SECONDS, max(0, -(-(end_ns - start_ns) // NS)))
    published = _per_second(np.array(sent_ns, dtype=np.int64), start_ns, count)
    delivered = _per_second(account.delivered_ns, start_ns, count)
    latencies = _latencies(account, start_ns, count)
    here = {(at_ns - start_ns) // NS: (connected, away) for at_ns, connected, away in presence.samples}
    rows: list[Second] = []
    known = (0, 0)
    for t_s in range(count):
        known = here.get(t_s, known)
        p50_ms, p99_ms = latencies.get(t_s, (0.0, 0.0))
        rows.append(
            Second(
                t_s=t_s,
                published=int(published[t_s]),
                delivered=int(delivered[t_s]),
                p50_ms=p50_ms,
                p99_ms=p99_ms,
                connected=known[0],
                reconnecting=known[1],
                faults=[mark.kind for mark in faults if mark.at_s < t_s + 1 and t_s <= mark.until_s],
            )
        )
    return rows


def _per_second(at_ns: "np.ndarray[tuple[int], np.dtype[np.int64]]", start_ns: int, count: int) -> list[int]:
    index = (at_ns - start_ns) // NS
    inside = index[(index >= 0) & (index < count)]
    return [int(value) for value in np.bincount(inside, minlength=count)[:count]] if count else []


def _latencies(account: Account, start_ns: int, count: int) -> dict[int, tuple[float, float]]:
    if not account.samples:
        return {}
    at_ns = np.concatenate([sample.at_ns for sample in account.samples.values()])
    latency_us = np.concatenate([sample.latency_us for sample in account.samples.values()])
    index = (at_ns - start_ns) // NS
    order = np.argsort(index, kind="stable")
    index, latency_us = index[order], latency_us[order]
    edges = np.searchsorted(index, np.arange(count + 1))
    found: dict[int, tuple[float, float]] = {}
    for t_s in range(count):
        part = latency_us[edges[t_s] : edges[t_s + 1]]
        if part.size:
            p50, p99 = np.percentile(part, [50, 99], method="higher")
            found[t_s] = (round(float(p50) / 1000, 3), round(float(p99) / 1000, 3))
    return found
