"""What came in since the last second, in one process: receipts by kind and latency, and what is overdue.

A `Watch` reads it off the ledger while the run goes on, looking at every receipt once; counts of several
processes add up, percentiles included. For people who watch; the ledger judges at the end, not this. Pure:
times are monotonic nanoseconds.
"""

from collections import Counter, deque
from dataclasses import dataclass, field

import numpy as np

from .broadcast_audit import Ints
from .broadcasts import Room, Row
from .durable import Item
from .ledger import Ledger
from .outcomes import Class

NS = 1_000_000_000
BOUNDS_MS = (1, 2, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000)
"""Upper bounds of the latency buckets that are shown to Prometheus."""
STEP = 1.02
"""Ratio of neighbouring buckets: percentiles are right within two per cent."""
MAX_WATCHED = 5_000
DURABLE = "durable"
RECENT = 2


@dataclass(slots=True)
class LiveCounts:
    """Receipts since the last look.

    received: by kind of message. counts: by latency, one for each of BOUNDS_MS and one for what was slower;
    replays are received, but their latency is that of an absence and not counted.
    cells: the same in steps of two per cent, for percentiles. overdue: owed messages that did not come within
    the late bound to clients that were there all the time; lost, unless they come very late.
    lag_ms: how late the event loop was at worst.
    """

    received: Counter[str] = field(default_factory=Counter)
    counts: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS_MS) + 1))
    sum_ms: float = 0.0
    cells: Counter[int] = field(default_factory=Counter)
    overdue: int = 0
    lag_ms: float = 0.0

    def add(self, other: "LiveCounts") -> None:
        """Add another process's counts, or later ones, to these."""
        self.received.update(other.received)
        self.counts = [mine + theirs for mine, theirs in zip(self.counts, other.counts, strict=True)]
        self.sum_ms += other.sum_ms
        self.cells.update(other.cells)
        self.overdue += other.overdue
        self.lag_ms = max(self.lag_ms, other.lag_ms)

    def record(self, latency_ns: Ints) -> None:
        latency_ms = np.maximum(latency_ns, 1_000) / 1e6
        where = np.searchsorted(BOUNDS_MS, latency_ms)
        for place, count in enumerate(np.bincount(where, minlength=len(self.counts)).tolist()):
            self.counts[place] += count
        self.sum_ms += float(latency_ms.sum())
        steps = np.ceil(np.log(latency_ms) / np.log(STEP)).astype(np.int64)
        found, counts = np.unique(steps, return_counts=True)
        self.cells.update(dict(zip(found.tolist(), counts.tolist(), strict=True)))

    def percentile_ms(self, percent: float) -> float:
        """The latency that so many per cent of the receipts had at most; 0 when nothing came."""
        total, so_far = sum(self.cells.values()), 0
        for cell in sorted(self.cells):
            so_far += self.cells[cell]
            if so_far >= total * percent / 100:
                return float(STEP**cell)
        return 0.0


class Watch:
    """Looks at a ledger again and again. late_ns: an owed message that takes longer is overdue."""

    def __init__(self, ledger: Ledger, late_ns: int) -> None:
        self._ledger = ledger
        self._late_ns = late_ns
        self._seen_ns: dict[Row, int] = {}
        self._unexplained: list[Item] = []

    def look(self, now_ns: int) -> LiveCounts:
        """Everything that came in since the last look."""
        counts, audience = LiveCounts(), _Audience(self._ledger)
        self._take_new()
        for row, seen_ns in list(self._seen_ns.items()):
            at = np.frombuffer(row.at, dtype=np.int64)
            new = (at > seen_ns) & (at <= now_ns)
            self._seen_ns[row] = now_ns
            if new.any():
                counts.received[row.stream.kind.value] += int(np.count_nonzero(new))
                new[[client for client, kind in row.odd.items() if kind is Class.REPLAYED]] = False
                counts.record(at[new] - row.intended_ns)
            if row.sent_ns < now_ns - self._late_ns:
                counts.overdue += audience.waiting(row, at)
                del self._seen_ns[row]
            elif row.receipts >= self._ledger.rooms.clients:
                del self._seen_ns[row]
        self._take_durable(counts)
        return counts

    def _take_durable(self, counts: LiveCounts) -> None:
        """Durable messages, each with its cause; one whose cause is not known yet is asked again once."""
        causes, arrivals, late = self._ledger.causes, self._ledger.arrivals, self._unexplained
        came = [arrivals.popleft() for _ in range(len(arrivals))]
        self._unexplained = [item for item in came if item.cause not in causes]
        known = [*(item for item in came if item.cause in causes), *late]
        live = [
            item.at_ns - causes[item.cause].intended_ns
            for item in known
            if item.kind is not Class.REPLAYED and item.cause is not None and item.cause in causes
        ]
        if known:
            counts.received[DURABLE] += len(known)
            counts.record(np.array(live, dtype=np.int64))

    def _take_new(self) -> None:
        """Rows that were published since the last look; those beyond the bound are not watched."""
        recent = self._ledger.rooms.recent
        for row in [recent.popleft() for _ in range(len(recent))]:
            if len(self._seen_ns) < MAX_WATCHED:
                self._seen_ns.setdefault(row, 0)


class _Audience:
    """Who is there now, and since when, by room; made when first asked for."""

    def __init__(self, ledger: Ledger) -> None:
        self._presence = ledger.rooms.presence
        self._since: dict[int, tuple[Ints, Ints]] = {}

    def waiting(self, row: Row, at: Ints) -> int:
        """How many that were there at its sending, and since, have neither the message nor a newer one."""
        clients: set[int] = set()
        for room in row.stream.rooms:
            members, since = self._columns(room)
            clients.update(members[(since <= row.sent_ns) & (at[members] == 0)].tolist())
        return len(clients)

    def _columns(self, room: Room) -> tuple[Ints, Ints]:
        found = self._since.get(id(room))
        if found is None:
            here = self._presence.now
            memberships = [membership for client, membership in room.now.items() if client in here]
            since = [max(membership.from_ns, here[membership.client].from_ns) for membership in memberships]
            members = [membership.client for membership in memberships]
            found = np.array(members, dtype=np.int64), np.array(since, dtype=np.int64)
            self._since[id(room)] = found
        return found


class LiveTotals:
    """All live counts of a run, added once a second for all processes together; also the newest alone."""

    def __init__(self) -> None:
        self.total = LiveCounts()
        self._last: deque[LiveCounts] = deque(maxlen=RECENT)

    def add(self, counts: LiveCounts) -> None:
        self.total.add(counts)
        self._last.append(counts)

    def recent(self) -> LiveCounts:
        recent = LiveCounts()
        for counts in self._last:
            recent.add(counts)
        return recent
