"""The floor: what one write of a ready frame to each socket costs in Python, and nothing else.

It answers the handshake with constants: no ASGI, no token, no rooms, no library. `--bare` calls write(2) on
the descriptor instead of the event loop's transport: about what a loop in C would cost.
"""

import argparse
import asyncio
import os
from typing import cast

import uvloop

from ..plan import ServerOptions, packet
from .control import Control, listen, parser, server_options
from .frame_sender import server_frame, upgrade_answer


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
            self.transport.write(upgrade_answer(data) + self._floor.hello)
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
        self.hello = server_frame(
            b'0{"sid":"floor","upgrades":[],"pingInterval":%d,"pingTimeout":%d,"maxPayload":65536}'
            % (options.ping_interval_s * 1000, options.ping_timeout_s * 1000)
        )
        self.sockets: dict[FloorProtocol, None] = {}

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
