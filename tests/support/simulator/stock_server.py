"""A plain python-socketio server on uvicorn, as its documentation would have it. Only for tests.

    python -m tests.support.simulator.stock_server --port 0 [--ping-interval 0.3] [--ping-timeout 0.3]
        [--polling-only]

Prints one JSON line {"port": ...} when it listens. Stops on SIGTERM, or when standard input ends.

CONNECT is refused if `auth.refuse` is set, with its value as the reason; `auth` comes back in `hello`, with
the Cookie header. Client events: `echo *args` -> ack of the same args; `join {room}` -> ack;
`say {room?, ...}` -> `said` to the room or to all; `count {n, gap_ms?}` -> `tick {n: 1..n}`, ack at the end;
`attach` -> `picture` with bytes; `ask` -> the server asks `question` of the caller, and acks how that ended;
`silent` (no ack for an hour); `kick` (a DISCONNECT packet); `close` (the transport is closed).
GET /connected -> {"connected": n}
"""

import argparse
import asyncio
import json
import os
import socket
import sys
from typing import Any

import socketio
import uvicorn

Scope = dict[str, Any]


class StockServer:
    """The Socket.IO server with its handlers."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.sio = socketio.AsyncServer(
            async_mode="asgi",
            cors_allowed_origins="*",
            ping_interval=options.ping_interval,
            ping_timeout=options.ping_timeout,
            allow_upgrades=not options.polling_only,
            transports=["polling"] if options.polling_only else None,
        )
        self.connected = 0
        self.tasks: set[asyncio.Task[None]] = set()
        words = "connect disconnect echo join say count attach ask kick silent close"
        for name in words.split():
            self.sio.on(name, getattr(self, f"on_{name}"))

    async def on_connect(self, sid: str, environ: Scope, auth: Any) -> None:
        if isinstance(auth, dict) and "refuse" in auth:
            raise socketio.exceptions.ConnectionRefusedError(auth["refuse"])
        self.connected += 1
        task = asyncio.create_task(self.greet(sid, auth, environ.get("HTTP_COOKIE", "")))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def greet(self, sid: str, auth: Any, cookies: str) -> None:
        await self.sio.emit("hello", {"auth": auth, "cookies": cookies}, to=sid)

    async def on_disconnect(self, sid: str, reason: str) -> None:
        self.connected -= 1

    async def on_echo(self, sid: str, *args: Any) -> Any:
        return args

    async def on_join(self, sid: str, data: dict[str, Any]) -> dict[str, Any]:
        await self.sio.enter_room(sid, data["room"])
        return {"room": data["room"]}

    async def on_say(self, sid: str, data: dict[str, Any]) -> None:
        await self.sio.emit("said", data, room=data.get("room"))

    async def on_count(self, sid: str, data: dict[str, Any]) -> int:
        for number in range(1, data["n"] + 1):
            await self.sio.emit("tick", {"n": number}, to=sid)
            await asyncio.sleep(data.get("gap_ms", 0) / 1e3)
        return int(data["n"])

    async def on_attach(self, sid: str) -> None:
        await self.sio.emit("picture", ({"name": "one", "bytes": b"\x00\x01\xff"}, b"two"), to=sid)

    async def on_ask(self, sid: str) -> str:
        try:
            answer = await self.sio.call("question", {"n": 1}, to=sid, timeout=5)
        except socketio.exceptions.TimeoutError:
            return "not acknowledged"
        return f"acknowledged with {answer!r}"

    async def on_kick(self, sid: str) -> None:
        await self.sio.disconnect(sid)

    async def on_silent(self, sid: str) -> None:
        await asyncio.sleep(3600)

    async def on_close(self, sid: str) -> None:
        await self.sio.eio.disconnect(self.sio.manager.eio_sid_from_sid(sid, "/"))


def application(server: StockServer) -> Any:
    """The ASGI application: Socket.IO, and one route that tells what the server thinks."""
    socket_app = socketio.ASGIApp(server.sio)

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        if scope["type"] == "http" and scope["path"] == "/connected":
            body = json.dumps({"connected": server.connected}).encode()
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": body})
        else:
            await socket_app(scope, receive, send)

    return app


async def serve(app: Any, port: int) -> None:
    """Serve on loopback until SIGTERM or the end of standard input."""
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    listener.listen(1024)
    config = uvicorn.Config(app, log_level="warning", lifespan="off", timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    loop = asyncio.get_running_loop()
    loop.add_reader(sys.stdin.fileno(), lambda: _stop_at_end(server, loop))
    print(json.dumps({"port": listener.getsockname()[1], "pid": os.getpid()}), flush=True)
    await server.serve(sockets=[listener])


def _stop_at_end(server: uvicorn.Server, loop: asyncio.AbstractEventLoop) -> None:
    if not os.read(sys.stdin.fileno(), 4096):
        loop.remove_reader(sys.stdin.fileno())
        server.should_exit = True


def main() -> None:
    parser = argparse.ArgumentParser(description="plain python-socketio server for tests")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--ping-interval", type=float, default=25.0)
    parser.add_argument("--ping-timeout", type=float, default=20.0)
    parser.add_argument("--polling-only", action="store_true")
    options = parser.parse_args()
    asyncio.run(serve(application(StockServer(options)), options.port))


if __name__ == "__main__":
    main()
