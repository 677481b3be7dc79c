"""Many counting clients in this process: they complete the handshake, answer heartbeats, count events.

Nothing of an event is looked at but its name. uvloop only; one protocol object per socket and no task.
"""

import asyncio
from collections.abc import Sequence
from typing import cast

from backend.app.clock import SystemClock
from backend.app.contracts.types import UserId
from backend.app.services.tokens import Tokens
from simulator.socketio_client.codec.websocket import TEXT, encode_frame

from .plan import EVENT_PREFIX, SECRET, SOCKET_PATH, user_id

ENGINE_PONG = encode_frame(TEXT, b"3")
FIN_TEXT = 0x80 | TEXT
KEY = "dGhlIHNhbXBsZSBub25jZQ=="
TOKEN_LIFE_S = 86_400


def upgrade_request(host: str, port: int) -> bytes:
    """The HTTP request that opens the websocket."""
    return (
        f"GET {SOCKET_PATH}?EIO=4&transport=websocket HTTP/1.1\r\nHost: {host}:{port}\r\n"
        f"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: {KEY}\r\n"
        "Sec-WebSocket-Version: 13\r\nUser-Agent: vouchstorm-bench\r\n\r\n"
    ).encode()


def connect_packet(token: str) -> bytes:
    """Socket.IO CONNECT with the token in its auth payload, framed."""
    return encode_frame(TEXT, b'40{"token":"' + token.encode() + b'"}')


def split_frames(data: bytes) -> tuple[list[bytes], bytes]:
    """(payloads of whole text frames, the rest). Raises ValueError on anything but text frames."""
    payloads = []
    position, end = 0, len(data)
    while end - position >= 2:
        size = data[position + 1]
        start = position + 2
        if size == 126:
            if end - position < 4:
                break
            size = (data[position + 2] << 8) | data[position + 3]
            start = position + 4
        elif size == 127:
            raise ValueError("no server of the benchmark sends this much")
        if end < start + size:
            break
        if data[position] != FIN_TEXT:
            raise ValueError(f"unexpected frame {data[position]:#x}")
        payloads.append(data[start : start + size])
        position = start + size
    return payloads, data[position:]


class CrowdError(Exception):
    """The crowd could not be brought into place, or lost a member."""


class CountingClient(asyncio.Protocol):
    """One socket."""

    __slots__ = ("_crowd", "_rest", "_token", "_transport", "_upgraded", "beaten", "connected", "events")

    def __init__(self, crowd: "Crowd", token: str) -> None:
        self._crowd = crowd
        self._token = token
        self._rest = b""
        self._upgraded = False
        self._transport: asyncio.Transport | None = None
        self.connected: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.events = 0
        self.beaten = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's does not inherit from it
        self._transport.write(upgrade_request(self._crowd.host, self._crowd.port))

    def data_received(self, data: bytes) -> None:
        if self._rest:
            data = self._rest + data
        if not self._upgraded:
            self._rest = data
            head, end, rest = data.partition(b"\r\n\r\n")
            if not end:
                return
            if b" 101 " not in head[:16]:
                self._fail(f"refused with {head[:40]!r}")
                return
            self._upgraded = True
            data = rest
        payloads, self._rest = split_frames(data)
        counted = 0
        for payload in payloads:
            if payload.startswith(EVENT_PREFIX):
                counted += 1
            else:
                self._answer(payload)
        if counted:
            self.events += counted
            self._crowd.count(counted)

    def _answer(self, payload: bytes) -> None:
        if self._transport is None:
            return
        if payload == b"2":
            self._transport.write(ENGINE_PONG)
            if not self.beaten:
                self.beaten = True
                self._crowd.beat()
        elif payload.startswith(b"0"):
            self._transport.write(connect_packet(self._token))
        elif payload.startswith(b"40"):
            if not self.connected.done():
                self.connected.set_result(None)
        elif payload.startswith(b"44"):
            self._fail(f"refused with {payload[:200]!r}")

    def _fail(self, reason: str) -> None:
        if not self.connected.done():
            self.connected.set_exception(CrowdError(reason))

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail("the server closed the connection")
        self._crowd.lose()

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()


class Crowd:
    """All clients of one visit to one server."""

    def __init__(self, host: str, port: int) -> None:
        self.host = host
        self.port = port
        self._clients: list[CountingClient] = []
        self._received = 0
        self._expected = 0
        self._complete: asyncio.Event = asyncio.Event()
        self._unbeaten = 0
        self._all_beaten: asyncio.Event = asyncio.Event()
        self.lost = 0

    def __len__(self) -> int:
        return len(self._clients)

    async def connect(self, tokens: Sequence[str], at_once: int = 50, timeout_s: float = 120.0) -> None:
        """Add one client per token, at most `at_once` of them under way. Raises CrowdError."""
        waiting = iter(tokens)

        async def keep_connecting() -> None:
            for token in waiting:
                await self._connect_one(token)

        try:
            async with asyncio.timeout(timeout_s), asyncio.TaskGroup() as group:
                for _ in range(min(at_once, len(tokens))):
                    group.create_task(keep_connecting())
        except* (OSError, CrowdError) as errors:
            raise CrowdError(f"cannot connect: {errors.exceptions[0]}") from errors

    async def _connect_one(self, token: str) -> None:
        loop = asyncio.get_running_loop()
        client = CountingClient(self, token)
        await loop.create_connection(lambda: client, self.host, self.port)
        self._clients.append(client)
        await client.connected

    # -------------------------------------------------------------- counting

    def expect(self, events: int) -> None:
        """From now on wait for this many events at each client; forget what was counted before."""
        self._received = 0
        self._expected = events * len(self._clients)
        self._complete.clear()
        for client in self._clients:
            client.events = 0

    def count(self, events: int) -> None:
        self._received += events
        if self._received >= self._expected:
            self._complete.set()

    def lose(self) -> None:
        self.lost += 1

    async def complete(self, timeout_s: float) -> bool:
        """Wait until everything expected is here; False when it is not in time."""
        return await _set_within(self._complete, timeout_s)

    def beat(self) -> None:
        self._unbeaten -= 1
        if self._unbeaten == 0:
            self._all_beaten.set()

    async def heartbeat(self, timeout_s: float) -> bool:
        """Wait until every client has answered a heartbeat from now on; False when one has not in time."""
        for client in self._clients:
            client.beaten = False
        self._unbeaten = len(self._clients)
        self._all_beaten.clear()
        return await _set_within(self._all_beaten, timeout_s)

    def miscounts(self, events: int) -> int:
        """Clients that hold another number of events than this."""
        return sum(1 for client in self._clients if client.events != events)

    def close(self) -> None:
        """Drop every connection at once."""
        for client in self._clients:
            client.close()


async def _set_within(event: asyncio.Event, timeout_s: float) -> bool:
    try:
        async with asyncio.timeout(timeout_s):
            await event.wait()
    except TimeoutError:
        return False
    return True


def issue_tokens(count: int) -> list[str]:
    """One token for each user that the contestants know, as the service itself would issue it."""
    tokens = Tokens(SECRET, TOKEN_LIFE_S, SystemClock())
    return [tokens.issue(UserId(user_id(number))).token for number in range(count)]
