"""The floor: what one write of a ready frame to each socket costs in Python, and nothing else.

It answers the handshake with constants: no ASGI, no token, no rooms, no library. `--bare` calls write(2) on
the descriptor instead of the event loop's transport: about what a loop in C would cost.
"""

import argparse
import asyncio
import base64
import hashlib
import os
from typing import cast

import uvloop

from ..plan import ServerOptions, packet
from ..system import Control
from .options import listen, parser, server_options

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def server_frame(payload: bytes) -> bytes:
    """One unmasked text frame of less than 64 KiB."""
    size = len(payload)
    head = bytes((0x81, size)) if size < 126 else bytes((0x81, 126, size >> 8, size & 0xFF))
    return head + payload


class FloorProtocol(asyncio.Protocol):
    """One socket; a member once it has sent its CONNECT."""

    __slots__ = ("_floor", "_opened", "fd", "transport")

    def __init__(self, floor: "Floor") -> None:
        self._floor = floor
        self._opened = False
        self.transport: asyncio.Transport | None = None
        self.fd = -1

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's does not inherit from it
        self.fd = transport.get_extra_info("socket").fileno()

    def data_received(self, data: bytes) -> None:
        if self.transport is None:
            return
        if not self._opened:
            self._opened = True
            self.transport.write(self._floor.opening(data))
        elif self not in self._floor.sockets:
            self.transport.write(server_frame(b'40{"sid":"floor"}'))
            self._floor.sockets[self] = None
        # Later only heartbeat answers come.

    def connection_lost(self, exc: Exception | None) -> None:
        self._floor.sockets.pop(self, None)


class Floor:
    """All sockets of the floor."""

    def __init__(self, options: ServerOptions, *, bare: bool) -> None:
        self._bare = bare
        self._ping_interval_s = options.ping_interval_s
        self._hello = server_frame(
            b'0{"sid":"floor","upgrades":[],"pingInterval":%d,"pingTimeout":%d,"maxPayload":65536}'
            % (options.ping_interval_s * 1000, options.ping_timeout_s * 1000)
        )
        self.sockets: dict[FloorProtocol, None] = {}

    def opening(self, request: bytes) -> bytes:
        """The answer to the upgrade, with the Engine.IO opening behind it."""
        key = request.partition(b"Sec-WebSocket-Key: ")[2].partition(b"\r\n")[0]
        accept = base64.b64encode(hashlib.sha1(key + _GUID).digest())  # noqa: S324 - RFC 6455 asks for it
        return (
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: %b\r\n\r\n%b" % (accept, self._hello)
        )

    def emit(self, numbers: range) -> None:
        for number in numbers:
            self._write(server_frame(packet(number)))

    def _write(self, frame: bytes) -> None:
        if self._bare:
            for socket in self.sockets:
                os.write(socket.fd, frame)
            return
        for socket in self.sockets:
            if socket.transport is not None:
                socket.transport.write(frame)

    def notify(self, numbers: range) -> None:
        """The floor has no bus."""

    def keep_metrics(self, on: bool) -> None:
        """It has none."""

    def members(self) -> int:
        return len(self.sockets)

    async def beat(self) -> None:
        """Ping everybody once per interval, for ever."""
        ping = server_frame(b"2")
        while True:
            await asyncio.sleep(self._ping_interval_s)
            self._write(ping)


async def serve(arguments: argparse.Namespace) -> None:
    """Serve until standard input ends."""
    options = server_options(arguments)
    floor = Floor(options, bare=arguments.bare)
    loop = asyncio.get_running_loop()
    sock = listen(options.port)
    server = await loop.create_server(lambda: FloorProtocol(floor), sock=sock, backlog=4_096)
    ended = asyncio.Event()
    Control(floor, ended.set).start(sock.getsockname()[1], ["uvloop"])
    beating = asyncio.create_task(floor.beat())
    await ended.wait()
    beating.cancel()
    server.close()
    for socket in list(floor.sockets):
        if socket.transport is not None:
            socket.transport.abort()


if __name__ == "__main__":
    options_parser = parser()
    options_parser.add_argument("--bare", action="store_true")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(options_parser.parse_args()))
