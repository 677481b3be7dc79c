"""The asyncio clients of the client bench: each notes the arrival of every event in a dict.

All do the same small work per event, on uvloop, in one process. `socketio.AsyncClient` parses the JSON too,
because it cannot do otherwise.
"""

import argparse
import asyncio
import json
import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, cast

import orjson
import uvloop

from simulator.ledger.broadcast_audit import Bounds
from simulator.ledger.broadcasts import Kind, Row
from simulator.ledger.disconnects import Disconnects
from simulator.ledger.ledger import Ledger
from simulator.profiles.virtual_client import VirtualClient
from simulator.socketio_client import Endpoint, HeartbeatSweep, LeanClient, ReconnectPolicy
from simulator.socketio_client.codec.websocket import TEXT, encode_frame

from .servers.frame_sender import CLAIM, CONNECT_ANSWER, EVENT

# Artillery as a client of the bench, where it is installed: never a dependency of the project.
#
# Found by VOUCHSTORM_BENCH_ARTILLERY (a directory with its `node_modules`, or its `bin/run`), else
# with
# `npx --no-install`. Its Socket.IO engine connects and parses every packet; it neither counts nor
# times a push
# that it did not ask for, so nothing is known of what it received but that the sender's writes were
# taken.

VARIABLE = "VOUCHSTORM_BENCH_ARTILLERY"
ENTRY = Path("node_modules/artillery/bin/run")
FIND_TIMEOUT_S = 20.0
ARRIVE_S = 10
STAY_S = 600


class AbsentError(Exception):
    """Artillery is not here; the message says what was looked for."""


def command() -> list[str]:
    """How to start it, so that the process started is the one that works. Raises AbsentError."""
    if shutil.which("node") is None:
        raise AbsentError("node is not installed")
    named = os.environ.get(VARIABLE)
    if named is not None:
        path = Path(named)
        program = path if path.is_file() else path / ENTRY
        if not program.is_file():
            raise AbsentError(f"{VARIABLE} is {named}, and there is no {program}")
        return ["node", str(program)]
    return ["node", str(_by_npx())]


def _by_npx() -> Path:
    npx = ["npx", "--no-install", "-c", "command -v artillery"]
    try:
        done = subprocess.run(npx, capture_output=True, text=True, timeout=FIND_TIMEOUT_S, check=True)
        return Path(done.stdout.strip()).resolve(strict=True)
    except (OSError, subprocess.SubprocessError) as error:
        raise AbsentError(f"{VARIABLE} is not set and npx finds no artillery") from error


def script(port: int, clients: int) -> str:
    """The test: everybody arrives within ten seconds, by websocket, and stays."""
    config = {
        "target": f"http://127.0.0.1:{port}",
        "phases": [{"duration": ARRIVE_S, "arrivalCount": clients}],
        "socketio": {"transports": ["websocket"], "reconnection": False},
    }
    scenario = {"engine": "socketio", "flow": [{"think": STAY_S}]}
    return json.dumps({"config": config, "scenarios": [scenario]})


def environment() -> dict[str, str]:
    """It must not phone home."""
    return {**os.environ, "ARTILLERY_DISABLE_TELEMETRY": "true"}


# What the client bench notes of arrivals, and how its clients are connected: a bounded number at a
# time.

CONNECT_BATCH = 50
CONNECT_TIMEOUT_S = 60.0


@dataclass(slots=True)
class Arrivals:
    """Who got an event when last, and how many in all."""

    last_ns: dict[int, int] = field(default_factory=dict)
    count: int = 0

    def note(self, index: int, at_ns: int) -> None:
        """One event for client `index`."""
        self.last_ns[index] = at_ns
        self.count += 1


async def in_batches(clients: int, connect_one: Callable[[int], Awaitable[None]]) -> None:
    """Connect so many clients, a bounded number at a time."""
    for first in range(0, clients, CONNECT_BATCH):
        await asyncio.gather(
            *(connect_one(index) for index in range(first, min(first + CONNECT_BATCH, clients)))
        )


# Our simulator's client as it is in a run: with member, outages and ledger.
#
# The member does for a live count what the simulator's own profiles do: the message is known by its
# bytes, the
# first sight of it is taken apart, each receipt goes into the row of its version. When the bench is
# over the
# ledger is closed: every pair of message and client must be accounted for.

NS = 1_000_000_000


class LedgerPeer:
    """All clients and their one ledger."""

    def __init__(self) -> None:
        self.members: list[LedgerMember] = []
        self._sweep = HeartbeatSweep()
        self._rng = random.Random(1)
        self._ledger = Ledger(0)
        self._outages = Disconnects()
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


class LedgerMember(VirtualClient):
    """One client."""

    __slots__ = ("peer",)

    def __init__(self, index: int, peer: LedgerPeer, ledger: Ledger, outages: Disconnects) -> None:
        super().__init__(index, ledger, outages)
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


# One kind of asyncio client as a child process of the client bench.
#
#     python -m loadtest.bench.generator_peers lean --port 8000 --clients 1000
#
# Connects so many, receives until SIGTERM, then prints {"received": n} and what its ledger found. It
# measures
# nothing itself: `clients` reads its CPU time and memory from outside.


async def take_part(peer: Peer, port: int, clients: int) -> None:
    """Connect, receive until told to end, report."""
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    await peer.connect(port, clients)
    await ended.wait()
    print(json.dumps({"received": peer.arrivals.count, **peer.findings()}), flush=True)
    await peer.close()


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m loadtest.bench.generator_peers", description=__doc__)
    parser.add_argument("peer", choices=list(PEERS))
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--clients", type=int, required=True)
    options = parser.parse_args()
    uvloop.run(take_part(PEERS[options.peer](), options.port, options.clients))


if __name__ == "__main__":
    main()
