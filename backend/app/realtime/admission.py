"""Admission to a node: who wants a socket is counted and queued here before any work is done for them.

Counts sockets by address (`SocketCounts`), lets a bounded number of handshakes be at work and a bounded
number wait (`HandshakeQueue`), and begins only a few of them per turn of the event loop, so that a storm does
not hold up who is connected.
"""

import asyncio
import random
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Generic, Protocol, TypeVar

T = TypeVar("T", bound=Hashable)


class HandshakeQueue(Generic[T]):
    """Who may begin a handshake now, who waits, who is turned away. Pure: the time is passed in.

    Who waits is served in turn by address, in order within one address: an address that floods waits for
    itself. When the queue is full, the newest of the address that waits most is turned away. Every step costs
    the same however many wait.
    """

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

    @property
    def free(self) -> bool:
        """May one more handshake be at work?"""
        return not self._at_once or self.at_work < self._at_once

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

    def _left(self, address: str, line: OrderedDict[T, float]) -> None:
        self.waiting -= 1
        self._relist(address, len(line) + 1, len(line))

    def _relist(self, address: str, before: int, now: int) -> None:
        # Lengths change by one: so does the longest.
        if before:
            of_before = self._by_length[before]
            del of_before[address]
            if not of_before:
                del self._by_length[before]
        if now:
            self._by_length.setdefault(now, OrderedDict())[address] = None
        if now > self._longest or self._longest not in self._by_length:
            self._longest = now


class Refusal(StrEnum):
    """Why a socket is not let in."""

    BUSY = "busy"
    NODE_SOCKETS = "node_sockets"
    NODE_UNSETTLED = "node_unauthenticated"
    ADDRESS_SOCKETS = "address_sockets"
    ADDRESS_UNSETTLED = "address_unauthenticated"


@dataclass(frozen=True, slots=True)
class AdmissionLimits:
    """node, address: most sockets at a time, and most that are unsettled; 0: no limit.

    at_once, queue, wait_s: see `HandshakeQueue`. retry_s: spread of Retry-After, at least 1.
    """

    node: int = 0
    node_unsettled: int = 0
    address: int = 0
    address_unsettled: int = 0
    at_once: int = 0
    queue: int = 0
    wait_s: float = 5.0
    retry_s: int = 1


@dataclass(slots=True)
class Count:
    sockets: int = 0
    unsettled: int = 0


class SocketCounts:
    """The sockets of a node, counted from asking to come in until the connection is gone.

    A socket is *unsettled* until it has authenticated, or until it is clear that it may stay without.
    """

    def __init__(self, limits: AdmissionLimits) -> None:
        self._limits = limits
        self.node = Count()
        self.addresses: dict[str, Count] = {}

    def come(self, address: str) -> Refusal | None:
        """Count one unsettled socket, or say why not; `go` must follow only if it was counted."""
        limits, node = self._limits, self.node
        here = self.addresses.get(address)
        if here is not None:
            if 0 < limits.address <= here.sockets:
                return Refusal.ADDRESS_SOCKETS
            if 0 < limits.address_unsettled <= here.unsettled:
                return Refusal.ADDRESS_UNSETTLED
        if 0 < limits.node <= node.sockets:
            return Refusal.NODE_SOCKETS
        if 0 < limits.node_unsettled <= node.unsettled:
            return Refusal.NODE_UNSETTLED
        if here is None:
            here = self.addresses[address] = Count()
        for counts in (node, here):
            counts.sockets += 1
            counts.unsettled += 1
        return None

    def settle(self, address: str, *, settled: bool) -> None:
        """A counted socket may stay, or (False) has lost that."""
        step = -1 if settled else 1
        self.node.unsettled += step
        self.addresses[address].unsettled += step

    def go(self, address: str, *, settled: bool) -> None:
        """A counted socket is gone."""
        here = self.addresses[address]
        for counts in (self.node, here):
            counts.sockets -= 1
            counts.unsettled -= not settled
        if not here.sockets:
            del self.addresses[address]


UNKNOWN = "unknown"
"""Peers without an address: Unix sockets."""
IPV6_PREFIX = 64
"""One household has at least this many addresses of its own: they count as one."""


class Proxies:
    """The proxies that are believed."""

    def __init__(self, trusted: str) -> None:
        """trusted: addresses and networks, comma separated; `*`: everybody. Other words are host names."""
        names = [part.strip() for part in trusted.split(",") if part.strip()]
        self._everybody = "*" in names
        self._literal = set(names)
        self._networks = [network for name in names if (network := _network(name)) is not None]

    def trusts(self, address: str) -> bool:
        """Is this one of them?"""
        if self._everybody or address in self._literal:
            return True
        if not self._networks:
            return False
        parsed = _parsed(address)
        return parsed is not None and any(parsed in network for network in self._networks)

    def client(self, peer: str | None, forwarded_for: Sequence[bytes]) -> str:
        """The address to count by: of the last hop that is no trusted proxy; before it, anything is forged.

        forwarded_for: values of that header, in order.
        """
        address = peer or UNKNOWN
        if forwarded_for and self.trusts(address):
            for hop in reversed(b",".join(forwarded_for).decode("latin-1").split(",")):
                stated = _without_port(hop.strip())
                if stated is None:
                    break  # not an address: whoever wrote this, the proxy before it is all we know
                address = stated
                if not self.trusts(address):
                    break
        return _grouped(address)


def _network(name: str) -> IPv4Network | IPv6Network | None:
    try:
        return ip_network(name, strict=False)
    except ValueError:
        return None


def _parsed(address: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(address)
    except ValueError:
        return None


def _without_port(hop: str) -> str | None:
    """The address of `1.2.3.4`, `1.2.3.4:5`, `::1`, `[::1]:5`; None for anything else."""
    if hop.startswith("["):
        hop = hop[1:].partition("]")[0]
    elif hop.count(":") == 1:
        hop = hop.partition(":")[0]
    parsed = _parsed(hop)
    return str(parsed) if parsed is not None else None


def _grouped(address: str) -> str:
    if ":" not in address:
        return address
    parsed = _parsed(address.partition("%")[0])
    if not isinstance(parsed, IPv6Address):
        return address
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(IPv6Network((parsed, IPV6_PREFIX), strict=False))


PER_TURN = 16
"""Handshakes begun in one turn of the loop: some two milliseconds of work."""
PATIENCE_S = 1.0
"""A client that says nothing for so long after its opening is no handshake at work any more."""
SWEEP_S = 0.2


class Pending(Protocol):
    """A connection that asked for a socket and has no answer yet."""

    def admit(self, permit: "Permit") -> None: ...

    def refuse(self, refusal: Refusal, retry_after_s: int) -> None: ...


class Permit:
    """One socket's place in the counts, from asking to the end of its connection."""

    __slots__ = ("_admission", "address", "at_work", "gone", "pending", "settled")

    def __init__(self, admission: "Admission", address: str, pending: Pending) -> None:
        self._admission = admission
        self.address = address
        self.pending: Pending | None = pending
        self.at_work = False
        self.settled = False
        self.gone = False

    def settle(self, settled: bool) -> None:
        """The socket authenticated or may stay without (False: has lost that). Idempotent."""
        if settled is not self.settled and not self.gone:
            self.settled = settled
            self._admission.counts.settle(self.address, settled=settled)
        if settled:
            self.done()

    def done(self) -> None:
        """The handshake is no work any more, however it went. Idempotent."""
        if self.at_work:
            self.at_work = False
            self._admission.queue.at_work -= 1
            self._admission.advance()

    def leave(self) -> None:
        """The connection is gone, or never came to be. Idempotent."""
        if self.gone:
            return
        self.gone = True
        if self.pending is not None:
            self._admission.queue.leave(self, self.address)
            self.pending = None
        self._admission.counts.go(self.address, settled=self.settled)
        self.done()


class Admission:
    """Lets in who wants a socket of one node."""

    def __init__(
        self,
        limits: AdmissionLimits,
        proxies: Proxies,
        rng: random.Random,
        on_refusal: Callable[[Refusal], None] = lambda refusal: None,
    ) -> None:
        self.proxies = proxies
        self.counts = SocketCounts(limits)
        self.queue: HandshakeQueue[Permit] = HandshakeQueue(limits.at_once, limits.queue, limits.wait_s)
        self._retry_s = limits.retry_s
        self._rng = rng
        self._on_refusal = on_refusal
        self._begun = 0
        self._turn: asyncio.Handle | None = None
        self._opened: deque[tuple[float, Permit]] = deque()

    def come(self, address: str, pending: Pending) -> Permit | None:
        """Admit the connection, have it wait, or refuse it: it is told which, perhaps before this returns.

        None: it was refused.
        """
        refusal = self.counts.come(address)
        if refusal is not None:
            self._refuse(pending, refusal)
            return None
        permit = Permit(self, address, pending)
        if self.queue.free and not self.queue.waiting and self._begun < PER_TURN:
            self.queue.at_work += 1
            self._begin(permit)
        else:
            pushed_out = self.queue.wait(permit, address, self._now_s())
            self._next_turn()
            if pushed_out is not None:
                self._send_away(pushed_out)
        return None if permit.gone else permit

    def advance(self) -> None:
        """Let in who waits, as far as there is room in this turn of the loop."""
        while self.queue.waiting and self._begun < PER_TURN:
            permit = self.queue.next()
            if permit is None:
                return
            self._begin(permit)
        if self.queue.waiting and self.queue.free:
            self._next_turn()

    def _begin(self, permit: Permit) -> None:
        pending, permit.pending = permit.pending, None
        permit.at_work = True
        self._begun += 1
        self._next_turn()
        self._opened.append((self._now_s() + PATIENCE_S, permit))
        if pending is not None:
            pending.admit(permit)

    def _next_turn(self) -> None:
        if self._turn is None:
            self._turn = asyncio.get_running_loop().call_soon(self._turned)

    def _turned(self) -> None:
        self._turn = None
        self._begun = 0
        self.advance()

    def _send_away(self, permit: Permit) -> None:
        pending, permit.pending = permit.pending, None
        permit.leave()
        if pending is not None:
            self._refuse(pending, Refusal.BUSY)

    def _refuse(self, pending: Pending, refusal: Refusal) -> None:
        self._on_refusal(refusal)
        # Spread out: those who are refused together must not come back together.
        pending.refuse(refusal, self._rng.randint(1, self._retry_s))

    def _now_s(self) -> float:
        return asyncio.get_running_loop().time()

    def sweep(self, now_s: float) -> None:
        """Take the silent off the books and send away who has waited too long."""
        while self._opened and self._opened[0][0] <= now_s:
            self._opened.popleft()[1].done()
        for permit, _ in self.queue.late(now_s):
            self._send_away(permit)

    async def run(self) -> None:
        """Sweep for ever."""
        while True:
            await asyncio.sleep(SWEEP_S)
            self.sweep(self._now_s())
