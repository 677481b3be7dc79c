"""The flaky proxy and the process faults: each does what it says, and restores it."""

import asyncio
import os
import random
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import cast

import pytest

from simulator.faults.proxy import FlakyProxy, killed, paused
from simulator.socketio_client.connector import reset
from tests.e2e.socketio_client.client_drivers import DEADLINE_S, Witness, connected, running
from tests.support.waiting import until


@dataclass
class Echo:
    """A target that sends back what it gets; received: per connection, in order of arrival."""

    received: list[bytearray] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)
    writers: list[asyncio.StreamWriter] = field(default_factory=list)
    tasks: list[asyncio.Task[None]] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.tasks.append(task)
        self.writers.append(writer)
        mine = bytearray()
        self.received.append(mine)
        try:
            while data := await reader.read(65536):
                mine += data
                writer.write(data)
                await writer.drain()
            self.ended.append("end")
        except ConnectionResetError:
            self.ended.append("reset")
        finally:
            writer.close()


@asynccontextmanager
async def proxied() -> AsyncIterator[tuple[FlakyProxy, Echo]]:
    """An echo server behind a proxy."""
    echo = Echo()
    server = await asyncio.start_server(echo.serve, "127.0.0.1", 0)
    target = server.sockets[0].getsockname()[1]
    try:
        async with FlakyProxy("127.0.0.1", "127.0.0.1", target, random.Random(1)) as proxy:
            yield proxy, echo
    finally:
        server.close()
        for writer in echo.writers:
            writer.transport.abort()
        await asyncio.gather(*echo.tasks, return_exceptions=True)
        await asyncio.sleep(0)


@asynccontextmanager
async def dialled(proxy: FlakyProxy) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A client's connection to the proxy."""
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()
        await asyncio.sleep(0)


async def said_back(stream: tuple[asyncio.StreamReader, asyncio.StreamWriter], data: bytes) -> bytes:
    """Send and read as much again."""
    reader, writer = stream
    writer.write(data)
    async with asyncio.timeout(DEADLINE_S):
        return await reader.readexactly(len(data))


async def is_reset(stream: tuple[asyncio.StreamReader, asyncio.StreamWriter]) -> bool:
    """Whether the connection ends in a reset."""
    try:
        async with asyncio.timeout(DEADLINE_S):
            await stream[0].read()
    except ConnectionResetError:
        return True
    return False


async def test_bytes_pass_both_ways_unchanged() -> None:
    data = random.Random(3).randbytes(300_000)
    async with proxied() as (proxy, echo), dialled(proxy) as (reader, writer):

        async def send() -> None:
            for start in range(0, len(data), 7000):
                writer.write(data[start : start + 7000])
                await writer.drain()

        sending = asyncio.create_task(send())
        async with asyncio.timeout(DEADLINE_S):
            assert await reader.readexactly(len(data)) == data
        await sending
        assert bytes(echo.received[0]) == data


async def test_an_orderly_end_is_passed_on() -> None:
    async with proxied() as (proxy, echo), dialled(proxy) as (reader, writer):
        writer.write(b"bye")
        writer.write_eof()
        assert await reader.read() == b"bye"
        await until(lambda: echo.ended == ["end"])
        await until(lambda: proxy.connections == 0)


async def test_a_reset_is_passed_on() -> None:
    async with proxied() as (proxy, echo), dialled(proxy) as stream:
        await said_back(stream, b"a")
        reset(cast(asyncio.Transport, echo.writers[0].transport))
        assert await is_reset(stream)


async def test_a_target_that_is_down_resets_the_client() -> None:
    server = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0)
    target = server.sockets[0].getsockname()[1]
    server.close()
    async with (
        FlakyProxy("127.0.0.1", "127.0.0.1", target, random.Random(1)) as proxy,
        dialled(proxy) as stream,
    ):
        assert await is_reset(stream)


async def test_delay_makes_a_round_trip_twice_as_late_and_ends_with_the_block() -> None:
    async with proxied() as (proxy, _), dialled(proxy) as stream:
        with proxy.delay(60, jitter_ms=20):
            start_s = time.monotonic()
            await said_back(stream, b"a")
            assert time.monotonic() - start_s >= 0.12
        assert proxy._conditions.delay.value is None


async def test_jitter_keeps_the_order() -> None:
    data = bytes(range(200))
    async with proxied() as (proxy, _), dialled(proxy) as (reader, writer):
        with proxy.delay(0, jitter_ms=20):
            for byte in data:
                writer.write(bytes((byte,)))
                await writer.drain()
                await asyncio.sleep(0)
            async with asyncio.timeout(DEADLINE_S):
                assert await reader.readexactly(len(data)) == data


async def test_a_stall_holds_the_bytes_and_lets_them_go() -> None:
    async with proxied() as (proxy, echo), dialled(proxy) as stream, dialled(proxy) as other:
        await said_back(stream, b"a")
        with proxy.stall():
            stream[1].write(b"b")
            other[1].write(b"c")
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.1):
                    await stream[0].read(1)
            assert [bytes(got) for got in echo.received if b"b" in got] == []
        assert await asyncio.wait_for(stream[0].read(1), DEADLINE_S) == b"b"
        assert await asyncio.wait_for(other[0].read(1), DEADLINE_S) == b"c"


async def test_a_stalled_proxy_takes_only_so_much() -> None:
    async with proxied() as (proxy, _), dialled(proxy) as (_, writer):
        writer.transport.set_write_buffer_limits(high=1)
        with proxy.stall():
            sent = 0
            with pytest.raises(TimeoutError):
                while sent < 256 << 20:
                    async with asyncio.timeout(0.3):
                        writer.write(bytes(1 << 20))
                        sent += 1 << 20
                        await writer.drain()
            assert sent < 64 << 20


async def test_stalls_may_overlap_in_any_order() -> None:
    async with proxied() as (proxy, _), dialled(proxy) as stream:
        first, second = proxy.stall(), proxy.stall()
        first.__enter__()
        second.__enter__()
        first.__exit__(None, None, None)
        stream[1].write(b"a")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await stream[0].read(1)
        second.__exit__(None, None, None)
        assert await asyncio.wait_for(stream[0].read(1), DEADLINE_S) == b"a"


async def test_delays_may_overlap_in_any_order() -> None:
    async with proxied() as (proxy, _):
        first, second = proxy.delay(50), proxy.delay(1)
        first.__enter__()
        second.__enter__()
        first.__exit__(None, None, None)
        assert proxy._conditions.delay.value == (0.001, 0.0)
        second.__exit__(None, None, None)
        assert proxy._conditions.lateness_s() == 0


async def test_new_connections_are_left_hanging_and_old_ones_live() -> None:
    async with proxied() as (proxy, _), dialled(proxy) as old:
        await said_back(old, b"a")
        with proxy.drop_new():
            async with dialled(proxy) as new:
                new[1].write(b"b")
                assert await said_back(old, b"c") == b"c"
                await until(lambda: proxy.accepted == 2)
        async with dialled(proxy) as later:
            assert await said_back(later, b"d") == b"d"


async def test_hanging_connections_are_reset_when_the_block_ends() -> None:
    async with proxied() as (proxy, _):
        with proxy.drop_new():
            stream = await asyncio.open_connection("127.0.0.1", proxy.port)
            stream[1].write(b"b")
            await until(lambda: proxy.accepted == 1)
        assert await is_reset(stream)
        stream[1].transport.abort()


async def test_half_close_ends_one_direction_only() -> None:
    async with proxied() as (proxy, echo), dialled(proxy) as (reader, writer):
        await said_back((reader, writer), b"a")
        with proxy.half_close():
            assert await asyncio.wait_for(reader.read(), DEADLINE_S) == b""
            writer.write(b"still here")
            await until(lambda: bytes(echo.received[0]) == b"astill here")
        async with dialled(proxy) as later:
            assert await said_back(later, b"b") == b"b"


async def test_new_connections_are_halved_within_the_block() -> None:
    async with proxied() as (proxy, _):
        with proxy.half_close():
            async with dialled(proxy) as (reader, _):
                assert await asyncio.wait_for(reader.read(), DEADLINE_S) == b""


async def test_cut_resets_both_sides_and_whoever_comes() -> None:
    async with proxied() as (proxy, echo), dialled(proxy) as old:
        await said_back(old, b"a")
        with proxy.cut():
            assert await is_reset(old)
            async with dialled(proxy) as new:
                assert await is_reset(new)
        await until(lambda: echo.ended)
        assert echo.ended == ["reset"]
        async with dialled(proxy) as later:
            assert await said_back(later, b"b") == b"b"


async def test_bandwidth_takes_its_time() -> None:
    async with proxied() as (proxy, _), dialled(proxy) as stream:
        with proxy.bandwidth(20_000):
            start_s = time.monotonic()
            await said_back(stream, bytes(5_000))
            assert time.monotonic() - start_s >= 0.25
        assert proxy._conditions.bytes_per_s.value is None


async def test_reset_after_lets_so_many_bytes_through() -> None:
    async with proxied() as (proxy, echo), dialled(proxy) as stream:
        with proxy.reset_after(15):
            await said_back(stream, b"12345")
            stream[1].write(b"67890")
            assert await is_reset(stream)
        assert bytes(echo.received[0]) == b"1234567890"
        async with dialled(proxy) as later:
            assert len(await said_back(later, bytes(1000))) == 1000


async def test_a_connection_that_survived_the_block_is_unlimited_again() -> None:
    async with proxied() as (proxy, _), dialled(proxy) as stream:
        with proxy.reset_after(100):
            await said_back(stream, b"a")
        assert len(await said_back(stream, bytes(1000))) == 1000


@pytest.mark.parametrize(
    "control", ["delay", "stall", "drop_new", "half_close", "cut", "bandwidth", "reset_after"]
)
async def test_every_control_restores_when_the_block_fails(control: str) -> None:
    arguments = {"delay": [5.0], "bandwidth": [10.0], "reset_after": [3]}.get(control, [])
    async with proxied() as (proxy, _):
        with pytest.raises(ZeroDivisionError), getattr(proxy, control)(*arguments):
            raise ZeroDivisionError
        async with dialled(proxy) as stream:
            assert await said_back(stream, bytes(500)) == bytes(500)


@pytest.mark.parametrize(("control", "argument"), [("delay", -1), ("bandwidth", 0), ("reset_after", -1)])
async def test_controls_that_make_no_sense_are_refused(control: str, argument: int) -> None:
    async with proxied() as (proxy, _):
        with pytest.raises(ValueError, match=r"must|needs"), getattr(proxy, control)(argument):
            pass


async def test_leaving_the_proxy_in_a_stall_ends_its_connections() -> None:
    async with proxied() as (proxy, _):
        stream = await asyncio.open_connection("127.0.0.1", proxy.port)
        await said_back(stream, b"a")
        stall = proxy.stall()
        stall.__enter__()
        stream[1].write(b"b")
    assert await is_reset(stream)
    stall.__exit__(None, None, None)
    stream[1].transport.abort()


@pytest.mark.parametrize("transport", ["websocket", "polling"])
async def test_a_client_behind_a_cut_comes_back(transport: str) -> None:
    witness = Witness()
    with running("stock_server") as port:
        async with (
            FlakyProxy("127.0.0.1", "127.0.0.1", port, random.Random(1)) as proxy,
            connected(proxy.port, witness, transport) as client,
        ):
            with proxy.cut():
                await until(lambda: witness.disconnects)
                await until(lambda: client.counters.connect_failures)
            await until(lambda: len(witness.connects) == 2)
            assert await client.call("echo", 1, timeout_s=DEADLINE_S) == 1


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    """A process that does nothing."""
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]) as child:
        try:
            yield child
        finally:
            child.kill()


def state_of(pid: int) -> str:
    with open(f"/proc/{pid}/stat") as file:
        return file.read().rpartition(")")[2].split()[0]


async def test_a_paused_process_stands_still_and_goes_on(sleeper: subprocess.Popen[bytes]) -> None:
    with paused(sleeper.pid):
        await until(lambda: state_of(sleeper.pid) == "T")
    await until(lambda: state_of(sleeper.pid) in "RS")


async def test_a_paused_process_goes_on_when_the_block_fails(sleeper: subprocess.Popen[bytes]) -> None:
    with pytest.raises(ZeroDivisionError), paused(sleeper.pid):
        raise ZeroDivisionError
    await until(lambda: state_of(sleeper.pid) in "RS")


async def test_a_process_killed_while_paused_is_no_error(sleeper: subprocess.Popen[bytes]) -> None:
    with paused(sleeper.pid):
        sleeper.kill()
        await asyncio.to_thread(sleeper.wait)


async def test_a_killed_process_is_gone_in_the_block(sleeper: subprocess.Popen[bytes]) -> None:
    with killed(sleeper.pid):
        assert state_of(sleeper.pid) == "Z"


@pytest.mark.parametrize("pid", [-1, 0, 1])
@pytest.mark.parametrize("fault", [killed, paused])
async def test_groups_and_init_are_never_signalled(fault: object, pid: int) -> None:
    with pytest.raises(ValueError, match="not a process to break"), fault(pid):  # type: ignore[operator]
        pass


async def test_we_do_not_signal_ourselves() -> None:
    with pytest.raises(ValueError, match="not a process to break"), paused(os.getpid()):
        pass
