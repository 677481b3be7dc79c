"""The cheapest Socket.IO server that can feed a benchmark: raw WebSockets, one ready frame to each socket.

Speaks just enough to be connected to: it answers the handshake, CONNECT and nothing else, never pings, and
sends broadcasts at fixed times on request. Run as a child process by `swarm`: prints {"port": n}, then obeys
`go ROUNDS PERIOD_S` on standard input and prints {"sent": n} when the last round is out.
"""

import asyncio
import json
import os
import sys
import time
from typing import cast

import uvloop

from simulator.wire.websocket import accept_for

OPEN_PACKET = (
    b'0{"sid":"bench","upgrades":[],"pingInterval":300000,"pingTimeout":300000,"maxPayload":1000000}'
)
CONNECT_ANSWER = b'40{"sid":"bench"}'
BODY_FILLER = "x" * 60


def server_frame(payload: bytes) -> bytes:
    """One unmasked text frame of fewer than 65,536 bytes."""
    size = len(payload)
    head = bytes((0x81, size)) if size < 126 else bytes((0x81, 126, size >> 8, size & 0xFF))
    return head + payload


def broadcast_frame(number: int) -> bytes:
    """One event of about 150 bytes, with the time it was made."""
    data = {"id": f"m-{number:07}", "seq": number, "stamp": time.monotonic_ns(), "body": BODY_FILLER}
    return server_frame(b"42" + json.dumps(["message", data], separators=(",", ":")).encode())


class Peer(asyncio.Protocol):
    """One connected client."""

    __slots__ = ("greeted", "head", "peers", "transport")

    def __init__(self, peers: "list[Peer]") -> None:
        self.peers = peers
        self.head: bytes | None = b""
        self.greeted = False
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """asyncio: connected."""
        self.transport = cast(asyncio.Transport, transport)
        self.peers.append(self)

    def data_received(self, data: bytes) -> None:
        """asyncio: the handshake, then CONNECT; whatever comes later is not looked at."""
        if self.transport is None:
            return
        if self.head is not None:
            self.head += data
            if self.head.endswith(b"\r\n\r\n"):
                key = self.head.lower().split(b"sec-websocket-key:", 1)[1]
                offset = len(self.head) - len(key)
                answer = accept_for(self.head[offset:].split(b"\r\n", 1)[0].strip())
                self.head = None
                self.transport.write(
                    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                    b"Sec-WebSocket-Accept: " + answer.encode() + b"\r\n\r\n" + server_frame(OPEN_PACKET)
                )
        elif not self.greeted:
            self.greeted = True
            self.transport.write(server_frame(CONNECT_ANSWER))

    def connection_lost(self, exc: Exception | None) -> None:
        """asyncio: gone."""
        self.peers.remove(self)


async def broadcast(peers: list[Peer], rounds: int, period_s: float) -> int:
    """One frame to each peer at start + n * period; how many frames went out."""
    loop = asyncio.get_running_loop()
    start_s = loop.time()
    sent = 0
    for number in range(rounds):
        await asyncio.sleep(start_s + number * period_s - loop.time())
        frame = broadcast_frame(number)
        for peer in list(peers):
            if peer.transport is not None:
                peer.transport.write(frame)
                sent += 1
    return sent


async def main() -> None:
    """Serve until standard input ends."""
    peers: list[Peer] = []
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Peer(peers), "127.0.0.1", 0, backlog=4096)
    print(json.dumps({"port": server.sockets[0].getsockname()[1]}), flush=True)
    commands = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)
    while line := await commands.readline():
        _, rounds, period_s = line.split()
        print(json.dumps({"sent": await broadcast(peers, int(rounds), float(period_s))}), flush=True)
    server.close()


if __name__ == "__main__":
    if len(sys.argv) > 1:
        os.sched_setaffinity(0, {int(sys.argv[1])})
    uvloop.run(main())
