"""Who is in which room when, and what each member got of what was published there.

For messages with a large audience: live counters (snapshots: versioned, latest wins) and plain broadcast
events (each must arrive). Receipts may come before the publisher's own answer says which message they
belong to, so nothing is judged here: `broadcast_audit` does that when the run is over. Pure: times are
monotonic nanoseconds. `Row.receive` is a hot path, well below a microsecond.
"""

from array import array
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from .outcomes import Class

NEVER_NS = 2**62
RECENT_ROWS = 10_000
"""Published since somebody looked last, which is once a second."""
NOTHING_RETIRED = -(2**62)
MAX_GAP = 1_000
"""Versions skipped at once that are marked one by one; a larger jump is judged at the end."""


class Kind(Enum):
    """SNAPSHOT: a newer version replaces the older ones. EVENT: each one must arrive."""

    SNAPSHOT = "snapshot"
    EVENT = "event"


@dataclass(slots=True)
class Membership:
    """One stay of a client in a room: owed in [from_ns, until_ns), entitled from `asked_ns` to `gone_ns`.

    The two ends differ when a client stopped reading before it was cut off.
    """

    client: int
    asked_ns: int
    from_ns: int = NEVER_NS
    until_ns: int = NEVER_NS
    gone_ns: int = NEVER_NS


@dataclass(slots=True, eq=False)
class Room:
    """The stays in one room. `durable`: a member stays one while it is away (the server promises replay)."""

    name: str
    durable: bool = False
    memberships: list[Membership] = field(default_factory=list)
    now: dict[int, Membership] = field(default_factory=dict)


class Row:
    """One message, and when each client got it.

    at: per client 0 = not yet, > 0 = received then, < 0 = overtaken then (a newer version came in).
    """

    __slots__ = (
        "answered_ns",
        "asked",
        "at",
        "held",
        "intended_ns",
        "measured",
        "odd",
        "position",
        "receipts",
        "repeats",
        "rereads",
        "sent_ns",
        "stream",
    )

    def __init__(self, stream: "Stream", position: int) -> None:
        self.stream = stream
        self.position = position
        self.held = stream.held
        self.at = array("q", bytes(8 * len(stream.held)))
        self.odd: dict[int, Class] = {}
        self.asked: set[int] = set()
        self.repeats: dict[int, int] = {}
        self.receipts = 0
        self.rereads = 0
        self.intended_ns = self.sent_ns = self.answered_ns = 0
        self.measured = False

    def published(self, intended_ns: int, sent_ns: int, answered_ns: int, *, measured: bool) -> None:
        """Own the message: owed to whoever was in the room at `sent_ns`. measured: its latency counts."""
        self.intended_ns, self.sent_ns, self.answered_ns = intended_ns, sent_ns, answered_ns
        self.measured = measured
        self.stream.book.recent.append(self)

    def retire(self) -> None:
        """It was judged and is let go of; who still has it in hand from now on only counts repeats."""
        retired_row = self.stream.retired_row
        self.at, self.odd, self.asked, self.repeats = (
            retired_row.at,
            retired_row.odd,
            retired_row.asked,
            retired_row.repeats,
        )

    def receive(self, client: int, at_ns: int) -> bool:
        """A push came in at a client; True if it is the first of this message there."""
        self.receipts += 1
        if self.at[client] > 0:
            return self._repeat(client)
        if self.position == self.held[client] + 1:
            self.at[client] = at_ns
            self.held[client] = self.position
            return True
        return self._receive_apart(client, at_ns)

    def receive_replayed(self, client: int, at_ns: int) -> bool:
        """The same for a message the server is known to have kept for this client while it was away."""
        self.receipts += 1
        if self.at[client] > 0:
            return self._repeat(client)
        self.at[client] = at_ns
        self.odd[client] = Class.REPLAYED
        self._advance(client, at_ns)
        return True

    def reread(self, client: int, at_ns: int) -> bool:
        """The client's own question was answered with this version; False if the client held a newer one."""
        if self.held[client] > self.position:
            self.rereads += 1
            return False
        if self.at[client] == 0:
            self.receipts += 1
            self.at[client] = at_ns
            self.odd[client] = Class.REPLAYED
            self.asked.add(client)
        else:
            self.rereads += 1
        self._advance(client, at_ns)
        return True

    def _repeat(self, client: int) -> bool:
        """A push of what the client has: once harmless if it had asked for it, for question and push race."""
        if client in self.asked:
            self.asked.discard(client)
            self.receipts -= 1
            self.rereads += 1
        else:
            self.repeats[client] = self.repeats.get(client, 0) + 1
        return False

    def _receive_apart(self, client: int, at_ns: int) -> bool:
        if client in self.odd:
            return self._repeat(client)
        behind = self.position < self.held[client] and self.stream.ordered
        if behind:
            self.odd[client] = Class.OUT_OF_ORDER
        if self.at[client] == 0 or not behind:
            self.at[client] = at_ns
        self._advance(client, at_ns)
        return True

    def _advance(self, client: int, at_ns: int) -> None:
        last = self.held[client]
        if self.position <= last:
            return
        self.held[client] = self.position
        if self.stream.kind is Kind.SNAPSHOT and last >= 0:
            self.stream.overtake(client, last + 1, self.position, at_ns)


class Stream:
    """The messages of one topic, or of one room: numbered, each in its row.

    base: the position every client is taken to hold already; -1 when unknown. retired: messages held up to
    this number were judged already; `retired_row` stands for all of them and counts what still comes as
    repeats.
    """

    __slots__ = (
        "_retired_row",
        "base",
        "book",
        "held",
        "kind",
        "name",
        "ordered",
        "retired",
        "rooms",
        "rows",
    )

    def __init__(
        self, book: "RoomBook", name: str, kind: Kind, rooms: tuple[Room, ...], base: int, ordered: bool
    ) -> None:
        self.book = book
        self.name = name
        self.kind = kind
        self.rooms = rooms
        self.base = base
        self.ordered = ordered
        self.held = array("q", [base]) * book.clients
        self.rows: dict[int, Row] = {}
        self.retired = NOTHING_RETIRED
        self._retired_row: Row | None = None

    @property
    def retired_row(self) -> Row:
        """Where receipts of retired messages go: everybody has it, so that each one is a repeat."""
        if self._retired_row is None:
            self._retired_row = Row(self, NOTHING_RETIRED)
            self._retired_row.at = array("q", [1]) * len(self.held)
        return self._retired_row

    @property
    def repeats(self) -> Mapping[int, int]:
        """Receipts of retired messages, by client."""
        return self._retired_row.repeats if self._retired_row is not None else {}

    def retire(self, oldest: int) -> None:
        """Let go of the message held under this number, the oldest one; it was judged."""
        self.rows.pop(oldest).retire()
        self.retired = oldest
        self.book.rows_left += 1

    def row(self, position: int) -> Row:
        """The row of a position, made when first named; beyond the book's bound a row that leads nowhere."""
        row = self.rows.get(position)
        if row is None:
            if position <= self.retired:
                return self.retired_row
            row = Row(self, position)
            if self.book.rows_left > 0:
                self.book.rows_left -= 1
                self.rows[position] = row
            else:
                self.book.overflow += 1
        return row

    def overtake(self, client: int, first: int, position: int, at_ns: int) -> None:
        """Mark versions `first` up to before `position` as overtaken at this client."""
        if position - first > MAX_GAP:
            return
        for skipped in range(first, position):
            at = self.row(skipped).at
            if at[client] == 0:
                at[client] = -at_ns


class RoomBook:
    """All rooms and streams of a process. clients: how many it has; they are numbered from 0.

    first: the number in the whole run of client 0, for naming. max_rows: messages kept; those beyond are not
    judged, and counted in `overflow`. recent: rows as they are published, for watchers, who take them out.
    """

    def __init__(self, clients: int, first: int = 0, max_rows: int = 1_000_000) -> None:
        self.clients = clients
        self.first = first
        self.rooms: dict[str, Room] = {}
        self.streams: dict[str, Stream] = {}
        self.presence = Room("")
        self.overflow = 0
        self.recent: deque[Row] = deque(maxlen=RECENT_ROWS)
        self.rows_left = max_rows
        self._rooms_of: dict[int, set[Room]] = {}

    def room(self, name: str, *, durable: bool = False) -> Room:
        """The room of that name, made when first named."""
        room = self.rooms.get(name)
        if room is None:
            room = self.rooms[name] = Room(name, durable)
        return room

    def stream(
        self, name: str, kind: Kind, rooms: tuple[Room, ...], *, base: int = -1, ordered: bool = True
    ) -> Stream:
        """The stream of that name; a member of any of `rooms` is owed its messages."""
        stream = self.streams.get(name)
        if stream is None:
            stream = self.streams[name] = Stream(self, name, kind, rooms, base, ordered)
        return stream

    def ask(self, room: Room, client: int, at_ns: int) -> None:
        """The client asked to be let in; a second question changes nothing."""
        if client not in room.now:
            membership = Membership(client, at_ns)
            room.now[client] = membership
            room.memberships.append(membership)
            self._rooms_of.setdefault(client, set()).add(room)

    def enter(self, room: Room, client: int, at_ns: int) -> None:
        """The server acknowledged it: messages sent from here on are owed."""
        self.ask(room, client, at_ns)
        membership = room.now[client]
        membership.from_ns = min(membership.from_ns, at_ns)

    def leave(self, room: Room, client: int, at_ns: int, deaf_since_ns: int = NEVER_NS) -> None:
        """The client left, was dropped, or asked to be let out.

        deaf_since_ns: when it stopped reading, if it did: nothing sent from then on was owed.
        """
        membership = room.now.pop(client, None)
        if membership is not None:
            membership.until_ns = min(at_ns, deaf_since_ns)
            membership.gone_ns = at_ns
            self._rooms_of[client].discard(room)

    def connected(self, client: int, at_ns: int) -> None:
        """The client is there."""
        self.enter(self.presence, client, at_ns)

    def disconnected(self, client: int, at_ns: int, deaf_since_ns: int = NEVER_NS) -> None:
        """The client is away: it leaves every room that does not keep it."""
        for room in [room for room in self._rooms_of.get(client, ()) if not room.durable]:
            self.leave(room, client, at_ns, deaf_since_ns)
