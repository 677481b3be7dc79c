"""Executors: batches that share a commit, refused jobs, jobs given up, full queues."""

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from backend.app.errors import RefusedError, UnavailableError
from backend.app.store.batch import Waiting
from backend.app.store.sqlite.connection import connect_writer
from backend.app.store.sqlite.executor import Executor, Job, commit_together


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


@asynccontextmanager
async def executor(path: Path, **bounds: int) -> AsyncIterator[Executor]:
    sizes = {"threads": 1, "batch_jobs": 64, "depth_jobs": 100, **bounds}
    made = Executor("test", lambda: connect_writer(path, 5), commit_together, **sizes)
    await made.start()
    try:
        yield made
    finally:
        await made.stop()


class Gate:
    """Holds a job on its thread until opened."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self.opened = threading.Event()

    def wait(self) -> None:
        self.reached.set()
        assert self.opened.wait(20)


def put(key: str, gate: Gate | None = None) -> Callable[[sqlite3.Connection], str]:
    def task(connection: sqlite3.Connection) -> str:
        if gate is not None:
            gate.wait()
        connection.execute("INSERT INTO meta (key, value) VALUES (?, '')", (key,))
        return key

    return task


def keys(connection: sqlite3.Connection) -> set[str]:
    return {key for (key,) in connection.execute("SELECT key FROM meta")}


async def test_a_refused_job_does_not_disturb_its_batch(path: Path) -> None:
    async with executor(path) as writer:
        calls = [writer.call(put(key), 5) for key in ("a", "b", "a", "c")]
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
        assert [item if isinstance(item, str) else type(item) for item in outcomes] == [
            "a",
            "b",
            RefusedError,
            "c",
        ]
        assert await writer.call(keys, 5) == {"a", "b", "c"}


async def test_a_job_that_was_given_up_never_runs(path: Path) -> None:
    gate = Gate()
    async with executor(path, batch_jobs=1) as writer:
        first = asyncio.create_task(writer.call(put("first", gate), 20))
        assert await asyncio.to_thread(gate.reached.wait, 20)
        with pytest.raises(UnavailableError):
            await writer.call(put("late"), 0.05)
        gate.opened.set()
        await first
        assert await writer.call(keys, 5) == {"first"}


async def test_too_many_waiting_jobs_are_refused(path: Path) -> None:
    gate = Gate()
    async with executor(path, batch_jobs=1, depth_jobs=3) as writer:
        calls = [asyncio.create_task(writer.call(put(f"k{n}", gate), 20)) for n in range(10)]
        done, _ = await asyncio.wait(calls, return_when=asyncio.FIRST_EXCEPTION)
        assert {type(call.exception()) for call in done} == {UnavailableError}
        gate.opened.set()
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
        assert await writer.call(keys, 5) == {item for item in outcomes if isinstance(item, str)}


async def test_a_bug_in_a_job_reaches_its_caller(path: Path) -> None:
    async with executor(path) as writer:
        with pytest.raises(ZeroDivisionError):
            await writer.call(lambda _: 1 / 0, 5)
        assert await writer.call(put("next"), 5) == "next"


async def test_a_failed_commit_fails_the_whole_batch(path: Path) -> None:
    loop = asyncio.get_running_loop()
    connection = connect_writer(path, 1)
    jobs: list[Job] = [
        Waiting(put("a"), loop.create_future()),
        Waiting(lambda held: held.execute("ROLLBACK"), loop.create_future()),
    ]
    outcomes = commit_together(connection, jobs)
    assert [type(outcome) for outcome in outcomes] == [UnavailableError, UnavailableError]
    assert keys(connection) == set()
    connection.close()
