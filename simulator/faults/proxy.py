"""Faults on purpose: a flaky TCP proxy, and signals to processes.

The proxy stands in front of a node, Redis or MongoDB where nothing may be killed. Every control is a context
manager that restores what it changed, whatever happens inside; controls of different kinds may overlap.
It works on byte streams between two real sockets: it cannot lose, reorder or corrupt packets as a network
can, both sides see their acknowledgements at once, and the kernel's buffers on either side of it come on top
of its own.
"""

import asyncio
import contextlib
import os
import random
import signal
import time
from collections import deque
from collections.abc import Iterator
from types import TracebackType
from typing import Final, Generic, TypeVar, cast

import psutil

from ..socketio_client.connector import reset

CHUNK_BYTES: Final = 16 * 1024
QUEUE_BYTES: Final = 64 * 1024
CLOSE_GRACE_S: Final = 1.0
_PACE_S: Final = 0.05  # a thin line carries what fits into so much time at once
KILL_DEADLINE_S: Final = 5.0
_POLL_S: Final = 0.01
Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]
T = TypeVar("T")


class _Newest(Generic[T]):
    """A setting of which several may hold at a time: the newest wins, in whatever order they end."""

    def __init__(self) -> None:
        self._set: dict[object, T] = {}

    @contextlib.contextmanager
    def set(self, value: T) -> Iterator[None]:
        """The value holds in the block."""
        key = object()
        self._set[key] = value
        try:
            yield
        finally:
            del self._set[key]

    @property
    def value(self) -> T | None:
        """What holds now."""
        return next(reversed(self._set.values()), None)


class _Conditions:
    """What all connections of a proxy obey. delay: in seconds, and the most that chance adds."""

    def __init__(self, rng: random.Random) -> None:
        self.delay = _Newest[tuple[float, float]]()
        self.bytes_per_s = _Newest[float]()
        self.stalls = 0
        self.flowing = asyncio.Event()
        self.flowing.set()
        self._rng = rng

    def lateness_s(self) -> float:
        """How late a chunk that is read now must be."""
        if self.delay.value is None:
            return 0.0
        delay_s, jitter_s = self.delay.value
        return delay_s + jitter_s * self._rng.random()


class Relay:
    """Carries bytes between one client and the target until both ended, one broke, or `abort`."""

    def __init__(
        self, conditions: _Conditions, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
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
            await self._conditions.flowing.wait()
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
                _reset(stream[1])

    def abort(self) -> None:
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
        self,
        relay: Relay,
        conditions: _Conditions,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
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
            await self._conditions.flowing.wait()
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
            bytes_per_s = self._conditions.bytes_per_s.value
            if bytes_per_s is not None:
                piece = piece[: max(1, int(bytes_per_s * _PACE_S))]
                self._free_at_s = max(self._free_at_s, time.monotonic()) + len(piece) / bytes_per_s
                await _sleep_until(self._free_at_s)
                await self._conditions.flowing.wait()
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


class FlakyProxy:
    """A TCP proxy on a port of its own: `async with FlakyProxy("127.0.0.1", host, port, rng) as proxy:`.

    Connect to `proxy.port`; with no control active it passes bytes on as they come. Memory is bounded to
    64 KiB and direction: when one side does not read, the other is no longer read.
    """

    def __init__(
        self,
        listen_host: str,
        target_host: str,
        target_port: int,
        rng: random.Random,
        *,
        listen_port: int = 0,
    ) -> None:
        """rng: for the jitter of `delay`. listen_port: 0 takes a free one."""
        self._listen = (listen_host, listen_port)
        self._target = (target_host, target_port)
        self._conditions = _Conditions(rng)
        self._relays: set[Relay] = set()
        self._server: asyncio.Server | None = None
        self._refusing = 0  # how many cut() are active
        self._ignoring = 0  # how many drop_new() are active
        self._ignored: set[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = set()
        self._halved = 0  # how many half_close() are active
        self._limit_bytes = _Newest[int]()
        self.port = listen_port
        self.accepted = 0

    @property
    def connections(self) -> int:
        """How many connections are carried now."""
        return len(self._relays)

    async def __aenter__(self) -> "FlakyProxy":
        self._server = await asyncio.start_server(self._serve, *self._listen, backlog=1024, limit=CHUNK_BYTES)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._server is not None:
            self._server.close()
        self._abort_ignored()
        relays = list(self._relays)
        for relay in relays:
            relay.abort()
        for relay in relays:
            await relay.ended.wait()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        if self._refusing:
            _reset(writer)
            return
        if self._ignoring:
            self._ignored.add((reader, writer))
            return
        relay = Relay(self._conditions, reader, writer)
        self._relays.add(relay)
        try:
            relay.reset_after(self._limit_bytes.value)
            await relay.run(*self._target, halved=bool(self._halved))
        finally:
            self._relays.discard(relay)

    def _abort_ignored(self) -> None:
        ignored, self._ignored = self._ignored, set()
        for _, writer in ignored:
            _reset(writer)

    # -- controls ---------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def delay(self, ms: float, jitter_ms: float = 0.0) -> Iterator[None]:
        """Bytes arrive `ms` later, plus up to `jitter_ms`, in both directions and in order.

        Imitates a far or congested path. Unrealistic: the TCP handshake and acknowledgements are not
        delayed, and jitter never reorders. Of several delays the newest holds.
        """
        if ms < 0 or jitter_ms < 0:
            raise ValueError("a delay must not be negative")
        with self._conditions.delay.set((ms / 1e3, jitter_ms / 1e3)):
            yield

    @contextlib.contextmanager
    def bandwidth(self, bytes_per_s: float) -> Iterator[None]:
        """Each connection carries at most so many bytes a second in each direction.

        Imitates a thin line of each client's own; not a shared bottleneck, where clients compete.
        """
        if bytes_per_s <= 0:
            raise ValueError("bandwidth must be positive; use stall() for nothing at all")
        with self._conditions.bytes_per_s.set(bytes_per_s):
            yield

    @contextlib.contextmanager
    def stall(self) -> Iterator[None]:
        """Bytes stop flowing both ways, connections stay; what piled up flows when the block ends.

        Imitates a hung server or middlebox, and a partition that heals. Unrealistic for a partition longer
        than the kernel's retransmission timeouts: here connections never break by themselves.
        """
        conditions = self._conditions
        conditions.stalls += 1
        conditions.flowing.clear()
        try:
            yield
        finally:
            conditions.stalls -= 1
            if not conditions.stalls:
                conditions.flowing.set()

    @contextlib.contextmanager
    def drop_new(self) -> Iterator[None]:
        """New connections are accepted and never served, then reset when the block ends; old ones live on.

        Imitates a server that accepts and hangs. Not a firewall that drops SYNs: there the connect itself
        would time out.
        """
        self._ignoring += 1
        try:
            yield
        finally:
            self._ignoring -= 1
            if not self._ignoring:
                self._abort_ignored()

    @contextlib.contextmanager
    def half_close(self) -> Iterator[None]:
        """The client is told that the server has ended (FIN), while its own bytes still reach the server.

        Imitates a middlebox or server that shuts down one direction and forgets the other. Connections that
        are halved stay so after the block; during it new ones are halved at once.
        """
        self._halved += 1
        try:
            for relay in self._relays:
                relay.halve()
            yield
        finally:
            self._halved -= 1

    @contextlib.contextmanager
    def cut(self) -> Iterator[None]:
        """Every connection is reset on both sides, and every new one until the block ends.

        Imitates a crashed middlebox or a killed process behind one. A cable that is pulled sends no resets:
        that is `stall`.
        """
        self._refusing += 1
        try:
            for relay in list(self._relays):
                relay.abort()
            yield
        finally:
            self._refusing -= 1

    @contextlib.contextmanager
    def reset_after(self, n_bytes: int) -> Iterator[None]:
        """Each connection is reset once it carried `n_bytes` more, both directions together, in the block.

        Imitates a middlebox with a limit, and finds code that cannot bear an end in the middle of a message.
        """
        if n_bytes < 0:
            raise ValueError("reset_after needs a number of bytes that is not negative")
        try:
            with self._limit_bytes.set(n_bytes):
                for relay in list(self._relays):
                    relay.reset_after(n_bytes)
                yield
        finally:
            for relay in self._relays:
                relay.reset_after(self._limit_bytes.value)


@contextlib.contextmanager
def killed(pid: int) -> Iterator[None]:
    """SIGKILL; the block begins when the process is gone (or is a zombie that its parent must reap).

    Imitates a crash, the OOM killer or a lost container. There is nothing to restore: starting the process
    again is its owner's work. Raises ProcessLookupError, PermissionError, TimeoutError. Blocks the calling
    thread for some milliseconds while the process dies.
    """
    _check(pid)
    os.kill(pid, signal.SIGKILL)
    deadline_s = time.monotonic() + KILL_DEADLINE_S
    while not is_gone(pid):
        if time.monotonic() > deadline_s:
            raise TimeoutError(f"process {pid} did not die within {KILL_DEADLINE_S:g} s of SIGKILL")
        time.sleep(_POLL_S)
    yield


@contextlib.contextmanager
def paused(pid: int) -> Iterator[None]:
    """SIGSTOP, and SIGCONT at the end whatever happens.

    Imitates a hung process, a long garbage collection, a starved or migrated machine: its sockets stay open
    and its kernel goes on accepting connections and bytes. Raises ProcessLookupError, PermissionError.
    """
    _check(pid)
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):  # killed in the meantime
            os.kill(pid, signal.SIGCONT)


def _reset(writer: asyncio.StreamWriter) -> None:
    reset(cast(asyncio.Transport, writer.transport))


def _check(pid: int) -> None:
    """Signals to groups, to init and to ourselves are never meant."""
    if pid <= 1 or pid in (os.getpid(), os.getppid()):
        raise ValueError(f"{pid} is not a process to break: only children and services of the run are")


def is_gone(pid: int) -> bool:
    """Dead, or a zombie that its parent must reap."""
    try:
        return psutil.Process(pid).status() in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)
    except psutil.NoSuchProcess:
        return True
