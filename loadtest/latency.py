"""When was a push meant to be published? A load process's book of stamps and receipts.

A validation's receipt may come before its stamp does, for the publisher knows the validation's id only from
the answer, and may sit in another process. Receipts wait for their stamp; both are bounded. Pure: no clock,
no sockets, no Locust.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import orjson

Stamp = tuple[str, int]
"""(key, intended publishing time in monotonic ns). Keys are made by the functions below."""

MAX_STAMPS = 200_000
MAX_ROWS = 20_000


def notification_key(validation_id: str) -> str:
    """Key of the notification that a validation made for the claim's owner."""
    return f"n:{validation_id}"


def consensus_key(claim_id: str) -> str:
    """Key of the notifications of a consensus."""
    return f"c:{claim_id}"


def version_key(claim_id: str, version: int) -> str:
    """Key of the live events that show a claim at a version."""
    return f"v:{claim_id}:{version}"


class Row:
    """The receipts of one thing under one event name. intended_ns: 0 until the stamp is known."""

    __slots__ = ("intended_ns", "out_ns", "raw", "waiting_ns")

    def __init__(self, intended_ns: int, out_ns: list[int], raw: bytes | None) -> None:
        self.intended_ns = intended_ns
        self.out_ns = out_ns
        self.raw = raw
        self.waiting_ns: list[int] = []

    def receive(self, at_ns: int) -> None:
        """Note one receipt; never slower than two look-ups."""
        if self.intended_ns:
            self.out_ns.append(at_ns - self.intended_ns)
        else:
            self.waiting_ns.append(at_ns)

    def stamp(self, intended_ns: int) -> None:
        """The stamp is known: what waited becomes latencies."""
        self.intended_ns = intended_ns
        self.out_ns.extend(at_ns - intended_ns for at_ns in self.waiting_ns)
        self.waiting_ns.clear()


class LiveEvent:
    """A live event as everybody gets it, taken apart once."""

    __slots__ = ("claim_id", "row", "version")

    def __init__(self, row: Row, claim_id: str, version: int) -> None:
        self.row = row
        self.claim_id = claim_id
        self.version = version


class StampBook:
    """Stamps and receipts by key. fresh: stamps made in this process that others have not heard of yet."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Forget everything."""
        self._stamps: dict[str, int] = {}
        self._rows: dict[tuple[str, str], Row] = {}
        self._live: dict[bytes, LiveEvent] = {}
        self._latencies_ns: dict[str, list[int]] = {}
        self._unstamped: dict[str, int] = {}
        self.fresh: list[Stamp] = []
        self.newest_versions: dict[str, Stamp] = {}
        """Claim id -> (version as text, intended ns) of the newest version that anybody was told of."""

    def publish(self, stamps: Iterable[Stamp]) -> None:
        """Something was published here."""
        made = list(stamps)
        self.learn(made)
        self.fresh += made

    def learn(self, stamps: Iterable[Stamp]) -> None:
        """Something was published, here or elsewhere. A key that is known already keeps its first stamp."""
        for key, intended_ns in stamps:
            if key in self._stamps:
                continue
            self._stamps[key] = intended_ns
            for name in self._latencies_ns:
                row = self._rows.get((name, key))
                if row is not None:
                    row.stamp(intended_ns)
            if key.startswith("v:"):
                self._note_version(key, intended_ns)
        while len(self._stamps) > MAX_STAMPS:
            del self._stamps[next(iter(self._stamps))]

    def _note_version(self, key: str, intended_ns: int) -> None:
        _, claim_id, version = key.split(":")
        held = self.newest_versions.get(claim_id)
        if held is None or int(version) > int(held[0]):
            self.newest_versions[claim_id] = (version, intended_ns)

    def live(self, name: str, raw: bytes) -> LiveEvent:
        """A live event by its bytes: parsed for the first of its receivers only.

        Raises orjson.JSONDecodeError, KeyError, TypeError when it is none.
        """
        event = self._live.get(raw)
        if event is None:
            body = orjson.loads(raw)
            claim_id, version = body["claim_id"], body["version"]
            row = self.row(name, version_key(claim_id, version), raw)
            event = self._live[raw] = LiveEvent(row, claim_id, version)
        return event

    def row(self, name: str, key: str, raw: bytes | None = None) -> Row:
        """Where receipts of this thing under this event name go; the same object while it is kept."""
        row = self._rows.get((name, key))
        if row is None:
            out_ns = self._latencies_ns.setdefault(name, [])
            row = self._rows[name, key] = Row(self._stamps.get(key, 0), out_ns, raw)
            if len(self._rows) > MAX_ROWS:
                self._forget(next(iter(self._rows)))
        return row

    def _forget(self, place: tuple[str, str]) -> None:
        row = self._rows.pop(place)
        if row.raw is not None:
            self._live.pop(row.raw, None)
        if row.waiting_ns:
            name = place[0]
            self._unstamped[name] = self._unstamped.get(name, 0) + len(row.waiting_ns)
            row.waiting_ns.clear()

    def take_latencies_ns(self) -> dict[str, list[int]]:
        """Event name -> latencies since the last call, in no particular order."""
        taken = {name: list(values) for name, values in self._latencies_ns.items() if values}
        for values in self._latencies_ns.values():
            values.clear()  # the rows hold on to these lists
        return taken

    def take_unstamped(self) -> dict[str, int]:
        """Event name -> receipts given up on since the last call: nobody said when they were published."""
        taken, self._unstamped = self._unstamped, {}
        return taken

    def give_up(self) -> None:
        """The run is over: what still waits for a stamp gets none."""
        for place in [place for place, row in self._rows.items() if row.waiting_ns]:
            self._forget(place)

    def take_fresh(self) -> list[Stamp]:
        """Stamps to tell the other processes."""
        taken, self.fresh = self.fresh, []
        return taken


BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def boot_id() -> str:
    """What is equal in two processes exactly when they share one monotonic clock; empty if unknown."""
    try:
        return BOOT_ID.read_text().strip()
    except OSError:
        return ""


@dataclass(slots=True)
class ClockOffset:
    """How far the master's monotonic clock is ahead of ours. error_ns: its bound, None: not known yet.

    On one machine (equal boot ids) the clocks are the same. Across machines the offset comes from question
    and answer, as in NTP; the best of many has the shortest way, and half of that way bounds the error.
    """

    own_boot_id: str
    offset_ns: int = 0
    error_ns: int | None = None

    def answer(self, asked_ns: int, master_ns: int, heard_ns: int, master_boot_id: str) -> None:
        """An answer came. asked_ns, heard_ns: on our clock; master_ns: on the master's, in between."""
        if master_boot_id and master_boot_id == self.own_boot_id:
            self.offset_ns, self.error_ns = 0, 0
            return
        error_ns = (heard_ns - asked_ns) // 2
        if self.error_ns is None or error_ns <= self.error_ns:
            self.offset_ns, self.error_ns = master_ns - (asked_ns + error_ns), error_ns

    @property
    def known(self) -> bool:
        """Whether times can be told apart at all."""
        return self.error_ns is not None

    def to_master(self, own_ns: int) -> int:
        """A time of ours on the master's clock."""
        return own_ns + self.offset_ns

    def from_master(self, master_ns: int) -> int:
        """A time of the master's on our clock."""
        return master_ns - self.offset_ns
