"""What each client holds of its user's numbered, durable messages.

For messages that a server stores, numbers per user and replays. Every client of a user is owed every seq
above its baseline (the newest seq when it first came), whether it was connected or not; the truth is read
back from the server at the end and compared id by id. Pure: times are monotonic nanoseconds handed in.
"""

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from .outcomes import Class, OutcomeCounts

MAX_NAMED = 20
MAX_ARRIVALS = 50_000


@dataclass(slots=True)
class Item:
    """One message at one client. names: bit set of the events it came as; session: of its first receipt."""

    id: str
    kind: Class
    at_ns: int
    names: int
    cause: str | None


@dataclass(slots=True)
class Truth:
    """The server's own list of one user's messages: (seq, id), ascending."""

    rows: Sequence[tuple[int, str]]


@dataclass(slots=True)
class Cause:
    """The publish that made a message: its intended time; measured: outside the warm-up."""

    intended_ns: int
    measured: bool


@dataclass(slots=True)
class Closed:
    """What closing found over many mailboxes. samples: (receipt time ns, latency us)."""

    tally: OutcomeCounts = field(default_factory=OutcomeCounts)
    samples: list[tuple[int, int]] = field(default_factory=list)
    replay_us: list[int] = field(default_factory=list)
    delivered_ns: list[int] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)


class DurableStream:
    """One client's copy of one user's stream."""

    __slots__ = (
        "_asked",
        "arrivals",
        "baseline",
        "client",
        "conflicts",
        "duplicates",
        "floor",
        "held",
        "number",
        "received",
        "reloads",
        "rereads",
        "session_last",
        "stray",
        "top",
        "user",
    )

    def __init__(
        self, client: int, user: str, number: int | None = None, arrivals: deque[Item] | None = None
    ) -> None:
        """client: in this process; number: in the whole run, for naming. arrivals: where watchers look."""
        self.arrivals = deque[Item](maxlen=0) if arrivals is None else arrivals
        self.client = client
        self.number = client if number is None else number
        self.user = user
        self.baseline: int | None = None
        self.session_last = 0
        self.floor = 0
        self.top = 0
        self.held: dict[int, Item] = {}
        self.received = 0
        self.duplicates = 0
        self.rereads = 0
        self.reloads = 0
        self.stray = 0
        self.conflicts = 0
        self._asked: int | None = None

    def cursor(self) -> int | None:
        """What to tell the server on connecting: the seq below which nothing is missing; None at first."""
        self._asked = None if self.baseline is None else self.floor
        return self._asked

    def begin(self, last_seq: int) -> None:
        """The server accepted the client when the user's newest seq was `last_seq`."""
        if self.baseline is None:
            self.baseline = self.floor = self.top = last_seq
        self.session_last = last_seq

    @property
    def behind(self) -> bool:
        """Whether something up to the start of this session, or below what came since, is missing."""
        return self.floor < max(self.session_last, self.top)

    def push(
        self, seq: int, id: str, at_ns: int, name: int, cause: str | None = None, *, ordered: bool = True
    ) -> bool:
        """A message came in as the event with bit `name`; True if it is new to this client.

        Several events may carry the same message (a typed one and a general one): it counts once.
        ordered: whether the server promises ascending seqs.
        """
        item = self.held.get(seq)
        if item is None:
            return self._first(seq, id, at_ns, name, cause, ordered)
        if item.id != id:
            self.conflicts += 1
            self.received += 1
        elif not item.names & name:
            item.names |= name
            item.cause = item.cause or cause
        elif self._asked is not None and self._asked < seq <= self.session_last:
            self.rereads += 1
        else:
            self.duplicates += 1
            self.received += 1
        return False

    def fill(self, seq: int, id: str, at_ns: int, cause: str | None = None) -> bool:
        """The client's own question (sync, reload) was answered with this message; True if it was missing."""
        if seq in self.held or self.baseline is None or seq <= self.baseline:
            self.rereads += 1
            return False
        self.received += 1
        self._hold(seq, Item(id, Class.REPLAYED, at_ns, 0, cause))
        return True

    def _first(self, seq: int, id: str, at_ns: int, name: int, cause: str | None, ordered: bool) -> bool:
        self.received += 1
        if self.baseline is None or seq <= self.baseline:
            self.stray += 1
            return False
        if ordered and seq < self.top:
            kind = Class.OUT_OF_ORDER
        else:
            kind = Class.REPLAYED if seq <= self.session_last else Class.LIVE
        self._hold(seq, Item(id, kind, at_ns, name, cause))
        return True

    def _hold(self, seq: int, item: Item) -> None:
        self.held[seq] = item
        self.arrivals.append(item)
        self.top = max(self.top, seq)
        while self.floor + 1 in self.held:
            self.floor += 1

    def close(
        self, truth: Truth | None, causes: Mapping[str, Cause], late_ns: int, *, away: bool, into: Closed
    ) -> int:
        """Judge this copy against the truth and add it up in `into`; the number of lost messages.

        truth None: it could not be read, so everything not held is unknown and nothing is accused.
        away: the client was not there, or not caught up, when the observation ended.
        """
        tally = into.tally
        tally.received += self.received
        tally.reread += self.rereads
        tally.duplicate += self.duplicates
        tally.unowed += self.stray
        tally.misrouted += self.conflicts
        owed = self._owed(truth)
        tally.expected += len(owed)
        for seq, item in self.held.items():
            into.delivered_ns.append(item.at_ns)
            if owed.get(seq) == item.id:
                self._served(item, causes, late_ns, into)
            else:
                tally.misrouted += 1
        missing = [seq for seq, name in owed.items() if not self._holds(seq, name)]
        if away:
            tally.unverified += len(missing)
            return 0
        tally.lost += len(missing)
        room = MAX_NAMED - len(into.lost)
        into.lost += [f"{self.user} seq {seq} at client {self.number}" for seq in missing[: max(0, room)]]
        return len(missing)

    def _holds(self, seq: int, id: str) -> bool:
        item = self.held.get(seq)
        return item is not None and item.id == id

    def _owed(self, truth: Truth | None) -> dict[int, str]:
        if self.baseline is None:
            return {}
        if truth is None:
            return {seq: item.id for seq, item in self.held.items()}
        return {seq: name for seq, name in truth.rows if seq > self.baseline}

    def _served(self, item: Item, causes: Mapping[str, Cause], late_ns: int, into: Closed) -> None:
        cause = causes.get(item.cause) if item.cause else None
        latency_ns = item.at_ns - cause.intended_ns if cause else 0
        if item.kind is Class.LIVE and latency_ns > late_ns:
            into.tally.late += 1
        else:
            into.tally.count(item.kind)
        if cause is None or not cause.measured:
            return
        if item.kind is Class.REPLAYED:
            into.replay_us.append(latency_ns // 1000)
        else:
            into.samples.append((item.at_ns, latency_ns // 1000))
