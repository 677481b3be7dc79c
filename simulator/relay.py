"""The inside of the flaky proxy: one relay per connection, two pipes each, and the conditions that all obey.

A pipe holds at most QUEUE_BYTES; beyond that it reads no further, so back-pressure passes through. Called by
`faults` only.
"""

import asyncio
import contextlib
import random
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, cast

from .socketio_client.connector import reset

CHUNK_BYTES: Final = 16 * 1024
QUEUE_BYTES: Final = 64 * 1024
CLOSE_GRACE_S: Final = 1.0
_PACE_S: Final = 0.05  # a thin line carries what fits into so much time at once
Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass(slots=True, eq=False)
class Delay:
    """Seconds added to each chunk, and the most that chance adds."""

    delay_s: float
    jitter_s: float


@dataclass(slots=True, eq=False)
class Rate:
    """Bytes a second."""

    bytes_per_s: float


@dataclass(slots=True)
class Conditions:
    """What the weather is like; the newest of each kind of change holds, in whatever order they end."""

    rng: random.Random
    delays: list[Delay] = field(default_factory=list)
    rates: list[Rate] = field(default_factory=list)
    stalls: int = 0
    _flowing: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self._flowing.set()

    @contextlib.contextmanager
    def delayed(self, delay: Delay) -> Iterator[None]:
        """Chunks that are read in the block are late."""
        self.delays.append(delay)
        try:
            yield
        finally:
            self.delays.remove(delay)

    @contextlib.contextmanager
    def limited(self, rate: Rate) -> Iterator[None]:
        """Pipes are thin."""
        self.rates.append(rate)
        try:
            yield
        finally:
            self.rates.remove(rate)

    @contextlib.contextmanager
    def stalled(self) -> Iterator[None]:
        """Nothing moves."""
        self.stalls += 1
        self._flowing.clear()
        try:
            yield
        finally:
            self.stalls -= 1
            if not self.stalls:
                self._flowing.set()

    async def flowing(self) -> None:
        """Wait until bytes may move."""
        await self._flowing.wait()

    def lateness_s(self) -> float:
        """How late a chunk that is read now must be."""
        if not self.delays:
            return 0.0
        newest = self.delays[-1]
        return newest.delay_s + newest.jitter_s * self.rng.random()

    @property
    def bytes_per_s(self) -> float | None:
        """The limit, if there is one."""
        return self.rates[-1].bytes_per_s if self.rates else None


class Relay:
    """Carries bytes between one client and the target until both ended, one broke, or `abort`."""

    def __init__(
        self, conditions: Conditions, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.ended = asyncio.Event()
        self.carried_bytes = 0
        self._conditions = conditions
        self._client: Stream = (reader, writer)
        self._target: Stream | None = None
        self._down: Pipe | None = None
        self._limit_bytes: int | None = None  # of carried_bytes
        self._task: asyncio.Task[None] | None = None

    async def run(self, host: str, port: int, *, halved: bool) -> None:
        """Connect to the target and carry; never raises what the network does."""
        self._task = asyncio.ensure_future(self._carry(host, port, halved))
        try:
            await asyncio.wait([self._task])
        finally:
            self._task.cancel()
            self._reset()
            self.ended.set()

    async def _carry(self, host: str, port: int, halved: bool) -> None:
        try:
            await self._conditions.flowing()
            self._target = await asyncio.open_connection(host, port, limit=CHUNK_BYTES)
            up = Pipe(self, self._conditions, self._client[0], self._target[1])
            self._down = Pipe(self, self._conditions, self._target[0], self._client[1])
            if halved:
                self._down.halve()
            async with asyncio.TaskGroup() as pipes:
                pipes.create_task(up.run())
                pipes.create_task(self._down.run())
            await self._close()
        except* OSError:
            pass  # a side broke: `run` resets the other

    async def _close(self) -> None:
        """Both directions ended in order; a side that does not take its last bytes is reset later."""
        for stream in (self._client, self._target):
            if stream is not None:
                stream[1].close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_GRACE_S):
                for stream in (self._client, self._target):
                    if stream is not None:
                        await stream[1].wait_closed()

    def _reset(self) -> None:
        for stream in (self._client, self._target):
            if stream is not None:
                reset(cast(asyncio.Transport, stream[1].transport))

    def abort(self) -> None:
        """Reset both sides."""
        self._reset()
        if self._task is not None:
            self._task.cancel()

    def halve(self) -> None:
        """End the direction from the target to the client; what the target still sends is thrown away."""
        if self._down is not None:
            self._down.halve()

    def reset_after(self, n_bytes: int | None) -> None:
        """Reset once so many more bytes were carried; None: never."""
        self._limit_bytes = None if n_bytes is None else self.carried_bytes + n_bytes

    def carry(self, wanted_bytes: int) -> int:
        """Take note of bytes that a pipe carries; how many of them it may."""
        allowed_bytes = wanted_bytes
        if self._limit_bytes is not None:
            allowed_bytes = max(0, min(wanted_bytes, self._limit_bytes - self.carried_bytes))
        self.carried_bytes += allowed_bytes
        return allowed_bytes


class Pipe:
    """One direction: a puller that fills a bounded queue, and a pusher that empties it in good time."""

    def __init__(
        self, relay: Relay, conditions: Conditions, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._relay = relay
        self._conditions = conditions
        self._reader = reader
        self._writer = writer
        self._queue: deque[tuple[float, bytes | None]] = deque()  # (due, chunk); b"": the end, None: broken
        self._queued_bytes = 0
        self._changed = asyncio.Event()
        self._free_at_s = 0.0  # when a thin line is done with what it was given
        self._halved = False

    async def run(self) -> None:
        """Until the end of the stream was passed on. Raises OSError when a side breaks."""
        async with asyncio.TaskGroup() as both:
            both.create_task(self._pull())
            both.create_task(self._push())

    async def _pull(self) -> None:
        """News of a broken side goes the way of the bytes: late, and not through a stall."""
        due_s = 0.0
        chunk: bytes | None = None
        while chunk or not due_s:
            try:
                chunk = await self._reader.read(CHUNK_BYTES)
            except OSError:
                chunk = None
            due_s = max(due_s, time.monotonic() + self._conditions.lateness_s())
            while self._queued_bytes >= QUEUE_BYTES:
                await self._change()
            self._queue.append((due_s, chunk))
            self._queued_bytes += len(chunk or b"")
            self._changed.set()

    async def _push(self) -> None:
        chunk: bytes | None = None
        while chunk != b"":
            while not self._queue:
                await self._change()
            due_s, chunk = self._queue.popleft()
            await _sleep_until(due_s)
            await self._conditions.flowing()
            if chunk is None:
                raise ConnectionResetError("the other side was reset")
            await self._write(chunk)
            self._queued_bytes -= len(chunk)
            self._changed.set()
        self._end()

    async def _change(self) -> None:
        self._changed.clear()
        await self._changed.wait()

    async def _write(self, chunk: bytes) -> None:
        """Write at the pace of the line, as far as the relay may carry it."""
        sent = 0
        while sent < len(chunk):
            piece = chunk[sent:]
            bytes_per_s = self._conditions.bytes_per_s
            if bytes_per_s is not None:
                piece = piece[: max(1, int(bytes_per_s * _PACE_S))]
                self._free_at_s = max(self._free_at_s, time.monotonic()) + len(piece) / bytes_per_s
                await _sleep_until(self._free_at_s)
                await self._conditions.flowing()
            allowed_bytes = self._relay.carry(len(piece))
            if not self._halved:
                self._writer.write(piece[:allowed_bytes])
                await self._writer.drain()
            if allowed_bytes < len(piece):
                raise ConnectionResetError("the connection has carried what it may")
            sent += len(piece)

    def halve(self) -> None:
        """Say that the stream has ended, and throw away what comes."""
        if not self._halved:
            self._end()
            self._halved = True

    def _end(self) -> None:
        if not self._halved and not self._writer.transport.is_closing():
            self._writer.write_eof()


async def _sleep_until(at_s: float) -> None:
    left_s = at_s - time.monotonic()
    if left_s > 0:
        await asyncio.sleep(left_s)
