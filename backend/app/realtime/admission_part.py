"""Who may begin a handshake now, who waits, who is turned away. Pure: the time is passed in.

A bounded number of handshakes is at work, a bounded number waits. Whoever waits is served in turn by
address, first come first served within one address: an address that floods waits for itself. When the queue
is full, the newest of the address that waits most is turned away, which is the newcomer itself only if its
own address waits most. Every step costs the same however many wait.
"""

from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

T = TypeVar("T", bound=Hashable)


class Admission(Generic[T]):
    """The queue in front of a node. Tickets are whatever the caller knows its visitors by."""

    def __init__(self, at_once: int, queue: int, wait_s: float) -> None:
        """at_once: handshakes at work, 0: any number. queue: waiting. wait_s: longest wait."""
        self._at_once = at_once
        self._queue = queue
        self._wait_s = wait_s
        self.at_work = 0
        self.waiting = 0
        self._lines: OrderedDict[str, OrderedDict[T, float]] = OrderedDict()
        """Per address who waits, with the time they came; the address whose turn it is stands first."""
        self._by_length: dict[int, OrderedDict[str, None]] = {}
        self._longest = 0

    # -------------------------------------------------------------- coming

    @property
    def free(self) -> bool:
        """May one more handshake be at work?"""
        return not self._at_once or self.at_work < self._at_once

    def begin(self) -> None:
        """One is at work; whoever begins has to be `done` once."""
        self.at_work += 1

    def done(self) -> None:
        """One is no longer at work."""
        self.at_work -= 1

    def wait(self, ticket: T, address: str, now_s: float) -> T | None:
        """Let it wait. Whom that pushes out, perhaps itself; None if there was room."""
        line = self._lines.get(address)
        if line is None:
            line = self._lines[address] = OrderedDict()
        line[ticket] = now_s
        self.waiting += 1
        self._relist(address, len(line) - 1, len(line))
        if self.waiting <= self._queue:
            return None
        largest = next(reversed(self._by_length[self._longest]))
        newest = next(reversed(self._lines[largest]))
        self.leave(newest, largest)
        return newest

    # -------------------------------------------------------------- going in

    def next(self) -> T | None:
        """Who begins now, already counted as at work; None if nobody waits or all hands are full."""
        if not self.waiting or not self.free:
            return None
        address, line = self._lines.popitem(last=False)
        ticket, _ = line.popitem(last=False)
        self._left(address, line)
        if line:
            self._lines[address] = line  # to the end: the next address has its turn
        self.at_work += 1
        return ticket

    # -------------------------------------------------------------- going away

    def leave(self, ticket: T, address: str) -> bool:
        """It does not wait any more. False if it did not wait."""
        line = self._lines.get(address)
        if line is None or line.pop(ticket, None) is None:
            return False
        self._left(address, line)
        if not line:
            del self._lines[address]
        return True

    def late(self, now_s: float) -> list[tuple[T, str]]:
        """Who has waited too long, with their addresses; they wait no more."""
        found = []
        for address, line in list(self._lines.items()):
            while line:
                ticket, since_s = next(iter(line.items()))
                if now_s - since_s < self._wait_s:
                    break
                self.leave(ticket, address)
                found.append((ticket, address))
        return found

    # -------------------------------------------------------------- which line is longest

    def _left(self, address: str, line: OrderedDict[T, float]) -> None:
        self.waiting -= 1
        self._relist(address, len(line) + 1, len(line))

    def _relist(self, address: str, before: int, now: int) -> None:
        """Lengths change by one: so does the longest."""
        if before:
            of_before = self._by_length[before]
            del of_before[address]
            if not of_before:
                del self._by_length[before]
        if now:
            self._by_length.setdefault(now, OrderedDict())[address] = None
        if now > self._longest or self._longest not in self._by_length:
            self._longest = now
