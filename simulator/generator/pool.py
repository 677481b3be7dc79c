"""All clients of a run, in however many processes: asked and told as one.

A worker whose process dies, falls silent or fails at what it is asked is lost: each call ends with a
`WorkerLostError`, and `gone` is told once. The run goes on to its end with the rest, so that there is
something to look at, and its verdict is INVALID.
"""

import asyncio
import contextlib
import os
import socket
import sys
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, Protocol, Self, TypeVar

from ..errors import GeneratorLimitError
from ..processes import DEVNULL, PIPE, AsyncChild, Program, exit_reason
from ..profiles.base import Fact
from .ipc import Answer, Call, Channel, ChannelError, Note, Progress, WorkerOrder
from .worker import Closing, Worker
from .worker_report import ConnectionCounts, Sample, WorkerReport

START_TIMEOUT_S = 60.0
ANSWER_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 40.0
TIMEOUTS_S: dict[str, float | None] = {
    "connect": None,  # these three are bounded by whoever runs the phases
    "settled": None,
    "nudge": None,
    "close": 300.0,
    "stop": STOP_TIMEOUT_S,
}
END_KNOWN_S = 5.0
"""From a broken channel to how the process ended."""
TAIL_LINES = 5
PACKAGE_PARENT = Path(__file__).resolve().parents[2]
P = ParamSpec("P")
T = TypeVar("T")


class WorkerLostError(Exception):
    """The process is gone or does not answer; the message says how, in one sentence."""


class RemoteWorker:
    """A worker in a process of its own: `async with RemoteWorker(order, gone, note) as worker:`.

    gone: called once when the process is lost before its time. note: what it wants a person to know.
    """

    def __init__(self, order: WorkerOrder, gone: Callable[[str], None], note: Callable[[str], None]) -> None:
        self.part = order.part
        self.progress: Callable[[int], None] = lambda done: None
        self._order = order
        self._gone = gone
        self._note = note
        self._ready: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting = {0: self._ready}
        self._calls = 0
        self._tail: deque[str] = deque(maxlen=TAIL_LINES)
        self._tasks: set[asyncio.Task[None]] = set()
        self._lost = ""
        self._leaving = False
        self._channel: Channel
        self._child: AsyncChild

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._child.pid

    async def __aenter__(self) -> Self:
        ours, theirs = socket.socketpair()
        path = os.pathsep.join([str(PACKAGE_PARENT), *filter(None, [os.environ.get("PYTHONPATH")])])
        try:
            # Not a `multiprocessing.Process`: it starts a second helper process and does not keep what a
            # dying child says on standard error.
            self._child = await Program(
                [sys.executable, "-m", "simulator.generator.worker_process", str(theirs.fileno())],
                env={"PYTHONPATH": path},
                stdout=DEVNULL,
                stderr=PIPE,
                tied=False,  # the end of its channel ends it
                fds=(theirs.fileno(),),
            ).spawn()
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        self._channel = Channel(ours, self._heard, lambda: self._start(self._ended()))
        self._start(self._read_errors())
        try:
            self._channel.send(self._order)
            await asyncio.wait_for(asyncio.shield(self._ready), START_TIMEOUT_S)
        except (TimeoutError, ChannelError, WorkerLostError) as error:
            await self._end()
            raise GeneratorLimitError(
                f"A process of the generator did not start: {self._lost or error}"
            ) from error
        except BaseException:
            await self._end()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._end()

    def published(self, fact: Fact) -> None:
        """A message was accepted by the server."""
        if not self._lost:
            with contextlib.suppress(ChannelError):  # `_ended` finds out how the process ended
                self._channel.send(Call(0, "published", (fact,)))

    async def ask(self, name: str, *args: Any, **kwargs: Any) -> Any:
        """What the worker's method of that name returns. Raises WorkerLostError."""
        if self._lost:
            raise WorkerLostError(self._lost)
        self._leaving = self._leaving or name == "stop"
        self._calls += 1
        number, timeout_s = self._calls, TIMEOUTS_S.get(name, ANSWER_TIMEOUT_S)
        answer = self._waiting[number] = asyncio.get_running_loop().create_future()
        try:
            self._channel.send(Call(number, name, args, kwargs))
            return await asyncio.wait_for(answer, timeout_s)
        except TimeoutError:
            self._lose(f"it did not answer {name!r} within {timeout_s:g} s")
        except ChannelError as error:
            # Its end is known in a moment, and says more than that it is gone.
            await asyncio.wait(self._tasks, timeout=END_KNOWN_S)
            self._lose(str(error))
        finally:
            del self._waiting[number]
        raise WorkerLostError(self._lost)

    def _heard(self, message: Answer | Progress | Note) -> None:
        match message:
            case Progress():
                self.progress(message.done)
            case Note():
                self._note(message.text)
            case Answer():
                waiting = self._waiting.get(message.number)
                if waiting is None or waiting.done():
                    return
                if message.failure:
                    self._lose(f"its answer failed ({message.failure})")
                else:
                    waiting.set_result(message.value)

    async def _ended(self) -> None:
        status = await self._child.process.wait()
        await asyncio.sleep(0)  # its last words on standard error
        said = f" ({' / '.join(self._tail)})" if self._tail and status > 0 else ""
        self._lose(f"it {exit_reason(status)}{said}")

    def _lose(self, how: str) -> None:
        if self._lost:
            return
        part = self.part
        self._lost = (
            f"Process {part.number + 1} of {part.of}, which held {part.count} clients, was lost: {how}."
        )
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_exception(WorkerLostError(self._lost))
        if not self._leaving:
            self._gone(self._lost)

    async def _read_errors(self) -> None:
        stream = self._child.process.stderr
        while stream is not None and (line := await stream.read(65_536)):
            self._tail.extend(line.decode(errors="replace").splitlines())

    async def _end(self) -> None:
        """Close the channel, which ends the process; kill it when that does not help."""
        self._leaving = True
        self._channel.close()
        try:
            await asyncio.wait_for(self._child.process.wait(), STOP_TIMEOUT_S)
        except TimeoutError:
            pass
        finally:
            for task in self._tasks:
                task.cancel()
            await self._child.kill()  # it did not help, or nobody waits any longer
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _start(self, work: "asyncio._CoroutineLike[None]") -> None:
        self._tasks.add(asyncio.get_running_loop().create_task(work))


async def start_all(stack: contextlib.AsyncExitStack, workers: Sequence[RemoteWorker]) -> list[RemoteWorker]:
    """All processes at once, ended with the stack. Raises GeneratorLimitError once none is starting."""
    results = await asyncio.gather(*map(stack.enter_async_context, workers), return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return list(workers)


class _Addable(Protocol):
    def add(self, other: Self, /) -> None: ...


A = TypeVar("A", bound=_Addable)


def _sum(whole: A, parts: Iterable[A]) -> A:
    for part in parts:
        whole.add(part)
    return whole


class WorkerPool:
    """workers: all of them, in order. peak: the most clients that were seen connected at once."""

    def __init__(self, workers: Sequence[Worker | RemoteWorker]) -> None:
        self.workers = workers
        self.peak = 0
        self._lost: set[int] = set()

    async def ask(
        self, method: Callable[Concatenate[Worker, P], Awaitable[T]], *args: P.args, **kwargs: P.kwargs
    ) -> list[T]:
        """What each worker that is left answers, in order."""

        async def one(worker: Worker | RemoteWorker) -> list[T]:
            if isinstance(worker, Worker):
                return [await method(worker, *args, **kwargs)]
            try:
                return [await worker.ask(method.__name__, *args, **kwargs)]
            except WorkerLostError:
                self._lost.add(worker.part.number)
                return []

        left = [worker for worker in self.workers if worker.part.number not in self._lost]
        return [answer for answers in await asyncio.gather(*map(one, left)) for answer in answers]

    def published(self, fact: Fact) -> None:
        """A message was accepted by the server: owed from now on."""
        for worker in self.workers:
            worker.published(fact)

    async def connect(self, progress: Callable[[int, int], None]) -> None:
        """Connect everybody; progress: told how many have tried, of how many."""
        done = {worker.part.number: 0 for worker in self.workers}
        total = sum(worker.part.count for worker in self.workers)

        def tell(number: int, count: int) -> None:
            done[number] = count
            progress(sum(done.values()), total)

        for worker in self.workers:
            worker.progress = partial(tell, worker.part.number)
        await self.ask(Worker.connect)
        await self.sample()

    async def sample(self) -> Sample:
        """How it stands now in all processes together, with what came in since this was last asked."""
        whole = _sum(Sample(), await self.ask(Worker.sample, look=True))
        self.peak = max(self.peak, whole.connected)
        return whole

    async def connections(self) -> ConnectionCounts:
        """What became of the connections so far."""
        return _sum(ConnectionCounts(), await self.ask(Worker.connections))

    async def close(self, closing: Closing) -> WorkerReport | None:
        """What all processes found together; None when none is left."""
        reports = await self.ask(Worker.close, closing)
        return _sum(reports[0], reports[1:]) if reports else None
