"""Sends malformed inputs to a node and writes down what came back; nothing here judges."""

import asyncio
import contextlib
import random
import re
from collections import Counter
from dataclasses import dataclass, field

from tests.fuzz.inputs import http_request, socket_input
from tests.support.backend.raw import client_frame, opening

SOURCES = 200
"""Addresses of 127.0.0.0/8 that the attack comes from, so that the caps per address do not stop it early."""
AT_ONCE = 8
INPUTS_PER_SOCKET = 8
PATIENCE_S = 3.0
WAITS_FOR_MORE_S = 0.3
QUIET_S = 0.03
MAX_READ_BYTES = 262_144
_STATUS = re.compile(rb"HTTP/1\.[01] (\d{3})")

Address = tuple[str, int]


@dataclass
class Tally:
    """inputs: malformed inputs sent, by kind. statuses: of HTTP answers, 0 where there was none.

    tracebacks: answers that showed one.
    """

    inputs: Counter[str] = field(default_factory=Counter)
    statuses: Counter[int] = field(default_factory=Counter)
    tracebacks: list[bytes] = field(default_factory=list)

    @property
    def total(self) -> int:
        return sum(self.inputs.values())

    def take(self, answer: bytes) -> None:
        """Look through what the node said."""
        if b"Traceback" in answer or b'File "' in answer:
            self.tracebacks.append(answer[:1_000])


async def attack(address: Address, token: str, count: int, rng: random.Random) -> Tally:
    """Send about `count` malformed inputs, half of them as HTTP requests, half over websockets."""
    tally = Tally()
    works = ["http"] * (count // 2) + ["socket"] * (count // 2 // INPUTS_PER_SOCKET)
    rng.shuffle(works)
    seeds = iter([(work, rng.random()) for work in works])

    async def attacker() -> None:
        for work, seed in seeds:
            own = random.Random(seed)
            with contextlib.suppress(OSError, TimeoutError, asyncio.IncompleteReadError):
                if work == "http":
                    await _http(address, token, own, tally)
                else:
                    await _socket(address, token, own, tally)

    async with asyncio.TaskGroup() as group:
        for _ in range(AT_ONCE):
            group.create_task(attacker())
    return tally


async def _open(address: Address, rng: random.Random) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    source = f"127.9.{rng.randrange(SOURCES) // 100}.{1 + rng.randrange(100)}"
    return await asyncio.open_connection(*address, local_addr=(source, 0))


async def _http(address: Address, token: str, rng: random.Random, tally: Tally) -> None:
    request = http_request(rng, token)
    reader, writer = await _open(address, rng)
    tally.inputs["http"] += 1
    answer = b""
    try:
        async with asyncio.timeout(PATIENCE_S):
            with contextlib.suppress(OSError):  # it may refuse before it has read everything
                writer.write(request)
                await writer.drain()
            answer = await _first(reader)
            if not answer:
                writer.write_eof()  # it waits for more; who closes before the answer never sees it
            while len(answer) < MAX_READ_BYTES and (part := await _hear(reader)):
                answer += part
    except (OSError, TimeoutError):
        pass
    finally:
        writer.transport.abort()
        statuses = [int(status) for status in _STATUS.findall(answer)]
        tally.statuses.update(statuses or [0])
        tally.take(answer)


async def _socket(address: Address, token: str, rng: random.Random, tally: Tally) -> None:
    reader, writer = await _open(address, rng)
    try:
        async with asyncio.timeout(PATIENCE_S):
            writer.write(opening(address))
            answer = await reader.readuntil(b"\r\n\r\n")
            tally.statuses.update(int(status) for status in _STATUS.findall(answer))
            if rng.random() < 0.6:
                writer.write(_connect(token))
                tally.take(await _hear(reader))
            for _ in range(INPUTS_PER_SOCKET):
                writer.write(socket_input(rng))
                tally.inputs["socket"] += 1
                if rng.random() < 0.3:
                    tally.take(await _hear(reader))
            await writer.drain()
            tally.take(await _hear(reader))
    finally:
        writer.transport.abort()


async def send_to_socket(
    address: Address, token: str | None, pieces: list[bytes], until: bytes = b""
) -> bytes:
    """Open a websocket, authenticate it if there is a token, send these bytes.

    What was heard until it was quiet, and not before `until` was heard, unless that takes too long.
    """
    reader, writer = await asyncio.open_connection(*address)
    heard = b""
    try:
        async with asyncio.timeout(PATIENCE_S):
            writer.write(opening(address))
            await reader.readuntil(b"\r\n\r\n")
            if token is not None:
                writer.write(_connect(token))
                while b'"authenticated"' not in heard:
                    heard += await reader.read(65_536) or b'"authenticated"'
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
            heard += await _first(reader) + await _hear(reader)
            while until not in heard and (part := await reader.read(65_536)):
                heard += part
    except OSError:
        pass  # the node had enough of it
    finally:
        writer.transport.abort()
    return heard


async def _first(reader: asyncio.StreamReader) -> bytes:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(WAITS_FOR_MORE_S):
            return await reader.read(65_536)
    return b""


def _connect(token: str) -> bytes:
    return client_frame(f'40{{"token":"{token}"}}'.encode())


async def _hear(reader: asyncio.StreamReader) -> bytes:
    """What comes until it is quiet."""
    heard = b""
    with contextlib.suppress(TimeoutError):
        while len(heard) < MAX_READ_BYTES:
            async with asyncio.timeout(QUIET_S):
                part = await reader.read(65_536)
            if not part:
                break
            heard += part
    return heard
