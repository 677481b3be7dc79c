"""The run by the second: what was published and delivered, how fast, who was there.

Samples of presence are taken while it runs; deliveries and latencies are spread over the seconds at the end,
from the ledgers' own records (`pace`). Pure. Called by the course.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from ..pace import NS, Pace, per_second
from ..result import FaultMark, Second


@dataclass(slots=True)
class Presence:
    """Connected and reconnecting clients as sampled, by time."""

    samples: list[tuple[int, int, int]] = field(default_factory=list)

    def add(self, at_ns: int, connected: int, reconnecting: int) -> None:
        """One sample."""
        self.samples.append((at_ns, connected, reconnecting))


def seconds(
    start_ns: int,
    pace: Pace,
    sent_ns: Sequence[int],
    presence: Presence,
    faults: Sequence[FaultMark],
) -> list[Second]:
    """The seconds from the start of the load on, as many as the pace has."""
    count = pace.delivered.size
    published = per_second(np.array(sent_ns, dtype=np.int64), start_ns, count)
    latencies = pace.latencies()
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
                delivered=int(pace.delivered[t_s]),
                p50_ms=p50_ms,
                p99_ms=p99_ms,
                connected=known[0],
                reconnecting=known[1],
                faults=[mark.kind for mark in faults if mark.at_s < t_s + 1 and t_s <= mark.until_s],
            )
        )
    return rows
