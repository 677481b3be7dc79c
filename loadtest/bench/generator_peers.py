"""One kind of asyncio client as a child process of the trial of load generators.

    python -m loadtest.bench.generator_peers lean --port 8000 --clients 1000

Connects so many, receives until SIGTERM, then prints {"received": n} and what its ledger found. Measures
nothing itself. All kinds do the same small work per event, on uvloop: they note its arrival in a dict.
`socketio.AsyncClient` parses the JSON too, because it cannot do otherwise.
"""

import argparse
import asyncio
import json
import random
import signal
import time
from collections.abc import Callable
from typing import Any, cast

import orjson
import uvloop

from simulator.ledger.broadcast_audit import Bounds
from simulator.ledger.broadcasts import Kind, Row
from simulator.ledger.disconnects import Disconnects
from simulator.ledger.ledger import Ledger
from simulator.profiles.virtual_client import VirtualClient
from simulator.socketio_client import ClientHandler, Endpoint, HeartbeatSweep, LeanClient, ReconnectPolicy
from simulator.socketio_client.codec.websocket import TEXT, encode_frame

from .servers.frame_sender import CLAIM, CONNECT_ANSWER, EVENT

CONNECT_BATCH = 50
CONNECT_TIMEOUT_S = 60.0
NS = 1_000_000_000


class Arrivals:
    """Who got an event when last, and how many in all."""

    __slots__ = ("count", "last_ns")

    def __init__(self) -> None:
        self.last_ns: dict[int, int] = {}
        self.count = 0

    def note(self, index: int, at_ns: int) -> None:
        """One event for client `index`."""
        self.last_ns[index] = at_ns
        self.count += 1


class Peer:
    """A kind of client under test."""

    def __init__(self) -> None:
        self.arrivals = Arrivals()

    async def connect(self, port: int, clients: int) -> None:
        """Open so many connections, a bounded number at a time; all are through CONNECT on return."""
        for first in range(0, clients, CONNECT_BATCH):
            batch = range(first, min(first + CONNECT_BATCH, clients))
            await asyncio.gather(*(self.connect_one(index, port) for index in batch))

    async def connect_one(self, index: int, port: int) -> None:
        """Open one connection and wait until it is through CONNECT."""
        raise NotImplementedError

    def findings(self) -> dict[str, Any]:
        """What came in, and what its ledger found, if it keeps one."""
        return {"received": self.arrivals.count}

    async def close(self) -> None:
        """Drop the connections; the sender answers no close frame, so each would wait for its grace."""


class LeanPeer(Peer):
    """The simulator's wire client alone."""

    def __init__(self) -> None:
        super().__init__()
        self._clients: list[LeanClient] = []
        self._sweep = HeartbeatSweep()
        self._rng = random.Random(1)

    def start(self, index: int, port: int, handler: ClientHandler) -> LeanClient:
        """A client that begins to connect."""
        client = LeanClient(
            Endpoint.parse(f"http://127.0.0.1:{port}"),
            handler,
            transport="websocket",
            rng=self._rng,
            policy=ReconnectPolicy.none(),
            sweep=self._sweep,
            tag=index,
        )
        self._clients.append(client)
        client.start()
        return client

    async def connect_one(self, index: int, port: int) -> None:
        await self.start(index, port, self).wait_connected(CONNECT_TIMEOUT_S)

    def on_connect(self, client: LeanClient, sid: str, at_ns: int) -> None:
        """Not measured."""

    def on_event(self, client: LeanClient, name: str, args: bytes, at_ns: int) -> None:
        """One event."""
        arrivals = self.arrivals
        arrivals.last_ns[client.tag] = at_ns
        arrivals.count += 1

    def on_refused(self, client: LeanClient, body: bytes, at_ns: int) -> None:
        """Does not happen."""

    def on_disconnect(self, client: LeanClient, reason: str, at_ns: int) -> None:
        """Not measured."""

    async def close(self) -> None:
        for client in self._clients:
            client.drop()


class LedgerPeer(LeanPeer):
    """The simulator's client as it is in a run: with member, outages and one ledger for all.

    At the end the ledger is closed: every pair of message and client must be accounted for.
    """

    def __init__(self) -> None:
        super().__init__()
        self.members: list[LedgerMember] = []
        self.outages = Disconnects()
        self.rows: dict[bytes, Row] = {}
        self._since_ns = 0

    async def connect(self, port: int, clients: int) -> None:
        self.open_ledger(clients)
        await super().connect(port, clients)
        self._since_ns = time.monotonic_ns()

    def open_ledger(self, clients: int) -> None:
        """All clients are members of one room."""
        self.ledger = Ledger(clients)
        self._book = self.ledger.rooms
        self._room = self._book.room(CLAIM)
        self._stream = self._book.stream(CLAIM, Kind.EVENT, (self._room,), base=0)

    async def connect_one(self, index: int, port: int) -> None:
        member = LedgerMember(index, self)
        self.members.append(member)
        member.client = self.start(index, port, member)
        await member.until_ready(CONNECT_TIMEOUT_S)
        self._book.enter(self._room, index, time.monotonic_ns())

    def row_of(self, args: bytes) -> Row:
        """The row of a message seen for the first time."""
        row = self.rows[args] = self._stream.row(orjson.loads(args)["version"])
        return row

    def findings(self) -> dict[str, Any]:
        for row in self.rows.values():
            row.published(self._since_ns, self._since_ns, self._since_ns, measured=True)
        now_ns = time.monotonic_ns()
        account = self.ledger.close(Bounds(closed_ns=now_ns + 1, grace_ns=NS, late_ns=3_600 * NS))
        return {
            "received": sum(row.receipts for row in self.rows.values()),
            "expected": account.total.expected,
            "lost": account.total.lost,
            "balanced": account.balanced,
        }

    async def close(self) -> None:
        for member in self.members:
            member.leaving = True
        await super().close()


class LedgerMember(VirtualClient):
    """One client. A message is known by its bytes, and taken apart at first sight, as in the profiles."""

    __slots__ = ("peer",)

    def __init__(self, index: int, peer: LedgerPeer) -> None:
        super().__init__(index, peer.ledger, peer.outages)
        self.peer = peer

    def on_event(self, client: LeanClient, name: str, args: bytes, at_ns: int) -> None:
        """One live count."""
        if name == EVENT:
            row = self.peer.rows.get(args)
            if row is None:
                row = self.peer.row_of(args)
            row.receive(self.index, at_ns)
            if self.index in self.outages.awaiting_event:
                self.outages.fed(self.index, at_ns)


class BareProtocol(asyncio.Protocol):
    """Connects, then counts frames: one search in C for each read is all it does."""

    __slots__ = ("arrivals", "connected", "index", "transport")

    def __init__(self, arrivals: Arrivals, index: int, connected: "asyncio.Future[None]") -> None:
        self.arrivals = arrivals
        self.index = index
        self.connected = connected

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """asyncio: connected."""
        self.transport = cast(asyncio.Transport, transport)
        self.transport.write(b"GET / HTTP/1.1\r\nSec-WebSocket-Key: x\r\n\r\n")

    def data_received(self, data: bytes) -> None:
        """asyncio: a frame, or the handshake."""
        if self.connected.done():
            self.arrivals.last_ns[self.index] = time.monotonic_ns()
            self.arrivals.count += data.count(b'42["')
        elif data.endswith(CONNECT_ANSWER):
            self.connected.set_result(None)
        else:
            self.transport.write(encode_frame(TEXT, b"40"))


class FloorPeer(Peer):
    """No client at all: what uvloop and the kernel take for one read, whoever reads."""

    def __init__(self) -> None:
        super().__init__()
        self._protocols: list[BareProtocol] = []

    async def connect_one(self, index: int, port: int) -> None:
        loop = asyncio.get_running_loop()
        protocol = BareProtocol(self.arrivals, index, loop.create_future())
        self._protocols.append(protocol)
        await loop.create_connection(lambda: protocol, "127.0.0.1", port)
        await protocol.connected

    async def close(self) -> None:
        for protocol in self._protocols:
            protocol.transport.abort()


class AsyncClientPeer(Peer):
    """python-socketio's own client, on aiohttp."""

    def __init__(self) -> None:
        import aiohttp  # noqa: F401 - loaded now, so that modules do not count as memory of connections
        import socketio

        super().__init__()
        self._make = socketio.AsyncClient
        self._clients: list[Any] = []

    async def connect_one(self, index: int, port: int) -> None:
        client = self._make(reconnection=False, handle_sigint=False)
        client.on(EVENT, lambda data: self.arrivals.note(index, time.monotonic_ns()))
        self._clients.append(client)
        await client.connect(f"http://127.0.0.1:{port}", transports=["websocket"])

    async def close(self) -> None:
        for client in self._clients:
            await client.eio.http.close()


class PicowsPeer(Peer):
    """picows: a WebSocket client in Cython, with the least Socket.IO by hand on top; smallest read buffer."""

    def __init__(self) -> None:
        import picows

        super().__init__()
        self._connect = picows.ws_connect
        self._listener = picows_listener(picows, self.arrivals)
        self._transports: list[Any] = []

    async def connect_one(self, index: int, port: int) -> None:
        url = f"ws://127.0.0.1:{port}/socket.io/?EIO=4&transport=websocket"
        made = self._listener(index)
        transport, _ = await self._connect(lambda: made, url, read_buffer_init_size=2048)
        self._transports.append(transport)
        await asyncio.wait_for(made.connected.wait(), CONNECT_TIMEOUT_S)

    async def close(self) -> None:
        for transport in self._transports:
            transport.disconnect()


def picows_listener(picows: Any, arrivals: Arrivals) -> Callable[[int], Any]:
    """The listener class, made here because picows is a development dependency only."""

    class Listener(picows.WSListener):  # type: ignore[misc]
        def __init__(self, index: int) -> None:
            super().__init__()
            self.index = index
            self.connected = asyncio.Event()

        def on_ws_frame(self, transport: Any, frame: Any) -> None:
            packet = frame.get_payload_as_bytes()
            if packet.startswith(b'42["'):
                end = packet.index(b'"', 4)
                self.on_event(str(packet[4:end], "utf-8"), packet[end + 2 : -1], time.monotonic_ns())
            elif packet.startswith(b"0"):
                transport.send(picows.WSMsgType.TEXT, b"40")
            elif packet.startswith(b"40"):
                self.connected.set()

        def on_event(self, name: str, args: bytes, at_ns: int) -> None:
            arrivals.last_ns[self.index] = at_ns
            arrivals.count += 1

    return Listener


PEERS: dict[str, Callable[[], Peer]] = {
    "floor": FloorPeer,
    "lean": LeanPeer,
    "ledger": LedgerPeer,
    "picows": PicowsPeer,
    "asyncclient": AsyncClientPeer,
}


async def take_part(peer: Peer, port: int, clients: int) -> None:
    """Connect, receive until told to end, report."""
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    await peer.connect(port, clients)
    await ended.wait()
    print(json.dumps(peer.findings()), flush=True)
    await peer.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m loadtest.bench.generator_peers", description=__doc__)
    parser.add_argument("kind", choices=list(PEERS))
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--clients", type=int, required=True)
    options = parser.parse_args()
    uvloop.run(take_part(PEERS[options.kind](), options.port, options.clients))
