"""The wire room without a network: real protocol and sessions on a transport that a test plays.

Only Engine.IO is below it (no Socket.IO, no gateway): an `Engine` whose message handler writes down what
arrives.
"""

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import engineio
import httpx
import uvicorn
from uvicorn.server import ServerState

from backend.app.contracts.types import DeliveryClass
from backend.app.realtime.engine import Bounds, Engine, Session
from backend.app.realtime.websocket import FanoutProtocol, Message
from tests.support.backend.raw import PATH, client_frame, opening
from tests.support.waiting import until


class FakeTransport(asyncio.Transport):
    """Takes what is written. stalled: bytes stay in its buffer, as with a peer that does not read."""

    def __init__(self) -> None:
        super().__init__()
        self.protocol: Any = None
        self.written = b""
        self.buffered = 0
        self.stalled = False
        self.closing = False
        self.aborted = False
        self.lost = False
        self.reading = True
        self._high_bytes, self._low_bytes = 65_536, 16_384
        self._full = False

    def write(self, data: Any) -> None:
        if self.lost:
            raise RuntimeError("write on a lost transport")
        self.written += bytes(data)
        if self.stalled:
            self.buffered += len(data)
            if self.buffered > self._high_bytes and not self._full:
                self._full = True
                self.protocol.pause_writing()

    def drain(self, take_bytes: int | None = None) -> None:
        """The peer reads this much of the buffer (None: all of it)."""
        self.buffered = 0 if take_bytes is None else max(0, self.buffered - take_bytes)
        if self._full and self.buffered <= self._low_bytes:
            self._full = False
            self.protocol.resume_writing()
        if self.closing and not self.buffered:
            self._lose()

    def close(self) -> None:
        if not self.closing:
            self.closing = True
            self.reading = False
            if not self.buffered:
                asyncio.get_running_loop().call_soon(self._lose)

    def abort(self) -> None:
        self.aborted = self.closing = True
        asyncio.get_running_loop().call_soon(self._lose)

    def _lose(self) -> None:
        if not self.lost:
            self.lost = True
            self.protocol.connection_lost(None)

    def is_closing(self) -> bool:
        return self.closing

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._high_bytes, self._low_bytes = high or 65_536, low or 16_384

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return {"peername": ("127.0.0.1", 1), "sockname": ("127.0.0.1", 2)}.get(name, default)

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self.protocol = protocol

    def get_protocol(self) -> Any:
        return self.protocol


class Counted(list[str]):
    """A counter that remembers each reason."""

    inc = list.append


class Wire:
    """An engine, and connections to it. heard: (sid, text). ended: (sid, reason)."""

    def __init__(self, *, ping_interval_s: float = 30.0, ping_timeout_s: float = 30.0, **bounds: Any) -> None:
        self.drops: list[tuple[DeliveryClass, str]] = []
        self.metrics: Any = SimpleNamespace(
            aborts=Counted(),
            rate_limited=Counted(),
            dropped=lambda delivery, reason: self.drops.append((delivery, reason)),
        )
        self.engine = Engine(
            async_mode="asgi",
            cors_allowed_origins="*",
            ping_interval=ping_interval_s,
            ping_timeout=ping_timeout_s,
            async_handlers=False,
            http_compression=False,
            bounds=Bounds(**bounds),
            metrics=self.metrics,
        )
        self.heard: list[tuple[str, str]] = []
        self.ended: list[tuple[str, str]] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.engine.on("connect", self._connect)
        self.engine.on("message", self._message)
        self.engine.on("disconnect", self._disconnect)
        self.app = engineio.ASGIApp(self.engine, engineio_path="ws/socket.io")
        self._config = uvicorn.Config(self.app, ws=FanoutProtocol, lifespan="off", log_config=None)
        self._config.load()
        self.state = ServerState()

    async def _connect(self, sid: str, environ: Any) -> None:
        """Everybody may come in."""

    async def _message(self, sid: str, text: str) -> None:
        await self.gate.wait()
        if text == "fail":
            raise ValueError("this message cannot be handled")
        self.heard.append((sid, text))

    async def _disconnect(self, sid: str, reason: str) -> None:
        self.ended.append((sid, reason))

    # -------------------------------------------------------------- connections

    def connection(self, sid: str = "", *, behind: bytes = b"") -> FakeTransport:
        """A websocket connection that has sent its request. sid: to upgrade; behind: frames sent with it."""
        transport = FakeTransport()
        protocol = FanoutProtocol(self._config, self.state, {})
        transport.protocol = protocol
        protocol.connection_made(transport)
        protocol.data_received(opening(("localhost", 80), PATH + (f"&sid={sid}" if sid else "")) + behind)
        return transport

    async def session(self) -> tuple[Session, FakeTransport]:
        """A websocket session that is direct; what was written so far is forgotten."""
        before = set(self.engine.sockets)
        transport = self.connection()
        await until(lambda: set(self.engine.sockets) - before, "a session")
        (sid,) = set(self.engine.sockets) - before
        session = self.engine.sockets[sid]
        await until(lambda: session.direct, "it is direct")
        transport.written = b""
        return session, transport

    async def polling(self) -> Session:
        """A session on long-polling."""
        answer = await self.get("")
        sid: str = answer.text.partition('"sid":"')[2].partition('"')[0]
        return self.engine.sockets[sid]

    async def get(self, sid: str) -> httpx.Response:
        """One poll."""
        return await self._request("GET", sid)

    async def post(self, sid: str, *packets: str) -> httpx.Response:
        """One request with packets of a polling peer."""
        return await self._request("POST", sid, "\x1e".join(packets).encode())

    async def _request(self, method: str, sid: str, body: bytes | None = None) -> httpx.Response:
        transport = httpx.ASGITransport(app=self.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            query = {"EIO": "4", "transport": "polling"} | ({"sid": sid} if sid else {})
            return await client.request(method, "/ws/socket.io/", params=query, content=body)


def say(transport: FakeTransport, *texts: str) -> None:
    """The peer sends Engine.IO packets in one piece."""
    transport.protocol.data_received(b"".join(client_frame(text.encode()) for text in texts))


def texts(wire: bytes) -> list[str]:
    """The text messages in what the server wrote; control frames are left out."""
    found, position = [], wire.find(b"\r\n\r\n") + 4 if wire.startswith(b"HTTP") else 0
    while position < len(wire):
        size, start = wire[position + 1], position + 2
        if size >= 126:
            start += 2 if size == 126 else 8
            size = int.from_bytes(wire[position + 2 : start], "big")
        if wire[position] & 0x0F == 1:
            found.append(wire[start : start + size].decode())
        position = start + size
    return found


def durable(number: int, size: int = 10) -> Message:
    packet = f'2["n",{{"seq":{number},"pad":"{"x" * size}"}}]'
    return Message([packet.encode()], DeliveryClass.DURABLE, version=number)


def snapshot(key: str, version: int) -> Message:
    return Message([f'2["c",{{"{key}":{version}}}]'.encode()], DeliveryClass.SNAPSHOT, key, version)


def state(text: str) -> Message:
    return Message([f'2["r","{text}"]'.encode()], DeliveryClass.STATE)


Stall = Callable[[Session, FakeTransport], None]


def stall(session: Session, transport: FakeTransport) -> None:
    """The peer stops reading, and enough is written that the session notices."""
    transport.stalled = True
    session.post([durable(0, 70_000)])
    assert session.write is None
    transport.written = b""
