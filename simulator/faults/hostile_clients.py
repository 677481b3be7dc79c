"""Hostile clients: nonsense, oversized messages, floods, by real sockets beside the honest ones.

Every one of them is seeded, bounded in size, rate and time, and comes from loopback addresses of its own
where the server is on loopback. Refuses to judge more than what can be seen from outside: answers of the
class 5xx, and websocket closes that blame the server.
"""

import asyncio
import contextlib
import functools
import ipaddress
import json
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType

from ..scenario.models import Hostile
from ..socketio_client import Endpoint
from ..socketio_client.codec.websocket import CLOSE, FrameReader, decode_close, encode_frame
from ..socketio_client.connector import Connector
from ..socketio_client.errors import ProtocolError

DIAL_TIMEOUT_S = 5.0
LISTEN_S = 0.3
BATCH = 50
OVERSIZED_BYTES = 2 * 2**20
SERVER_FAULT_CODES = frozenset({1011})
SOURCES = 8
ACCOUNT_SHARE = 0.5
Line = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass(frozen=True, slots=True)
class HostileInputs:
    """What a profile lends to hostile clients.

    account: a CONNECT payload that lets in, None where nobody else gets one. posts: paths that take JSON.
    packets: unsound uses of the server's own events.
    """

    account: Mapping[str, object] | None = None
    posts: Sequence[str] = ()
    packets: Sequence[str] = ()


class HostileClients:
    """`async with HostileClients(...)`: they come on entering and are gone at the end.

    counts: inputs, connections, refused (no connection came about), ended (closed by the server),
    server_errors (5xx, or closes with 1011). Some of them use the account lent to them, so that floods by
    an account are among them too.
    """

    def __init__(
        self, fault: Hostile, endpoint: Endpoint, rng: random.Random, inputs: HostileInputs | None = None
    ) -> None:
        self.counts: Counter[str] = Counter()
        self._fault = fault
        self._endpoint = endpoint
        self._inputs = inputs or HostileInputs()
        self._requests = _requests(endpoint, tuple(self._inputs.posts))
        self._packets = (*_unsound(), *map(_text_frame, self._inputs.packets))
        self._rngs = [random.Random(rng.random()) for _ in range(fault.sockets)]
        self._tasks: list[asyncio.Task[None]] = []
        self._free_at_s = 0.0

    async def __aenter__(self) -> "HostileClients":
        self._tasks = [asyncio.ensure_future(self._attack(rng)) for rng in self._rngs]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def summary(self) -> str:
        """What they did, for the record."""
        counts = self.counts
        kinds = ", ".join(
            f"{name.removeprefix('e:')} x {n}" for name, n in counts.items() if name[:2] == "e:"
        )
        return (
            f"{counts['inputs']} hostile inputs on {counts['connections']} connections, {counts['ended']} of "
            f"them ended by the server, {counts['server_errors']} server errors"
            + (f" ({kinds})" if kinds else "")
        )

    # ---------------------------------------------------------------- one of them

    async def _attack(self, rng: random.Random) -> None:
        attacks = (self._babble, self._misspeak, self._break_frames, self._break_packets, self._flood)
        while True:
            attack = rng.choice(attacks)
            with contextlib.suppress(OSError, asyncio.IncompleteReadError, TimeoutError):
                async with self._dialled(rng) as line:
                    await attack(line, rng)
                continue
            self.counts["refused"] += 1
            await asyncio.sleep(LISTEN_S)

    @contextlib.asynccontextmanager
    async def _dialled(self, rng: random.Random) -> AsyncIterator[Line]:
        endpoint = self._endpoint
        async with asyncio.timeout(DIAL_TIMEOUT_S):
            reader, writer = await asyncio.open_connection(
                endpoint.host, endpoint.port, ssl=endpoint.tls, local_addr=_source(endpoint.host, rng)
            )
        self.counts["connections"] += 1
        try:
            yield reader, writer
        finally:
            writer.transport.abort()

    async def _pace(self, inputs: int = 1) -> None:
        """Count inputs, and take turns so that all together stay below the rate."""
        self.counts["inputs"] += inputs
        now_s = time.monotonic()
        self._free_at_s = max(now_s, self._free_at_s) + inputs / self._fault.inputs_per_s
        await asyncio.sleep(self._free_at_s - now_s)

    # ---------------------------------------------------------------- what they do

    async def _babble(self, line: Line, rng: random.Random) -> None:
        """Bytes that are no HTTP."""
        await self._pace()
        await _say(line, rng.randbytes(rng.choice((1, 40, 4_000))))
        await self._hear_http(line)

    async def _misspeak(self, line: Line, rng: random.Random) -> None:
        """HTTP that means nothing here."""
        await self._pace()
        request, excused = rng.choice(self._requests)
        await _say(line, request.encode("latin-1"))
        await self._hear_http(line, excused)

    async def _break_frames(self, line: Line, rng: random.Random) -> None:
        """WebSocket frames that break the protocol."""
        if await self._upgrade(line, rng):
            await self._pace()
            await _say(line, _frame(rng))
            await self._hear_frames(line)

    async def _break_packets(self, line: Line, rng: random.Random) -> None:
        """Sound frames with unsound packets."""
        if not await self._upgrade(line, rng):
            return
        if rng.random() < 0.5:
            await self._enter(line, rng)
        for _ in range(rng.randint(1, 8)):
            await self._pace()
            await _say(line, rng.choice(self._packets))
        await self._hear_frames(line)

    async def _flood(self, line: Line, rng: random.Random) -> None:
        """Sound events, far too many of them."""
        if not await self._upgrade(line, rng):
            return
        await self._enter(line, rng)
        event = rng.choice(('42["ping",{}]', '421["get_status",{}]', '42["no such event",1]', "3"))
        await self._pace(BATCH)
        await _say(line, encode_frame(1, event.encode()) * BATCH)
        await self._hear_frames(line)

    async def _enter(self, line: Line, rng: random.Random) -> None:
        """Say CONNECT, now and then with an account."""
        account = b""
        if self._inputs.account and rng.random() < ACCOUNT_SHARE:
            account = json.dumps(self._inputs.account).encode()
        await _say(line, encode_frame(1, b"40" + account))

    async def _upgrade(self, line: Line, rng: random.Random) -> bool:
        connector = Connector(self._endpoint, b"", None, rng)
        request, _ = connector.upgrade_request(self._endpoint.target("websocket"))
        await _say(line, request)
        async with asyncio.timeout(DIAL_TIMEOUT_S):
            answer = await line[0].readuntil(b"\r\n\r\n")
        self._note_status(answer, "upgrade")
        return answer.startswith(b"HTTP/1.1 101")

    # ---------------------------------------------------------------- what they hear

    async def _hear_http(self, line: Line, excused: Sequence[int] = ()) -> None:
        heard = await _listen(line)
        self._note_status(heard, "request", excused)
        self.counts["ended"] += line[0].at_eof()

    async def _hear_frames(self, line: Line) -> None:
        heard = await _listen(line)
        self.counts["ended"] += line[0].at_eof()
        for code in _closes(heard):
            if code in SERVER_FAULT_CODES:
                self._blame(f"close {code}")

    def _note_status(self, answer: bytes, to: str, excused: Sequence[int] = ()) -> None:
        """A 503 that says when to come back is a server that sheds load, as it should."""
        if answer[9:12] == b"503" and b"\r\nretry-after:" in answer.lower():
            return
        if answer.startswith(b"HTTP/1.1 5") and answer[9:12] not in [b"%d" % status for status in excused]:
            self._blame(f"{answer[9:12].decode('latin-1')} to {to}")

    def _blame(self, what: str) -> None:
        self.counts["server_errors"] += 1
        self.counts[f"e:{what}"] += 1


def _source(host: str, rng: random.Random) -> tuple[str, int] | None:
    """An address that no honest client has, so that limits per address hit the right ones."""
    with contextlib.suppress(ValueError):
        address = ipaddress.ip_address(host)
        if address.version == 4 and address.is_loopback:
            return f"127.66.6.{1 + rng.randrange(SOURCES)}", 0
    return None


async def _say(line: Line, data: bytes) -> None:
    line[1].write(data)
    async with asyncio.timeout(DIAL_TIMEOUT_S):
        await line[1].drain()


async def _listen(line: Line) -> bytes:
    """What comes within a moment, at most 64 KiB of it kept."""
    heard = b""
    with contextlib.suppress(TimeoutError, OSError):
        async with asyncio.timeout(LISTEN_S):
            while chunk := await line[0].read(65_536):
                heard = (heard + chunk)[:65_536]
    return heard


def _closes(heard: bytes) -> Iterator[int]:
    with contextlib.suppress(ProtocolError):
        for opcode, payload in FrameReader().feed(heard):
            if opcode == CLOSE:
                yield decode_close(payload)[0]


@functools.cache
def _requests(endpoint: Endpoint, posts: tuple[str, ...]) -> list[tuple[str, tuple[int, ...]]]:
    """Requests that a sound server refuses, each with statuses of the class 5xx that are no fault of it."""
    host, path = endpoint.authority, endpoint.path
    target = endpoint.target("polling")
    nothing: tuple[int, ...] = ()
    head = f"HTTP/1.1\r\nHost: {host}\r\nContent-Length: 9"
    return [
        *((f"POST {post} {head}\r\n\r\n{{]nojson", nothing) for post in posts),
        (f"GET {path}?EIO=9&transport=carrier-pigeon HTTP/1.1\r\nHost: {host}\r\n\r\n", nothing),
        (f"GET {target}&sid=nobody HTTP/1.1\r\nHost: {host}\r\n\r\n", nothing),
        (f"POST {target}&sid=no HTTP/1.1\r\nHost: {host}\r\nContent-Length: 4\r\n\r\n4\x1e4[", nothing),
        (f"POST {target} HTTP/1.1\r\nHost: {host}\r\nContent-Length: -5\r\n\r\n", nothing),
        # A gateway cannot pass on a body that breaks off: it says 502, or 503 when it has tried everywhere.
        (f"POST {target} HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", (502, 503)),
        (f"GET {target} HTTP/1.1\r\nHost: {host}\r\nX-Long: {'x' * 70_000}\r\n\r\n", nothing),
        (f"GET {target} HTTP/1.1\r\nHost: {host}\r\n", nothing),
        (f"WAT {path} HTTP/7.3\r\n\r\n", (505,)),
        (f"GET {path}../%00/%ff HTTP/1.1\r\nHost: {host}\r\n\r\n", nothing),
    ]


def _frame(rng: random.Random) -> bytes:
    """Bytes where a masked frame should be."""
    frames = (
        b"\x81\x05hello",  # not masked
        b"\xf1\x80" + rng.randbytes(4),  # reserved bits
        b"\x83\x81" + rng.randbytes(5),  # reserved opcode
        b"\x80\x81" + rng.randbytes(5),  # continues nothing
        b"\x09\x80" + rng.randbytes(4),  # a control frame in pieces
        b"\x89\xfe\x01\x00" + rng.randbytes(260),  # a ping that is too long
        b"\x81\xff" + (2**62).to_bytes(8, "big") + rng.randbytes(12),  # a length nobody has
        b"\x81\xff" + (2**63 + 5).to_bytes(8, "big") + rng.randbytes(12),  # a length that is not one
        encode_frame(1, b"4" + b"\xff\xfe\xfd"),  # not UTF-8
        encode_frame(8, b"\x00"),  # half a close
        encode_frame(2, rng.randbytes(500)),  # an attachment of nothing
        rng.randbytes(300),
    )
    return rng.choice(frames)


@functools.cache
def _unsound() -> tuple[bytes, ...]:
    """Text frames with what is no sound Engine.IO or Socket.IO packet; made once, for some are large."""
    packets = (
        "",
        "9",
        "4",
        "42",
        "42[",
        "42{}",
        "42[]",
        "42[7]",
        "42[null,{}]",
        '42["ping"',
        "40{not json",
        '40{"token":12345}',
        '40{"token":"' + "x" * 3_000 + '"}',
        "4/" + "n" * 500 + ",",
        '451-["ping",{"_placeholder":true,"num":0}]',
        '45999999-["ping"]',
        "43999999999999999999[]",
        '42999999999999999999999999["ping",{}]',
        '42["ping",' + "[" * 3_000 + "]" * 3_000 + "]",
        '42["__proto__",{"constructor":1}]',
        '42["disconnect"]',
        '42["authenticate",[[[[]]]]]',
        '42["x","' + "\u0000\ud7ff" * 50 + '"]',
        '42["ping","' + "A" * OVERSIZED_BYTES + '"]',
    )
    return tuple(map(_text_frame, packets))


def _text_frame(packet: str) -> bytes:
    return encode_frame(1, packet.encode())
