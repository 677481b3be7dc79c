"""Our simulator's client as it is in a run: with member, outages and ledger.

The member does for a live count what the simulator's own profiles do: the message is known by its bytes, the
first sight of it is taken apart, each receipt goes into the row of its version. When the bench is over the
ledger is closed: every pair of message and client must be accounted for.
"""

import random
import time
from typing import Any

import orjson

from simulator.ledger.broadcast_audit import Bounds
from simulator.ledger.broadcasts import Kind, Row
from simulator.ledger.disconnects import Outages
from simulator.ledger.ledger import Ledger
from simulator.profiles.virtual_client import Member
from simulator.socketio_client import Endpoint, HeartbeatSweep, LeanClient, ReconnectPolicy

from .arrivals import CONNECT_TIMEOUT_S, Arrivals, in_batches
from .servers.frame_sender import CLAIM, EVENT

NS = 1_000_000_000


class LedgerPeer:
    """All clients and their one ledger."""

    def __init__(self) -> None:
        self.members: list[LedgerMember] = []
        self._sweep = HeartbeatSweep()
        self._rng = random.Random(1)
        self._ledger = Ledger(0)
        self._outages = Outages()
        self._since_ns = 0

    @property
    def arrivals(self) -> Arrivals:
        """What the ledger has counted."""
        return Arrivals(count=sum(row.receipts for row in self.rows.values()))

    async def connect(self, port: int, clients: int) -> None:
        """Open the connections, all members of one room."""
        endpoint = Endpoint.parse(f"http://127.0.0.1:{port}")
        book = self._make_ledger(clients)

        async def connect_one(index: int) -> None:
            member = LedgerMember(index, self, self._ledger, self._outages)
            self.members.append(member)
            member.client = LeanClient(
                endpoint,
                member,
                transport="websocket",
                rng=self._rng,
                policy=ReconnectPolicy.none(),
                sweep=self._sweep,
            )
            member.client.start()
            await member.until_ready(CONNECT_TIMEOUT_S)
            book.enter(self.room, index, time.monotonic_ns())

        await in_batches(clients, connect_one)
        self._since_ns = time.monotonic_ns()

    def _make_ledger(self, clients: int) -> Any:
        self._ledger = Ledger(clients)
        book = self._ledger.rooms
        self.room = book.room(CLAIM)
        self.stream = book.stream(CLAIM, Kind.EVENT, (self.room,), base=0)
        self.rows: dict[bytes, Row] = {}
        return book

    def row_of(self, args: bytes) -> Row:
        """The row of a message seen for the first time."""
        row = self.rows[args] = self.stream.row(orjson.loads(args)["version"])
        return row

    def findings(self) -> dict[str, Any]:
        """Close the ledger: what was owed, and what is missing or too much."""
        for row in self.rows.values():
            row.published(self._since_ns, self._since_ns, self._since_ns, measured=True)
        now_ns = time.monotonic_ns()
        account = self._ledger.close(Bounds(closed_ns=now_ns + 1, grace_ns=NS, late_ns=3_600 * NS))
        total = account.total
        return {"ledger": {"expected": total.expected, "lost": total.lost, "balanced": account.balanced}}

    async def close(self) -> None:
        """Stop all; the sender answers no close frame, so each would wait for its grace: reset instead."""
        for member in self.members:
            member.leaving = True
            member.client.drop()


class LedgerMember(Member):
    """One client."""

    __slots__ = ("peer",)

    def __init__(self, index: int, peer: LedgerPeer, ledger: Ledger, outages: Outages) -> None:
        super().__init__(index, ledger, outages)
        self.peer = peer

    def on_event(self, client: LeanClient, name: str, args: bytes, at_ns: int) -> None:
        """One live count."""
        if name == EVENT:
            row = self.peer.rows.get(args)
            if row is None:
                row = self.peer.row_of(args)
            row.receive(self.index, at_ns)
            if self.index in self.outages.hungry:
                self.outages.fed(self.index, at_ns)
