"""Who was owed each message of a room, and what became of every pair and every receipt.

The audience of a message is read from the memberships as the server had acknowledged them at the moment it
was sent. Pure, vectorised per message.
"""

import functools
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from .broadcasts import NEVER_NS, NOTHING_RETIRED, Kind, Room, RoomBook, Row, Stream
from .outcomes import Class, OutcomeCounts

Ints = NDArray[np.int64]
MAX_NAMED = 20


@dataclass(slots=True)
class Bounds:
    """closed_ns: end of observation. grace_ns: what a message may take before its absence counts as loss for
    a client that left meanwhile. late_ns: latency above which a live receipt is late. start_ns: when the load
    began, which the names of what is lost count from."""

    closed_ns: int
    grace_ns: int
    late_ns: int
    start_ns: int = 0


@dataclass(slots=True)
class Judged:
    """What closing found: counts, and latency samples (receipt time in ns, latency in us)."""

    tally: OutcomeCounts = field(default_factory=OutcomeCounts)
    at_ns: list[Ints] = field(default_factory=list)
    latency_us: list[Ints] = field(default_factory=list)
    delivered_ns: list[Ints] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    holes: dict[int, int] = field(default_factory=dict)
    """Clients that lost messages of a durable room -> when the newest of them was sent."""

    def add(self, other: "Judged") -> None:
        self.tally.add(other.tally)
        self.at_ns += other.at_ns
        self.latency_us += other.latency_us
        self.delivered_ns += other.delivered_ns
        self.lost = (self.lost + other.lost)[:MAX_NAMED]


def close_rooms(book: RoomBook, bounds: Bounds) -> dict[Kind, Judged]:
    """Judge every pair and every receipt of all streams, per kind of message."""
    found = {kind: Judged() for kind in Kind}
    auditor = _Auditor(book, bounds)
    for stream in book.streams.values():
        for row in stream.rows.values():
            auditor.judge(row, found[stream.kind])
        for client, times in stream.repeats.items():
            _count_belated(found[stream.kind].tally, times, was_away=client in auditor.returns.again)
    return found


def _count_belated(tally: OutcomeCounts, times: int, *, was_away: bool) -> None:
    """Receipts of messages that were let go of: who was there all the time had them, others perhaps not."""
    tally.received += times
    if was_away:
        tally.unowed += times
    else:
        tally.duplicate += times


def retire_rooms(
    book: RoomBook, bounds: Bounds, before_ns: int, given_up_ns: int, limit: int
) -> dict[Kind, Judged]:
    """Judge and let go of at most `limit` messages to which nothing happened since `before_ns`.

    Only what no later receipt can change: a message that somebody still misses stays, and all after it, until
    it is older than `given_up_ns` and lost for good. The newest of each stream stays, which may be asked for,
    and what a durable room holds, for its members may come back for it.
    """
    found = {kind: Judged() for kind in Kind}
    auditor = _Auditor(book, bounds)
    for stream in book.streams.values():
        while limit > 0 and (oldest := _oldest(stream, before_ns)) is not None:
            row = stream.rows[oldest]
            trial = Judged()
            auditor.judge(row, trial)
            limit -= 1
            if trial.tally.lost and row.sent_ns >= given_up_ns:
                break
            found[stream.kind].add(trial)
            stream.retire(oldest)
    return found


class _Auditor:
    """Judges single messages; the memberships are put into columns once, when first needed."""

    def __init__(self, book: RoomBook, bounds: Bounds) -> None:
        self._presence = book.presence
        self._bounds = bounds
        self._columns: dict[Room, _Columns] = {}
        self._audience: tuple[tuple[Room, ...], _Audience] | None = None  # of the stream that is at hand

    @functools.cached_property
    def returns(self) -> "_Returns":
        """Of all clients."""
        return _Returns(self._presence)

    def judge(self, row: Row, into: Judged) -> None:
        """Add what a message comes to by now."""
        rooms = row.stream.rooms
        if self._audience is None or self._audience[0] != rooms:
            for room in rooms:
                if room not in self._columns:
                    self._columns[room] = _Columns(room, self._bounds)
            columns = [self._columns[room] for room in rooms]
            self._audience = rooms, _Audience(columns, self._presence, self.returns)
        _Judge(row, self._audience[1], into, self._bounds).judge()


def _oldest(stream: Stream, before_ns: int) -> int | None:
    """The number of the message that may be let go of next, if it is old enough."""
    if len(stream.rows) < 2 or any(room.durable for room in stream.rooms):
        return None
    oldest = min(stream.rows)
    row = stream.rows[oldest]
    if row.sent_ns >= before_ns or _gap_before(row):
        return None
    touched_ns = int(np.abs(np.frombuffer(row.at, dtype=np.int64)).max())
    return oldest if touched_ns < before_ns else None


def _gap_before(row: Row) -> bool:
    """Versions are numbered without holes: one that nobody has seen yet may still come."""
    stream = row.stream
    last = stream.base if stream.retired == NOTHING_RETIRED else stream.retired
    return stream.kind is Kind.SNAPSHOT and last >= 0 and row.position != last + 1


class _Columns:
    """The memberships of one room as columns."""

    def __init__(self, room: Room, bounds: Bounds) -> None:
        memberships = room.memberships
        self.client = np.array([membership.client for membership in memberships], dtype=np.int64)
        self.asked = np.array([membership.asked_ns for membership in memberships], dtype=np.int64)
        self.start = np.array([membership.from_ns for membership in memberships], dtype=np.int64)
        ends = [min(membership.until_ns, bounds.closed_ns) for membership in memberships]
        self.end = np.array(ends, dtype=np.int64)
        self.gone = np.array([membership.gone_ns for membership in memberships], dtype=np.int64)
        self.durable = {membership.client for membership in memberships} if room.durable else set()


class _Returns:
    """When clients that were away came back: tells a replay, whatever the publisher's answer was behind."""

    def __init__(self, presence: Room) -> None:
        starts: dict[int, list[int]] = {}
        for membership in presence.memberships:
            starts.setdefault(membership.client, []).append(membership.from_ns)
        again = {client: sorted(times)[1:] for client, times in starts.items() if len(times) > 1}
        self.again = again.keys()
        self.client = np.array(sorted(again), dtype=np.int64)
        width = max((len(times) for times in again.values()), default=0)
        self.starts = np.full((width, self.client.size), NEVER_NS, dtype=np.int64)
        for column, client in enumerate(self.client.tolist()):
            self.starts[: len(again[client]), column] = again[client]

    def replayed(self, at: Ints, answered_ns: int) -> list[int]:
        """Clients whose receipt belongs to a stay that began after the message had been answered."""
        if not self.client.size or not answered_ns:
            return []
        came = at[self.client]
        began = np.where(self.starts <= came, self.starts, 0).max(axis=0)
        found: list[int] = self.client[(came > 0) & (began > answered_ns)].tolist()
        return found


class _Audience:
    """The memberships of all rooms of a stream."""

    def __init__(self, rooms: list[_Columns], presence: Room, returns: "_Returns") -> None:
        self.client = np.concatenate([room.client for room in rooms])
        self.asked = np.concatenate([room.asked for room in rooms])
        self.start = np.concatenate([room.start for room in rooms])
        self.end = np.concatenate([room.end for room in rooms])
        self.gone = np.concatenate([room.gone for room in rooms])
        self.durable = set[int]().union(*(room.durable for room in rooms))
        self.here = presence.now
        self.returns = returns

    def owed(self, sent_ns: int) -> tuple[Ints, Ints]:
        """Clients owed a message sent then, each once, and until when each stayed."""
        inside = (self.start <= sent_ns) & (sent_ns < self.end)
        clients, first = np.unique(self.client[inside], return_index=True)
        return clients, self.end[inside][first]

    def entitled(self, client: int, at_ns: int, grace_ns: int) -> bool:
        """Whether the client had a right to receive something then."""
        mine = self.client == client
        return bool(np.any(mine & (self.asked <= at_ns) & (at_ns <= self.gone + grace_ns)))


class _Judge:
    def __init__(self, row: Row, audience: _Audience, judged: Judged, bounds: Bounds) -> None:
        self.row = row
        self.audience = audience
        self.judged = judged
        self.bounds = bounds
        self.at: Ints = np.frombuffer(row.at, dtype=np.int64)

    def judge(self) -> None:
        tally = self.judged.tally
        tally.received += self.row.receipts
        tally.reread += self.row.rereads
        if self.row.sent_ns:
            owed, until = self.audience.owed(self.row.sent_ns)
        else:
            owed = until = np.empty(0, dtype=np.int64)
        tally.expected += owed.size
        if self.row.stream.kind is Kind.EVENT:
            for client in self.audience.returns.replayed(self.at, self.row.answered_ns):
                self.row.odd[client] = Class.REPLAYED
        clients = set(owed.tolist())
        self._served(owed, until, clients)
        self._missing(owed, until)
        self._unowed(clients)
        self.judged.delivered_ns.append(self.at[self.at > 0])

    def _served(self, owed: Ints, until: Ints, clients: set[int]) -> None:
        """Pairs that took a receipt, or were overtaken.

        What came by recovery, or only in a later stay, says nothing of the speed of pushing: it is not timed.
        """
        tally, row = self.judged.tally, self.row
        at = self.at[owed]
        odd = {client: kind for client, kind in row.odd.items() if client in clients}
        for kind in odd.values():
            tally.count(kind)
        plain = np.ones(owed.size, dtype=bool)
        plain[np.searchsorted(owed, np.array(sorted(odd), dtype=np.int64))] = False
        live = plain & (at > 0)
        tardy = live & (at - row.intended_ns > self.bounds.late_ns)
        tally.late += int(tardy.sum())
        tally.live += int(live.sum()) - int(tardy.sum())
        tally.superseded += int((plain & (at < 0)).sum())
        replayed = np.array(
            [client for client, kind in odd.items() if kind is Class.REPLAYED], dtype=np.int64
        )
        timely = (at != 0) & (np.abs(at) <= until)
        timely[np.searchsorted(owed, np.sort(replayed))] = False
        if row.measured and timely.any():
            came = np.abs(at[timely])
            self.judged.at_ns.append(came)
            self.judged.latency_us.append((came - row.intended_ns) // 1000)

    def _missing(self, owed: Ints, until: Ints) -> None:
        """Pairs without a receipt."""
        tally, row, bounds = self.judged.tally, self.row, self.bounds
        absent = self.at[owed] == 0
        sent_ns = max(row.sent_ns, row.answered_ns)
        for client, end in zip(owed[absent].tolist(), until[absent].tolist(), strict=True):
            if row.stream.kind is Kind.SNAPSHOT and row.held[client] >= row.position:
                tally.superseded += 1
            elif self._was_away(client, end, sent_ns):
                tally.unverified += 1
            else:
                tally.lost += 1
                if client in self.audience.durable:
                    self.judged.holes[client] = max(row.sent_ns, self.judged.holes.get(client, 0))
                if len(self.judged.lost) < MAX_NAMED:
                    at_s = (row.sent_ns - bounds.start_ns) / 1e9
                    number = row.stream.book.first + client
                    self.judged.lost.append(
                        f"{row.stream.name} #{row.position} at client {number}, {at_s:.1f} s into the load"
                    )

    def _was_away(self, client: int, end_ns: int, sent_ns: int) -> bool:
        if client in self.audience.durable:
            membership = self.audience.here.get(client)
            here_ns = membership.from_ns if membership is not None else NEVER_NS
            return max(here_ns, sent_ns) + self.bounds.grace_ns > self.bounds.closed_ns
        return end_ns < sent_ns + self.bounds.grace_ns

    def _unowed(self, owed: set[int]) -> None:
        """Receipts that served no owed pair, and repeats."""
        tally, row = self.judged.tally, self.row
        received = set(np.flatnonzero(self.at > 0).tolist()) | row.odd.keys()
        for client in received - owed:
            if self._entitled(client):
                tally.unowed += 1
            else:
                tally.misrouted += 1
        for client, times in row.repeats.items():
            if client in owed or self._entitled(client):
                tally.duplicate += times
            else:
                tally.misrouted += times

    def _entitled(self, client: int) -> bool:
        at_ns = abs(int(self.at[client]))
        return self.audience.entitled(client, at_ns, self.bounds.grace_ns)
