"""The asyncio clients of the client bench: each notes the arrival of every event in a dict.

All do the same small work per event, on uvloop, in one process. `socketio.AsyncClient` parses the JSON too,
because it cannot do otherwise.
"""

import asyncio
import random
import time
from collections.abc import Callable
from typing import Any, Protocol, cast

from simulator.socketio_client import Endpoint, HeartbeatSweep, LeanClient, ReconnectPolicy
from simulator.socketio_client.codec.websocket import TEXT, encode_frame

from .arrivals import CONNECT_TIMEOUT_S, Arrivals, in_batches
from .ledger_peer import LedgerPeer
from .servers.frame_sender import CONNECT_ANSWER, EVENT


class Peer(Protocol):
    """A kind of client under test."""

    @property
    def arrivals(self) -> Arrivals:
        """What came in."""
        ...

    def findings(self) -> dict[str, Any]:
        """What its ledger found, if it keeps one."""
        ...

    async def connect(self, port: int, clients: int) -> None:
        """Open so many connections and wait until all are through CONNECT."""

    async def close(self) -> None:
        """Close them."""


class Plain:
    """What all kinds of client without a ledger have in common."""

    def __init__(self) -> None:
        self.arrivals = Arrivals()

    def findings(self) -> dict[str, Any]:
        """Nothing beside the count."""
        return {}


class LeanPeer(Plain):
    """Ours."""

    def __init__(self) -> None:
        super().__init__()
        self._clients: list[LeanClient] = []
        self._sweep = HeartbeatSweep()
        self._rng = random.Random(1)

    async def connect(self, port: int, clients: int) -> None:
        """Open the connections."""
        endpoint = Endpoint.parse(f"http://127.0.0.1:{port}")

        async def connect_one(index: int) -> None:
            client = LeanClient(
                endpoint,
                self,
                transport="websocket",
                rng=self._rng,
                policy=ReconnectPolicy.none(),
                sweep=self._sweep,
                tag=index,
            )
            self._clients.append(client)
            client.start()
            await client.wait_connected(CONNECT_TIMEOUT_S)

        await in_batches(clients, connect_one)

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
        """Stop all; the sender answers no close frame, so each would wait for its grace: reset instead."""
        for client in self._clients:
            client.drop()


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


class FloorPeer(Plain):
    """No client at all: what uvloop and the kernel take for one read, whoever reads."""

    def __init__(self) -> None:
        super().__init__()
        self._protocols: list[BareProtocol] = []

    async def connect(self, port: int, clients: int) -> None:
        """Open the connections."""
        loop = asyncio.get_running_loop()

        async def connect_one(index: int) -> None:
            protocol = BareProtocol(self.arrivals, index, loop.create_future())
            self._protocols.append(protocol)
            await loop.create_connection(lambda: protocol, "127.0.0.1", port)
            await protocol.connected

        await in_batches(clients, connect_one)

    async def close(self) -> None:
        """Drop all."""
        for protocol in self._protocols:
            protocol.transport.abort()


class AsyncClientPeer(Plain):
    """python-socketio's own client, on aiohttp."""

    def __init__(self) -> None:
        import aiohttp  # noqa: F401 - loaded now, so that modules do not count as memory of connections
        import socketio

        super().__init__()
        self._make = socketio.AsyncClient
        self._clients: list[Any] = []

    async def connect(self, port: int, clients: int) -> None:
        """Open the connections."""

        async def connect_one(index: int) -> None:
            client = self._make(reconnection=False, handle_sigint=False)
            client.on(EVENT, lambda data: self.arrivals.note(index, time.monotonic_ns()))
            self._clients.append(client)
            await client.connect(f"http://127.0.0.1:{port}", transports=["websocket"])

        await in_batches(clients, connect_one)

    async def close(self) -> None:
        """Close the sockets; a clean goodbye would wait for answers that the sender never gives."""
        for client in self._clients:
            await client.eio.http.close()


class PicowsPeer(Plain):
    """picows: a WebSocket client in Cython, with the least Socket.IO by hand on top; smallest read buffer."""

    def __init__(self) -> None:
        import picows

        super().__init__()
        self._connect = picows.ws_connect
        self._listener = picows_listener(picows, self.arrivals)
        self._transports: list[Any] = []

    async def connect(self, port: int, clients: int) -> None:
        """Open the connections."""
        url = f"ws://127.0.0.1:{port}/socket.io/?EIO=4&transport=websocket"

        async def connect_one(index: int) -> None:
            made = self._listener(index)
            transport, _ = await self._connect(lambda: made, url, read_buffer_init_size=2048)
            self._transports.append(transport)
            await asyncio.wait_for(made.connected.wait(), CONNECT_TIMEOUT_S)

        await in_batches(clients, connect_one)

    async def close(self) -> None:
        """Drop all."""
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
