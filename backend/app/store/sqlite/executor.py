"""Executors: threads that own one SQLite connection each and work off one bounded queue of jobs in batches.

The event loop never waits for a disk. A batch is whatever is waiting when a thread becomes free. The busier
the store, the more calls share one commit (`commit_together`) or one consistent view (`read_together`).
"""

import asyncio
import queue
import sqlite3
import threading
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from ...contracts.errors import Code
from ...errors import RefusedError, UnavailableError, VouchstormError
from ..batch import Waiting, busy, settle

T = TypeVar("T")
Task = Callable[[sqlite3.Connection], T]
Job = Waiting[Task[Any], Any]
BatchRunner = Callable[[sqlite3.Connection, Sequence[Job]], list[Any]]
"""Each job's result or error, in order."""


def translate(error: Exception) -> Exception:
    """What a caller of the store sees for an error inside it; unknown ones (bugs) stay as they are."""
    if isinstance(error, VouchstormError):
        return error
    if isinstance(error, sqlite3.IntegrityError):
        translated: Exception = RefusedError("That contradicts what is already stored.", Code.INVALID_INPUT)
    elif isinstance(error, sqlite3.Error):
        translated = UnavailableError(f"The store could not answer: {error}.")
    else:
        return error
    translated.__cause__ = error
    return translated


def commit_together(connection: sqlite3.Connection, jobs: Sequence[Job]) -> list[Any]:
    """Run jobs in one transaction: a refused job is undone alone, a failed commit fails them all.

    Nothing is reported as done before the commit is on disk.
    """
    try:
        if connection.in_transaction:
            connection.execute("ROLLBACK")  # left over from a batch whose own rollback failed
        connection.execute("BEGIN IMMEDIATE")
        results = []
        for job in jobs:
            results.append(_in_savepoint(connection, job))
            if not connection.in_transaction:
                # SQLite itself rolled everything back (disk full, I/O error): no job of the batch is stored.
                raise sqlite3.OperationalError(str(results[-1]))
        connection.execute("COMMIT")
    except sqlite3.Error as error:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        return [translate(error) for _ in jobs]
    return results


def _in_savepoint(connection: sqlite3.Connection, job: Job) -> Any:
    connection.execute("SAVEPOINT job")
    result = _attempt(connection, job)
    if connection.in_transaction:
        if isinstance(result, Exception):
            connection.execute("ROLLBACK TO job")
        connection.execute("RELEASE job")
    return result


def read_together(connection: sqlite3.Connection, jobs: Sequence[Job]) -> list[Any]:
    """Run read-only jobs on one consistent view, taken after all of them were asked for."""
    connection.execute("BEGIN")
    try:
        return [_attempt(connection, job) for job in jobs]
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def _attempt(connection: sqlite3.Connection, job: Job) -> Any:
    try:
        return job.value(connection)
    except Exception as error:  # noqa: BLE001 - belongs to the caller; handed over, never swallowed
        return translate(error)


class Executor:
    """Owned threads over one queue; started and stopped by its owner, on one event loop."""

    def __init__(
        self,
        name: str,
        connect: Callable[[], sqlite3.Connection],
        run_batch: BatchRunner,
        *,
        threads: int,
        batch_jobs: int,
        depth_jobs: int,
    ) -> None:
        """batch_jobs: most jobs per batch. depth_jobs: most jobs waiting; more are refused as unavailable."""
        self._name = name
        self._connect = connect
        self._run_batch = run_batch
        self._batch_jobs = batch_jobs
        self._jobs: queue.Queue[Job | None] = queue.Queue()
        self._depth_jobs = depth_jobs
        self._thread_count = threads
        self._threads: list[threading.Thread] = []
        self._loop: asyncio.AbstractEventLoop | None = None

    async def start(self) -> None:
        """Start the threads; return when each has its connection. Raises what `connect` raised."""
        loop = self._loop = asyncio.get_running_loop()
        opened: list[asyncio.Future[None]] = []
        for number in range(self._thread_count):
            opened.append(loop.create_future())
            ready = Waiting(None, opened[-1])
            name = f"{self._name}-{number}"
            self._threads.append(
                threading.Thread(target=self._work, args=(loop, ready), name=name, daemon=True)
            )
            self._threads[-1].start()
        failures = [item for item in await asyncio.gather(*opened, return_exceptions=True) if item]
        if failures:
            await self.stop()
            raise failures[0]

    async def stop(self) -> None:
        """Finish the queued jobs and end the threads. Idempotent."""
        threads, self._threads = self._threads, []
        for _ in threads:
            self._jobs.put(None)
        for thread in threads:
            await asyncio.to_thread(thread.join)

    async def call(self, task: Task[T], timeout_s: float) -> T:
        """Run `task` on one of the threads.

        Raises:
            UnavailableError: not started, too many calls waiting, or no result within `timeout_s`; a job that
                has not begun by then never runs.
        """
        if not self._threads or self._loop is None:
            raise UnavailableError("The store is not open.")
        if self._jobs.qsize() >= self._depth_jobs:
            raise busy()
        job: Waiting[Task[T], T] = Waiting(task, self._loop.create_future())
        self._jobs.put(job)
        return await job.result(timeout_s)

    def _work(self, loop: asyncio.AbstractEventLoop, ready: Waiting[None, None]) -> None:
        try:
            connection = self._connect()
        except Exception as error:  # noqa: BLE001 - handed to start()
            _post(loop, [ready], [error])
            return
        _post(loop, [ready], [None])
        try:
            while (batch := self._next_batch()) is not None:
                if batch:
                    _post(loop, batch, self._run(connection, batch))
        finally:
            connection.close()

    def _run(self, connection: sqlite3.Connection, batch: list[Job]) -> list[Any]:
        try:
            return self._run_batch(connection, batch)
        except sqlite3.Error as error:
            return [translate(error) for _ in batch]

    def _next_batch(self) -> list[Job] | None:
        """All waiting jobs up to the bound, without those given up meanwhile; None: stop."""
        job = self._jobs.get()
        batch: list[Job] = []
        while job is not None:
            if not job.future.cancelled():
                batch.append(job)
            if len(batch) >= self._batch_jobs:
                return batch
            try:
                job = self._jobs.get_nowait()
            except queue.Empty:
                return batch
        if batch:
            self._jobs.put(None)
            return batch
        return None


def _post(loop: asyncio.AbstractEventLoop, batch: Sequence[Waiting[Any, Any]], results: list[Any]) -> None:
    try:
        loop.call_soon_threadsafe(settle, batch, results)
    except RuntimeError:
        # The loop is closed: nobody is left to be told. The work itself is done and durable.
        return
