"""The heartbeat sweep: one timer for all, no deadline noticed early, none missed."""

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator

from simulator.socketio_client import HeartbeatSweep

DEADLINE_S = 10.0


class Watched:
    """An entry that notes when it was called."""

    def __init__(self, in_s: float) -> None:
        self.deadline_ns = time.monotonic_ns() + int(in_s * 1e9)
        self.bucket = -1
        self.passed = asyncio.Event()
        self.passed_ns = 0

    def deadline_passed(self, at_ns: int) -> None:
        self.passed_ns = at_ns
        self.passed.set()


async def test_a_deadline_is_noticed_and_not_early() -> None:
    sweep, entry = HeartbeatSweep(0.01), Watched(0.05)
    sweep.watch(entry)
    await asyncio.wait_for(entry.passed.wait(), DEADLINE_S)
    assert entry.passed_ns >= entry.deadline_ns


async def test_a_deadline_that_moves_is_followed() -> None:
    sweep, entry = HeartbeatSweep(0.01), Watched(0.05)
    sweep.watch(entry)
    entry.deadline_ns += 100_000_000
    await asyncio.wait_for(entry.passed.wait(), DEADLINE_S)
    assert entry.passed_ns >= entry.deadline_ns


async def test_a_forgotten_entry_is_never_called() -> None:
    sweep, forgotten, other = HeartbeatSweep(0.01), Watched(0.03), Watched(0.1)
    sweep.watch(forgotten)
    sweep.watch(other)
    sweep.forget(forgotten)
    await asyncio.wait_for(other.passed.wait(), DEADLINE_S)
    assert not forgotten.passed.is_set()


async def test_an_entry_forgotten_by_its_neighbour_in_the_same_tick_is_not_called() -> None:
    sweep, last = HeartbeatSweep(0.01), Watched(0.3)
    first, second = Watched(0.0), Watched(0.0)
    first.deadline_passed = lambda at_ns: sweep.forget(second)  # type: ignore[method-assign]
    second.deadline_passed = lambda at_ns: sweep.forget(first)  # type: ignore[method-assign]
    called: list[int] = []
    for entry in (first, second):
        inner = entry.deadline_passed
        entry.deadline_passed = lambda at_ns, inner=inner: (called.append(at_ns), inner(at_ns))  # type: ignore[method-assign,misc]
        sweep.watch(entry)
    sweep.watch(last)
    await asyncio.wait_for(last.passed.wait(), DEADLINE_S)
    assert len(called) == 1


async def test_watching_twice_is_watching_once() -> None:
    sweep, entry = HeartbeatSweep(), Watched(100)
    sweep.watch(entry)
    sweep.watch(entry)
    assert len(sweep) == 1
    sweep.close()


async def test_an_idle_sweep_keeps_no_timer() -> None:
    sweep, entry = HeartbeatSweep(0.01), Watched(100)
    sweep.watch(entry)
    sweep.forget(entry)
    loop = asyncio.get_running_loop()
    assert [handle for handle in loop._scheduled if not handle.cancelled()] == []  # type: ignore[attr-defined]


async def test_a_swept_out_wheel_starts_again() -> None:
    sweep, first = HeartbeatSweep(0.01), Watched(0.0)
    sweep.watch(first)
    await asyncio.wait_for(first.passed.wait(), DEADLINE_S)
    second = Watched(0.0)
    sweep.watch(second)
    await asyncio.wait_for(second.passed.wait(), DEADLINE_S)


async def test_closing_forgets_all() -> None:
    sweep, entry = HeartbeatSweep(0.01), Watched(100)
    sweep.watch(entry)
    sweep.close()
    assert (len(sweep), entry.bucket) == (0, -1)


async def test_a_sleeping_process_blames_itself_first() -> None:
    """A loop that was blocked past a deadline reads what came in the meantime before it calls a peer dead."""
    sweep, entry = HeartbeatSweep(0.02), Watched(0.05)
    async with _peer() as (reader, peer):
        beating = asyncio.create_task(_heartbeat(reader, entry))
        await _late_ticks(sweep, entry, 1)
        peer.send(b"2")
        time.sleep(0.3)  # noqa: ASYNC251 - blocking the loop is the case under test
        await beating
        later = Watched(0.1)
        sweep.watch(later)
        await asyncio.wait_for(later.passed.wait(), DEADLINE_S)
    assert not entry.passed.is_set()
    sweep.close()


async def test_a_process_that_is_late_all_the_time_still_notices_the_dead() -> None:
    sweep, entry = HeartbeatSweep(0.01), Watched(0.0)
    sweep.watch(entry)
    while not entry.passed.is_set():
        time.sleep(0.03)  # noqa: ASYNC251 - each tick is late
        await asyncio.sleep(0)
    assert entry.passed_ns >= entry.deadline_ns


async def _heartbeat(reader: asyncio.StreamReader, entry: Watched) -> None:
    await reader.read(1)
    entry.deadline_ns = time.monotonic_ns() + 10**12


async def _late_ticks(sweep: HeartbeatSweep, entry: Watched, count: int) -> None:
    """Let the entry's deadline and as many late ticks pass; the next tick is late, too."""
    sweep.watch(entry)
    for _ in range(count):
        time.sleep(0.06)  # noqa: ASYNC251 - the tick is late
        await asyncio.sleep(0)
        await asyncio.sleep(0)


@contextlib.asynccontextmanager
async def _peer() -> AsyncIterator[tuple[asyncio.StreamReader, socket.socket]]:
    ours, theirs = socket.socketpair()
    reader, writer = await asyncio.open_connection(sock=ours)
    try:
        yield reader, theirs
    finally:
        writer.close()
        await writer.wait_closed()
        theirs.close()
