"""The door of a node: everybody who wants a socket comes here first, before any work is done for them.

Counts sockets by address (`caps.py`), lets a bounded number of handshakes be at work and a bounded number
wait (`admission.py`), and begins only a few of them per turn of the event loop, so that a storm does not
hold up who is connected. A visitor comes by the short way (`short_way.py`) or as an ASGI request (`asgi`).
"""

import asyncio
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from .addresses import Proxies
from .admission_part import Admission
from .caps import Caps, Limits, Refusal

PER_TURN = 16
"""Handshakes begun in one turn of the loop: some two milliseconds of work."""
PATIENCE_S = 1.0
"""A client that says nothing for so long after its opening is no handshake at work any more."""
SWEEP_S = 0.2


@dataclass(frozen=True, slots=True)
class DoorRules:
    """at_once, queue, wait_s: see `Admission`. retry_s: spread of Retry-After, at least 1."""

    limits: Limits
    at_once: int
    queue: int
    wait_s: float
    retry_s: int


class Visitor(Protocol):
    """Who waits at the door."""

    def enter(self, permit: "Permit") -> None:
        """Begin the handshake."""
        ...

    def turn_away(self, refusal: Refusal, retry_after_s: int) -> None:
        """Say no."""
        ...


class Permit:
    """One socket's place in the counts, from asking to the end of its connection."""

    __slots__ = ("_door", "address", "at_work", "gone", "settled", "visitor")

    def __init__(self, door: "Door", address: str, visitor: Visitor) -> None:
        self._door = door
        self.address = address
        self.visitor: Visitor | None = visitor
        self.at_work = False
        self.settled = False
        self.gone = False

    def settle(self, settled: bool) -> None:
        """The socket authenticated or may stay without (False: has lost that). Idempotent."""
        if settled is not self.settled and not self.gone:
            self.settled = settled
            self._door.caps.settle(self.address, settled=settled)
        if settled:
            self.done()

    def done(self) -> None:
        """The handshake is no work any more, however it went. Idempotent."""
        if self.at_work:
            self.at_work = False
            self._door.admission.done()
            self._door.advance()

    def leave(self) -> None:
        """The connection is gone, or never came to be. Idempotent."""
        if self.gone:
            return
        self.gone = True
        if self.visitor is not None:
            self._door.admission.leave(self, self.address)
            self.visitor = None
        self._door.caps.go(self.address, settled=self.settled)
        self.done()


class Door:
    """The door of one node."""

    def __init__(
        self,
        rules: DoorRules,
        proxies: Proxies,
        rng: random.Random,
        on_refusal: Callable[[Refusal], None] = lambda refusal: None,
    ) -> None:
        self.proxies = proxies
        self.caps = Caps(rules.limits)
        self.admission: Admission[Permit] = Admission(rules.at_once, rules.queue, rules.wait_s)
        self._retry_s = rules.retry_s
        self._rng = rng
        self._on_refusal = on_refusal
        self._begun = 0
        self._turn: asyncio.Handle | None = None
        self._opened: deque[tuple[float, Permit]] = deque()

    def come(self, address: str, visitor: Visitor) -> Permit | None:
        """Let the visitor in, have it wait, or turn it away: it is told which, perhaps before this returns.

        None: it was turned away.
        """
        refusal = self.caps.come(address)
        if refusal is not None:
            self._refuse(visitor, refusal)
            return None
        permit = Permit(self, address, visitor)
        if self.admission.free and not self.admission.waiting and self._begun < PER_TURN:
            self.admission.begin()
            self._begin(permit)
        else:
            pushed_out = self.admission.wait(permit, address, self._now_s())
            self._next_turn()
            if pushed_out is not None:
                self._send_away(pushed_out)
        return None if permit.gone else permit

    def advance(self) -> None:
        """Let in who waits, as far as there is room in this turn of the loop."""
        while self.admission.waiting and self._begun < PER_TURN:
            permit = self.admission.next()
            if permit is None:
                return
            self._begin(permit)
        if self.admission.waiting and self.admission.free:
            self._next_turn()

    def _begin(self, permit: Permit) -> None:
        visitor, permit.visitor = permit.visitor, None
        permit.at_work = True
        self._begun += 1
        self._next_turn()
        self._opened.append((self._now_s() + PATIENCE_S, permit))
        if visitor is not None:
            visitor.enter(permit)

    def _next_turn(self) -> None:
        if self._turn is None:
            self._turn = asyncio.get_running_loop().call_soon(self._turned)

    def _turned(self) -> None:
        self._turn = None
        self._begun = 0
        self.advance()

    # -------------------------------------------------------------- saying no

    def _send_away(self, permit: Permit) -> None:
        visitor, permit.visitor = permit.visitor, None
        permit.leave()
        if visitor is not None:
            self._refuse(visitor, Refusal.BUSY)

    def _refuse(self, visitor: Visitor, refusal: Refusal) -> None:
        self._on_refusal(refusal)
        # Spread out: those who are refused together must not come back together.
        visitor.turn_away(refusal, self._rng.randint(1, self._retry_s))

    # -------------------------------------------------------------- time

    def _now_s(self) -> float:
        return asyncio.get_running_loop().time()

    def sweep(self, now_s: float) -> None:
        """Take the silent off the books and send away who has waited too long."""
        while self._opened and self._opened[0][0] <= now_s:
            self._opened.popleft()[1].done()
        for permit, _ in self.admission.late(now_s):
            self._send_away(permit)

    async def run(self) -> None:
        """Sweep for ever."""
        while True:
            await asyncio.sleep(SWEEP_S)
            self.sweep(self._now_s())
