"""A shard in a process of its own, as the first process sees it: started, asked, told, ended.

Every wait is bounded. A process that dies, falls silent or fails at what it is asked is lost: each question
ends with a `ShardLostError`, and `gone` is told once. Called by the crowd.
"""

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar

from ..errors import GeneratorLimitError
from .ipc import Answer, Note, Order, Pipe, PipeError, Progress, Question, Slice
from .publisher import Fact
from .worker import Closing
from .worker_report import Roll, Sample, Statement

START_TIMEOUT_S = 60.0
ANSWER_TIMEOUT_S = 30.0
CLOSE_TIMEOUT_S = 300.0
STOP_TIMEOUT_S = 40.0
END_KNOWN_S = 5.0
"""From a broken pipe to how the process ended."""
TAIL_LINES = 5
PACKAGE_PARENT = Path(__file__).resolve().parents[2]


class ShardLostError(Exception):
    """The process is gone or does not answer; the message says how, in one sentence."""


class RemoteShard:
    """`async with RemoteShard(order, gone, note) as shard:` starts the process and ends it.

    gone: called once when the process is lost before its time. note: what it wants a person to know.
    """

    def __init__(self, order: Order, gone: Callable[[str], None], note: Callable[[str], None]) -> None:
        self.part: Slice = order.part
        self._order = order
        self._gone = gone
        self._note = note
        self._waiting: dict[int, asyncio.Future[Any]] = {0: asyncio.get_running_loop().create_future()}
        self._progress: dict[int, Callable[[int], None]] = {}
        self._asked = 0
        self._tail: deque[str] = deque(maxlen=TAIL_LINES)
        self._tasks: set[asyncio.Task[None]] = set()
        self._lost = ""
        self._leaving = False
        self._pipe: Pipe
        self._process: asyncio.subprocess.Process

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    async def __aenter__(self) -> "RemoteShard":
        ours, theirs = socket.socketpair()
        path = os.pathsep.join([str(PACKAGE_PARENT), *filter(None, [os.environ.get("PYTHONPATH")])])
        try:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "simulator.shard_process",
                str(theirs.fileno()),
                pass_fds=(theirs.fileno(),),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.PIPE,
                start_new_session=True,
                env={**os.environ, "PYTHONPATH": path},
            )
        finally:
            theirs.close()
        self._pipe = await Pipe.over(ours)
        self._start(self._listen())
        self._start(self._read_errors())
        try:
            self._pipe.send(self._order)
            await asyncio.wait_for(asyncio.shield(self._waiting[0]), START_TIMEOUT_S)
        except (TimeoutError, PipeError, ShardLostError) as error:
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

    # ---------------------------------------------------------------- what a shard does

    async def connect(self, progress: Callable[[int], None]) -> None:
        """Connect everybody; told how many are done. Bounded by the caller."""
        await self._ask("connect", timeout_s=None, progress=progress)

    async def start(self, start_ns: int, load_start_ns: int) -> None:
        """Traffic begins at `start_ns`."""
        await self._ask("start", start_ns, load_start_ns)

    async def settled(self) -> None:
        """Wait until what clients publish themselves is answered. Bounded by the caller."""
        await self._ask("settled", timeout_s=None)

    def published(self, fact: Fact) -> None:
        """A message was accepted by the server."""
        if not self._lost:
            with contextlib.suppress(PipeError):  # who listens finds out how the process ended
                self._pipe.send(fact)

    async def sample(self, *, look: bool = False) -> Sample:
        """How it stands now; look: with what came in since the last look."""
        return await self._ask("look" if look else "sample")  # type: ignore[no-any-return]

    async def roll(self) -> Roll:
        """What became of the connections so far."""
        return await self._ask("roll")  # type: ignore[no-any-return]

    async def calm(self) -> None:
        """No more troubles."""
        await self._ask("calm")

    async def nudge(self, over_s: float) -> None:
        """Let every client ping once."""
        await self._ask("nudge", over_s, timeout_s=over_s + ANSWER_TIMEOUT_S)

    async def freeze(self) -> None:
        """The observation ends."""
        await self._ask("freeze")

    async def close(self, closing: Closing) -> Statement:
        """Judge everything."""
        return await self._ask("close", closing, timeout_s=CLOSE_TIMEOUT_S)  # type: ignore[no-any-return]

    async def stop(self) -> None:
        """Let everybody leave, then end the process."""
        self._leaving = True
        with contextlib.suppress(ShardLostError):
            await self._ask("stop", timeout_s=STOP_TIMEOUT_S)

    # ---------------------------------------------------------------- asking

    async def _ask(
        self,
        name: str,
        *args: Any,
        timeout_s: float | None = ANSWER_TIMEOUT_S,
        progress: Callable[[int], None] | None = None,
    ) -> Any:
        if self._lost:
            raise ShardLostError(self._lost)
        self._asked += 1
        number = self._asked
        answer = self._waiting[number] = asyncio.get_running_loop().create_future()
        if progress is not None:
            self._progress[number] = progress
        try:
            self._pipe.send(Question(number, name, args))
            return await asyncio.wait_for(answer, timeout_s)
        except TimeoutError:
            self._lose(f"it did not answer {name!r} within {timeout_s:g} s")
        except PipeError as error:
            # Its end is known in a moment, and says more than that it is gone.
            await asyncio.wait(self._tasks, timeout=END_KNOWN_S)
            self._lose(str(error))
        finally:
            self._waiting.pop(number, None)
            self._progress.pop(number, None)
        raise ShardLostError(self._lost)

    async def _listen(self) -> None:
        try:
            while True:
                self._heard(await self._pipe.receive())
        except PipeError:
            pass
        status = await self._process.wait()
        how = f"signal {signal.Signals(-status).name}" if status < 0 else f"status {status}"
        await asyncio.sleep(0)  # the last words of the other pipe
        said = f" ({' / '.join(self._tail)})" if self._tail and status > 0 else ""
        self._lose(f"it ended with {how}{said}")

    def _heard(self, message: Answer | Progress | Note) -> None:
        match message:
            case Progress():
                if tell := self._progress.get(message.number):
                    tell(message.done)
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

    def _lose(self, how: str) -> None:
        if self._lost:
            return
        part = self.part
        self._lost = (
            f"Process {part.number + 1} of {part.of}, which held {part.count} clients, was lost: {how}."
        )
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_exception(ShardLostError(self._lost))
        if not self._leaving:
            self._gone(self._lost)

    async def _read_errors(self) -> None:
        stream = self._process.stderr
        while stream is not None and (line := await stream.read(65_536)):
            self._tail.extend(line.decode(errors="replace").splitlines())

    async def _end(self) -> None:
        """Close the pipe, which ends the process; kill it when that does not help."""
        self._leaving = True
        self._pipe.close()
        try:
            await asyncio.wait_for(self._process.wait(), STOP_TIMEOUT_S)
        except TimeoutError:
            pass
        finally:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()  # it did not help, or nobody waits any longer
            for task in self._tasks:
                task.cancel()
        await self._process.wait()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _start(self, work: "asyncio._CoroutineLike[None]") -> None:
        self._tasks.add(asyncio.get_running_loop().create_task(work))


async def start_all(stack: contextlib.AsyncExitStack, shards: Sequence[RemoteShard]) -> list[RemoteShard]:
    """All processes at once, ended with the stack. Raises GeneratorLimitError once none is starting."""
    results = await asyncio.gather(*map(stack.enter_async_context, shards), return_exceptions=True)
    started: list[RemoteShard] = []
    for result in results:
        if isinstance(result, BaseException):
            raise result
        started.append(result)
    return started


# All clients of a run, in however many processes: asked and told as one.
#
# A process that is lost is left out from then on; the run goes on to its end with the rest, so that
# there is
# something to look at, and its verdict is INVALID. Called by the course.

T = TypeVar("T")


class ShardFace(Protocol):
    """What a shard does, here or in another process; see `Shard`."""

    part: Slice

    async def connect(self, progress: Callable[[int], None]) -> None: ...
    async def start(self, start_ns: int, load_start_ns: int) -> None: ...
    async def settled(self) -> None: ...
    def published(self, fact: Fact) -> None: ...
    async def sample(self, *, look: bool = False) -> Sample: ...
    async def roll(self) -> Roll: ...
    async def calm(self) -> None: ...
    async def nudge(self, over_s: float) -> None: ...
    async def freeze(self) -> None: ...
    async def close(self, closing: Closing) -> Statement: ...
    async def stop(self) -> None: ...


@dataclass(slots=True)
class Crowd:
    """shards: all of them, in order. peak: the most clients that were seen connected at once."""

    shards: Sequence[ShardFace]
    peak: int = 0
    _lost: set[int] = field(default_factory=set)

    async def connect(self, progress: Callable[[int, int], None]) -> None:
        """Connect everybody."""
        done = [0] * len(self.shards)
        total = sum(shard.part.count for shard in self.shards)

        def told(number: int) -> Callable[[int], None]:
            def tell(count: int) -> None:
                done[number] = count
                progress(sum(done), total)

            return tell

        await self._each(lambda shard: shard.connect(told(shard.part.number)))
        await self.sample()

    async def start(self, start_ns: int, load_start_ns: int) -> None:
        """Traffic begins at `start_ns`, the load at `load_start_ns`."""
        await self._each(lambda shard: shard.start(start_ns, load_start_ns))

    async def settled(self) -> None:
        """Wait until what clients publish themselves is answered."""
        await self._each(lambda shard: shard.settled())

    def published(self, fact: Fact) -> None:
        """A message was accepted by the server: owed from now on."""
        for shard in self.shards:
            shard.published(fact)

    async def sample(self) -> Sample:
        """How it stands now in all processes together, with what came in since this was last asked."""
        whole = Sample()
        for sample in await self._each(lambda shard: shard.sample(look=True)):
            whole.add(sample)
        self.peak = max(self.peak, whole.connected)
        return whole

    async def samples(self) -> list[Sample]:
        """The same for each process that is left."""
        return await self._each(lambda shard: shard.sample())

    async def roll(self) -> Roll:
        """What became of the connections so far."""
        whole = Roll()
        for roll in await self._each(lambda shard: shard.roll()):
            whole.add(roll)
        return whole

    async def calm(self) -> None:
        """No more troubles."""
        await self._each(lambda shard: shard.calm())

    async def nudge(self, over_s: float) -> None:
        """Let every client ping once, so that one that is behind notices."""
        await self._each(lambda shard: shard.nudge(over_s))

    async def freeze(self) -> None:
        """The observation ends."""
        await self._each(lambda shard: shard.freeze())

    async def close(self, closing: Closing) -> Statement | None:
        """What all processes found together; None when none is left."""
        statements = await self._each(lambda shard: shard.close(closing))
        if not statements:
            return None
        whole = statements[0]
        for statement in statements[1:]:
            whole.add(statement)
        return whole

    async def stop(self) -> None:
        """Let everybody leave."""
        await self._each(lambda shard: shard.stop())

    async def _each(self, work: Callable[[ShardFace], Awaitable[T]]) -> list[T]:
        """What each process that is left answers, in order."""

        async def ask(shard: ShardFace) -> list[T]:
            try:
                return [await work(shard)]
            except ShardLostError:
                self._lost.add(shard.part.number)
                return []

        left = [shard for shard in self.shards if shard.part.number not in self._lost]
        return [answer for answers in await asyncio.gather(*map(ask, left)) for answer in answers]
