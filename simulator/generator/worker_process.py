"""A process that holds a part of a run's clients: does what the first process asks, and ends with it.

    python -m simulator.generator.worker_process FD

FD is its end of a socket pair. The first message is an `Order`; after it come questions (answered by number)
and facts (published messages, in order). The end of the pipe is the end of the process: no orphan stays.
"""

import asyncio
import contextlib
import socket
import sys
import time
from collections.abc import Coroutine
from typing import Any

import uvloop

from .. import host
from ..errors import SimulatorError
from ..host import allow_sockets
from ..ledger.disconnects import Outages
from ..ledger.ledger import Ledger
from ..profiles.base import Stage
from ..profiles.registry import make_profile
from ..socketio_client import Endpoint
from ..target.http_client import RestClient
from .ipc import Answer, Note, Order, Pipe, PipeError, Progress, Question
from .publisher import Fact
from .worker import Shard

MAX_NOTES = 50


class Servant:
    """One shard, and the pipe that it is asked through."""

    def __init__(self, pipe: Pipe) -> None:
        self._pipe = pipe
        self._notes: set[str] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._stack = contextlib.AsyncExitStack()

    async def run(self) -> None:
        """Serve until the pipe ends."""
        async with self._stack:
            with contextlib.suppress(PipeError):
                order = await self._pipe.receive()
                shard = self._make(order)
                self._pipe.send(Answer(0))
                while True:
                    self._take(shard, await self._pipe.receive())
            for task in list(self._tasks):
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def _make(self, order: Order) -> Shard:
        part = order.part
        allow_sockets(part.count + order.scenario.publish.workers)
        endpoint = Endpoint.parse(order.url, order.path)
        rest = RestClient(endpoint)
        self._stack.push_async_callback(rest.close)
        ledger, outages = Ledger(part.count, part.first), Outages()
        profile = make_profile(
            Stage(
                order.scenario,
                endpoint,
                rest,
                ledger,
                outages,
                order.run_id,
                order.tokens_file,
                None,
                self._note,
            )
        )
        self._stack.push_async_callback(profile.close)
        profile.take(order.brief)
        plan = profile.plan(order.workload)
        entrance = Endpoint.parse(order.entrance, order.path)
        shard = Shard(order.scenario, part, profile, entrance, ledger, outages, plan, time.monotonic_ns)
        self._stack.push_async_callback(shard.stop)
        return shard

    def _take(self, shard: Shard, message: Fact | Question) -> None:
        if isinstance(message, Fact):
            shard.published(message)
            return
        task = asyncio.get_running_loop().create_task(self._answer(shard, message))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, shard: Shard, question: Question) -> None:
        work: Coroutine[Any, Any, Any]
        if question.name == "connect":
            work = shard.connect(lambda done: self._pipe.send(Progress(question.number, done)))
        elif question.name == "look":
            work = shard.sample(look=True)
        else:
            work = getattr(shard, question.name)(*question.args)
        try:
            answer = Answer(question.number, await work)
        except SimulatorError as error:
            answer = Answer(question.number, failure=str(error))
        except Exception as error:  # noqa: BLE001 - told to the first process, which judges it
            answer = Answer(question.number, failure=f"{type(error).__name__}: {error}")
        self._pipe.send(answer)

    def _note(self, text: str) -> None:
        if text not in self._notes and len(self._notes) < MAX_NOTES:
            self._notes.add(text)
            self._pipe.send(Note(text))


async def serve(descriptor: int) -> None:
    """Serve the other end of this descriptor."""
    pipe = await Pipe.over(socket.socket(fileno=descriptor))
    try:
        await Servant(pipe).run()
    finally:
        pipe.close()


if __name__ == "__main__":
    host.ignore_interrupts()
    uvloop.run(serve(int(sys.argv[1])))
