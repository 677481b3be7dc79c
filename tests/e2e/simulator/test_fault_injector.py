"""Faults of services: refused before the load where they cannot be, brought about, and always healed."""

import asyncio
import contextlib
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from simulator.errors import ScenarioError, SetupError
from simulator.faults.hostile_clients import HostileInputs
from simulator.faults.injector import FaultInjector
from simulator.scenario.loader import build
from simulator.scenario.models import Scenario
from simulator.socketio_client import Endpoint
from tests.support.waiting import DEADLINE_S, until

URL = "http://127.0.0.1:9"
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
SLEEPER = "import time; print('up', flush=True); time.sleep(600)"


def scenario(*faults: dict[str, Any], **services: dict[str, Any]) -> Scenario:
    return build({"duration_s": 60, "faults": list(faults), "services": services})


def state_of(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


class Keeper:
    """Keeps one process running and its number in a file, as a supervisor would."""

    def __init__(self, pid_file: Path) -> None:
        self.pid_file = pid_file
        self.process: asyncio.subprocess.Process | None = None
        self.started = 0
        self.starts_again = True

    async def run(self) -> None:
        while self.starts_again or not self.started:
            self.process = await asyncio.create_subprocess_exec(
                sys.executable, "-c", SLEEPER, stdout=asyncio.subprocess.PIPE
            )
            assert self.process.stdout is not None
            await self.process.stdout.readline()
            self.pid_file.write_text(f"{self.process.pid}\n")
            self.started += 1
            await self.process.communicate()

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid


@pytest.fixture
async def keeper(tmp_path: Path) -> AsyncIterator[Keeper]:
    keeper = Keeper(tmp_path / "service.pid")
    task = asyncio.create_task(keeper.run())
    await until(lambda: keeper.started, "the service runs")
    yield keeper
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    if keeper.process is not None and keeper.process.returncode is None:
        keeper.process.kill()
        await keeper.process.communicate()


def kept(keeper: Keeper, **more: Any) -> dict[str, Any]:
    return {"pid_file": str(keeper.pid_file), "restarts": True, **more}


@contextlib.asynccontextmanager
async def begun(wanted: Scenario) -> AsyncIterator[FaultInjector]:
    """Faults that run, without a run around them."""
    async with FaultInjector(wanted, None, URL) as faults:
        faults.start(time.monotonic_ns(), Endpoint.parse(URL))
        yield faults


@contextlib.asynccontextmanager
async def paused(keeper: Keeper) -> AsyncIterator[FaultInjector]:
    """A service that stands still, for longer than the block."""
    wanted = scenario({"kind": "pause", "target": "db", "at_s": 0, "for_s": 50}, db=kept(keeper))
    async with begun(wanted) as faults:
        await until(lambda: state_of(keeper.pid) == "T", "it stands still")
        yield faults


# ---------------------------------------------------------------- refused before the load


@pytest.mark.parametrize(
    ("fault", "services", "said"),
    [
        ({"kind": "kill", "target": "node-1"}, {}, "needs a service 'node-1' to break; known here: none"),
        ({"kind": "deploy"}, {}, "needs a service 'node-\\*'"),
        ({"kind": "stall", "target": "redis"}, {}, "needs a proxy in front of 'redis'"),
        ({"kind": "pause", "target": "db"}, {"db": {"pid": 2**22 + 7}}, "there is no process"),
        (
            {"kind": "pause", "target": "db"},
            {"db": {"pid_file": "/nowhere/x.pid"}},
            "holds no process number",
        ),
    ],
)
async def test_a_fault_that_cannot_be_is_refused_in_one_sentence(
    fault: dict[str, Any], services: dict[str, Any], said: str
) -> None:
    with pytest.raises(SetupError, match=said):
        async with FaultInjector(scenario(fault | {"at_s": 1}, **services), None, URL):
            pass


async def test_nothing_is_ended_that_nobody_starts_again(keeper: Keeper) -> None:
    wanted = scenario({"kind": "kill", "target": "db", "at_s": 1}, db=kept(keeper, restarts=False))
    with pytest.raises(SetupError, match="would end db for good"):
        async with FaultInjector(wanted, None, URL):
            pass


# ---------------------------------------------------------------- brought about and healed


@pytest.mark.parametrize("kind", ["kill", "restart", "deploy"])
async def test_a_service_that_ended_is_waited_for_until_it_is_back(keeper: Keeper, kind: str) -> None:
    wanted = scenario({"kind": kind, "target": "db", "at_s": 0}, db=kept(keeper))
    async with begun(wanted) as faults:
        await until(lambda: keeper.started == 2, "it was started again")
        await faults.finish()
    assert (faults.failures, [mark.kind for mark in faults.marks]) == ([], [kind])


async def test_a_deploy_that_the_load_does_not_outlast_is_a_failure(keeper: Keeper) -> None:
    services = {"node-1": kept(keeper), "node-2": kept(keeper)}
    wanted = scenario({"kind": "deploy", "at_s": 0, "gap_s": 50}, **services)
    async with begun(wanted) as faults:
        await until(lambda: keeper.started == 2, "the first one was started again")
        await faults.finish()
    assert "only 1 of 2 were replaced" in faults.failures[0]


async def test_a_service_that_does_not_come_back_is_a_failure(keeper: Keeper) -> None:
    keeper.starts_again = False
    wanted = scenario({"kind": "kill", "target": "db", "at_s": 0, "back_within_s": 0.3}, db=kept(keeper))
    async with begun(wanted) as faults:
        await until(lambda: faults.failures, "the fault has failed")
    assert "db did not come back within 0.3 s" in faults.failures[0]


async def test_a_paused_service_runs_on_when_the_load_is_over(keeper: Keeper) -> None:
    async with paused(keeper) as faults:
        await faults.finish()
        assert (state_of(keeper.pid) == "T", faults.failures) == (False, [])


async def test_a_paused_service_runs_on_after_an_exception(keeper: Keeper) -> None:
    with pytest.raises(ZeroDivisionError):
        async with paused(keeper):
            raise ZeroDivisionError
    assert state_of(keeper.pid) != "T"


async def test_a_paused_service_runs_on_after_a_cancellation(keeper: Keeper) -> None:

    async def hold() -> None:
        async with paused(keeper):
            await asyncio.Event().wait()

    task = asyncio.create_task(hold())
    await until(lambda: state_of(keeper.pid) == "T", "it stands still")
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert state_of(keeper.pid) != "T"


async def test_an_interrupted_run_does_not_wait_for_a_service_to_come_back(keeper: Keeper) -> None:
    keeper.starts_again = False
    wanted = scenario({"kind": "kill", "target": "db", "at_s": 0, "back_within_s": 500}, db=kept(keeper))
    async with begun(wanted) as faults:
        await until(lambda: faults.marks, "it was killed")
        await asyncio.wait_for(faults.finish(patient=False), 10)


async def test_a_flapping_service_stands_still_again_and_again(keeper: Keeper) -> None:
    flapping = {"kind": "pause", "target": "db", "at_s": 0, "for_s": 0.1, "times": 3, "gap_s": 0.1}
    async with begun(scenario(flapping, db=kept(keeper))) as faults:
        for _ in range(3):
            await until(lambda: state_of(keeper.pid) == "T", "it stands still")
            await until(lambda: state_of(keeper.pid) != "T", "it runs")
    assert faults.failures == []


async def test_faults_whose_time_has_not_come_are_left_out(keeper: Keeper) -> None:
    wanted = scenario({"kind": "kill", "target": "db", "at_s": 50}, db=kept(keeper))
    async with begun(wanted) as faults:
        await faults.finish()
    assert (faults.marks, faults.failures, keeper.started) == ([], [], 1)


# ---------------------------------------------------------------- lines


@pytest.fixture
async def echo() -> AsyncIterator[int]:
    """The port of a server that gives back what it gets."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(1_000):
                writer.write(data)
        writer.transport.abort()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]


async def asked(port: int, within_s: float = DEADLINE_S) -> bytes:
    """One round trip on a connection of its own; nothing if that takes too long, or breaks."""
    try:
        async with asyncio.timeout(within_s):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                writer.write(b"hello")
                return await reader.read(5)
            finally:
                writer.transport.abort()
    except (OSError, TimeoutError):
        return b""


@pytest.mark.parametrize("kind", ["cut", "stall", "refuse", "half_close"])
async def test_a_broken_line_carries_nothing_until_it_is_over(echo: int, kind: str) -> None:
    url = f"http://127.0.0.1:{echo}"
    async with FaultInjector(scenario({"kind": kind, "at_s": 0, "for_s": 50}), None, url) as faults:
        port = Endpoint.parse(faults.entrance(url)).port
        assert await asked(port) == b"hello"
        faults.start(time.monotonic_ns(), Endpoint.parse(url))
        await until(lambda: faults.marks, "it has begun")
        assert await asked(port, within_s=0.3) == b""
        await faults.finish()
        assert await asked(port) == b"hello"


async def test_a_proxy_stands_where_its_users_were_told(echo: int, unused_tcp_port: int) -> None:
    redis = {"proxy_to": f"127.0.0.1:{echo}", "listen": unused_tcp_port}
    wanted = scenario({"kind": "delay", "target": "redis", "at_s": 50, "ms": 1}, redis=redis)
    async with FaultInjector(wanted, None, URL):
        assert await asked(unused_tcp_port) == b"hello"


async def test_without_a_line_fault_clients_connect_to_the_server_itself() -> None:
    async with FaultInjector(scenario(), None, URL) as faults:
        assert faults.entrance(URL) == URL


# ---------------------------------------------------------------- strangers


@contextlib.asynccontextmanager
async def strangers(serve: Serve, inputs: HostileInputs | None = None) -> AsyncIterator[FaultInjector]:
    """Four of them, at a server that answers so."""
    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        hostile = {"kind": "hostile", "at_s": 0, "for_s": 50, "sockets": 4}
        async with FaultInjector(scenario(hostile), None, url) as faults:
            faults.start(time.monotonic_ns(), Endpoint.parse(url), inputs)
            yield faults


async def molested(answer: bytes) -> FaultInjector:
    """What strangers found at a server that answers everything with the same bytes."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            await reader.read(1_000)
            writer.write(answer)
            await writer.drain()
        writer.close()

    async with strangers(serve) as faults:
        await until(lambda: faults.hostile.inputs > 20, "some nonsense was sent")
        await faults.finish()
    return faults


async def test_answers_that_blame_the_server_are_counted() -> None:
    faults = await molested(b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n")
    assert faults.hostile.server_errors > 0
    assert "500 to request" in faults.marks[0].note


@pytest.mark.parametrize("head", [b"400 Bad Request", b"503 Service Unavailable\r\nRetry-After: 2"])
async def test_refusals_blame_nobody(head: bytes) -> None:
    faults = await molested(b"HTTP/1.1 " + head + b"\r\nContent-Length: 0\r\n\r\n")
    assert (faults.hostile.server_errors, faults.failures) == (0, [])


async def test_some_strangers_have_an_account() -> None:
    heard: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            await reader.read(2_000)
            writer.write(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n")
            heard.append(await reader.read(2_000))
        writer.close()

    async with strangers(serve, HostileInputs(account={"token": "of a stranger"})):
        await until(lambda: any(b"of a stranger" in each for each in heard), "one said who it is")


def test_the_tables_say_what_is_wrong_with_them() -> None:
    with pytest.raises(ScenarioError, match="both proxy_to and listen"):
        build({"services": {"redis": {"proxy_to": "127.0.0.1:1"}}})
