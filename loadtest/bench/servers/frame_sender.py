"""The cheapest Socket.IO server that can feed a benchmark of clients: one ready frame to each socket.

Speaks just enough to be connected to: it answers the handshake, CONNECT and nothing else, never pings, and
sends broadcasts at fixed times on request. Prints {"port": n}, then obeys
on standard input `greeted` (answer {"greeted": n}: clients that are through CONNECT) and `go ROUNDS PERIOD_S`
(answer {"sent": n} when the last round is out). Ends with its input.
"""

import asyncio
import json
import sys
from typing import cast

import uvloop

from simulator.socketio_client.codec.websocket import accept_for

OPEN_PACKET = (
    b'0{"sid":"bench","upgrades":[],"pingInterval":300000,"pingTimeout":300000,"maxPayload":1000000}'
)
CONNECT_ANSWER = b'40{"sid":"bench"}'
EVENT = "validation_count_update"
CLAIM = "0190f7a4c1f24d6e8b1a5f0c3d7e9a21"
BODY_FILLER = "x" * 24


def server_frame(payload: bytes) -> bytes:
    """One unmasked text frame of fewer than 65,536 bytes."""
    size = len(payload)
    head = bytes((0x81, size)) if size < 126 else bytes((0x81, 126, size >> 8, size & 0xFF))
    return head + payload


def upgrade_answer(request: bytes) -> bytes:
    """The answer to a whole upgrade request."""
    key = request[request.lower().index(b"sec-websocket-key:") + 18 :].split(b"\r\n", 1)[0].strip()
    return (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + accept_for(key).encode() + b"\r\n\r\n"
    )


def broadcast_frame(number: int) -> bytes:
    """One live count of about 150 bytes; `number` is its version."""
    data = {"v": 1, "claim_id": CLAIM, "count": number, "version": number, "pad": BODY_FILLER}
    return server_frame(b"42" + json.dumps([EVENT, data], separators=(",", ":")).encode())


class Peer(asyncio.Protocol):
    """One connected client."""

    __slots__ = ("greeted", "head", "peers", "transport")

    def __init__(self, peers: "list[Peer]") -> None:
        self.peers = peers
        self.head: bytes | None = b""
        self.greeted = False
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.peers.append(self)

    def data_received(self, data: bytes) -> None:
        """The handshake, then CONNECT; whatever comes later is not looked at."""
        if self.transport is None:
            return
        if self.head is not None:
            self.head += data
            if self.head.endswith(b"\r\n\r\n"):
                self.transport.write(upgrade_answer(self.head) + server_frame(OPEN_PACKET))
                self.head = None
        elif not self.greeted:
            self.greeted = True
            self.transport.write(server_frame(CONNECT_ANSWER))

    def connection_lost(self, exc: Exception | None) -> None:
        self.peers.remove(self)


async def broadcast(peers: list[Peer], rounds: int, period_s: float) -> int:
    """Versions 1, 2 ... to each peer at start + n * period; how many frames went out."""
    loop = asyncio.get_running_loop()
    start_s = loop.time()
    sent = 0
    for number in range(rounds):
        await asyncio.sleep(start_s + number * period_s - loop.time())
        frame = broadcast_frame(number + 1)
        for peer in list(peers):
            if peer.transport is not None:
                peer.transport.write(frame)
                sent += 1
    return sent


async def obey(peers: list[Peer], words: list[bytes]) -> dict[str, int]:
    """The answer to one command."""
    match words:
        case [b"greeted"]:
            return {"greeted": sum(peer.greeted for peer in peers)}
        case [b"go", rounds, period_s]:
            return {"sent": await broadcast(peers, int(rounds), float(period_s))}
    raise ValueError(f"unknown command {words}")


async def main() -> None:
    """Serve until standard input ends."""
    peers: list[Peer] = []
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Peer(peers), "127.0.0.1", 0, backlog=4096)
    print(json.dumps({"port": server.sockets[0].getsockname()[1]}), flush=True)
    commands = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)
    while line := await commands.readline():
        print(json.dumps(await obey(peers, line.split())), flush=True)
    server.close()


if __name__ == "__main__":
    uvloop.run(main())
