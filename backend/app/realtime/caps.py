"""How many sockets an address and a node may have. Pure.

A socket is counted from the moment it asks to come in until its connection is gone; it is *unsettled* until
it has authenticated, or until it is clear that it may stay without. Sockets per user are counted where users
are known: in the gateway.
"""

from dataclasses import dataclass
from enum import StrEnum


class Refusal(StrEnum):
    """Why a socket is not let in."""

    BUSY = "busy"
    NODE_SOCKETS = "node_sockets"
    NODE_UNSETTLED = "node_unauthenticated"
    ADDRESS_SOCKETS = "address_sockets"
    ADDRESS_UNSETTLED = "address_unauthenticated"


@dataclass(frozen=True, slots=True)
class Limits:
    """Most sockets at a time; 0: no limit."""

    node: int = 0
    node_unsettled: int = 0
    address: int = 0
    address_unsettled: int = 0


class _Counts:
    __slots__ = ("sockets", "unsettled")

    def __init__(self) -> None:
        self.sockets = 0
        self.unsettled = 0


class Caps:
    """The sockets of a node, counted. Costs the same however many there are."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._node = _Counts()
        self._addresses: dict[str, _Counts] = {}

    def come(self, address: str) -> Refusal | None:
        """Count one unsettled socket, or say why not; `go` must follow only if it was counted."""
        limits, node = self._limits, self._node
        here = self._addresses.get(address)
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
            here = self._addresses[address] = _Counts()
        for counts in (node, here):
            counts.sockets += 1
            counts.unsettled += 1
        return None

    def settle(self, address: str, *, settled: bool) -> None:
        """A counted socket may stay, or (False) has lost that."""
        step = -1 if settled else 1
        self._node.unsettled += step
        self._addresses[address].unsettled += step

    def go(self, address: str, *, settled: bool) -> None:
        """A counted socket is gone."""
        here = self._addresses[address]
        for counts in (self._node, here):
            counts.sockets -= 1
            counts.unsettled -= not settled
        if not here.sockets:
            del self._addresses[address]

    @property
    def sockets(self) -> int:
        return self._node.sockets

    @property
    def unsettled(self) -> int:
        return self._node.unsettled

    def of(self, address: str) -> tuple[int, int]:
        """(sockets, unsettled ones) of an address."""
        here = self._addresses.get(address)
        return (here.sockets, here.unsettled) if here is not None else (0, 0)
