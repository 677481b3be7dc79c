"""python-socketio on uvicorn as its documentation would have it, with the settings that suit it best.

websocket only, no permessage-deflate, no second heartbeat of uvicorn's, no access log, uvloop, httptools.
The token is verified in the connect handler and two rooms are joined; there is no store.
"""

import argparse
import asyncio
from collections.abc import Coroutine
from typing import Any

import jwt
import socketio
import uvicorn
import uvloop

from ..plan import EVENT, ROOM, SECRET, SOCKET_PATH, absent_user_id, notification, payload
from .control import Control, listen, parser, server_options

PACKAGES = ["python-socketio", "python-engineio", "uvicorn", "uvloop", "httptools", "websockets"]


class Stock:
    """The server and its handlers."""

    def __init__(self, sio: socketio.AsyncServer) -> None:
        self._sio = sio
        self._tasks: set[asyncio.Task[None]] = set()
        sio.on("connect", self._connect)

    async def _connect(self, sid: str, _: Any, auth: Any) -> None:
        try:
            claims = jwt.decode(
                auth["token"], SECRET, algorithms=["HS256"], audience="vouchstorm", issuer="vouchstorm"
            )
        except (jwt.PyJWTError, TypeError, KeyError) as error:
            raise socketio.exceptions.ConnectionRefusedError("This token is not valid.") from error
        await self._sio.enter_room(sid, f"user:{claims['sub']}")
        await self._sio.enter_room(sid, ROOM)

    def emit(self, numbers: range) -> None:
        self._own(self._emit(numbers))

    def notify(self, numbers: range) -> None:
        self._own(self._notify(numbers))

    def _own(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _notify(self, numbers: range) -> None:
        for number in numbers:
            room = f"user:{absent_user_id(number)}"
            await self._sio.emit("new_notification", notification(number), room=room)

    async def _emit(self, numbers: range) -> None:
        for number in numbers:
            await self._sio.emit(EVENT, payload(number), room=ROOM)

    def keep_metrics(self, on: bool) -> None:
        """It has none."""

    def members(self) -> int:
        return len(self._sio.manager.rooms.get("/", {}).get(ROOM, ()))


async def serve(arguments: argparse.Namespace) -> None:
    """Serve until standard input ends."""
    options = server_options(arguments)
    manager = socketio.AsyncRedisManager(options.bus_url) if options.bus_url else None
    sio = socketio.AsyncServer(
        client_manager=manager,
        async_mode="asgi",
        transports=["websocket"],
        cors_allowed_origins="*",
        ping_interval=options.ping_interval_s,
        ping_timeout=options.ping_timeout_s,
        http_compression=False,
    )
    config = uvicorn.Config(
        socketio.ASGIApp(sio, socketio_path=SOCKET_PATH.strip("/")),
        http="httptools",
        ws="websockets-sansio",
        ws_per_message_deflate=False,
        ws_ping_interval=None,
        log_level="warning",
        access_log=False,
        lifespan="off",
        timeout_graceful_shutdown=1,
    )
    server = uvicorn.Server(config)
    sock = listen(options.port)

    def stop() -> None:
        server.should_exit = server.force_exit = True

    Control(Stock(sio), stop).start(sock.getsockname()[1], PACKAGES)
    await server.serve(sockets=[sock])


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(parser().parse_args()))
