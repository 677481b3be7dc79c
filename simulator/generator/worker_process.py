"""A process that holds a part of a run's clients: does what the first process asks, and ends with it.

    python -m simulator.generator.worker_process FD

FD is its end of a socket pair. The first message is a `WorkerOrder`; after it come calls, answered by number,
and the facts of published messages, in order. The end of the channel is the end of the process: no orphan
stays.
"""

import asyncio
import contextlib
import socket
import sys
import time

import uvloop

from .. import host
from ..errors import SimulatorError
from ..ledger.disconnects import Disconnects
from ..ledger.ledger import Ledger
from ..profiles.base import Stage
from ..profiles.registry import make_profile
from ..socketio_client import Endpoint
from ..target.http_client import RestClient
from .ipc import Answer, Call, Channel, ChannelError, Note, Progress, WorkerOrder
from .worker import Worker

MAX_NOTES = 50


class WorkerProcess:
    """One worker, and the channel that it is asked through."""

    def __init__(self, sock: socket.socket) -> None:
        self._worker: Worker | None = None
        self._notes: set[str] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._stack = contextlib.AsyncExitStack()
        self._failure: Exception | None = None
        self._over = asyncio.Event()
        self._channel = Channel(sock, self._heard, self._over.set)

    async def run(self) -> None:
        """Serve until the channel ends. Raises what went wrong while the clients were made."""
        async with self._stack:
            self._stack.callback(self._channel.close)
            await self._over.wait()
            for task in list(self._tasks):
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            if self._failure is not None:
                raise self._failure

    def _heard(self, message: WorkerOrder | Call) -> None:
        try:
            if isinstance(message, WorkerOrder):
                self._worker = self._make(message)
                self._send(Answer(0))
            elif self._worker is not None and message.number:
                task = asyncio.get_running_loop().create_task(self._answer(self._worker, message))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
            elif self._worker is not None:
                getattr(self._worker, message.name)(*message.args, **message.kwargs)
        except Exception as error:  # noqa: BLE001 - ends the process, whose last words are read
            self._failure = error
            self._over.set()

    def _make(self, order: WorkerOrder) -> Worker:
        part = order.part
        host.allow_sockets(part.count + order.scenario.publish.workers)
        endpoint = Endpoint.parse(order.url, order.path)
        rest = RestClient(endpoint)
        self._stack.push_async_callback(rest.close)
        ledger, outages = Ledger(part.count, part.first), Disconnects()
        scenario, tokens_file = order.scenario, order.tokens_file
        profile = make_profile(
            Stage(scenario, endpoint, rest, ledger, outages, order.run_id, tokens_file, None, self._note)
        )
        self._stack.push_async_callback(profile.close)
        profile.take(order.brief)
        plan = profile.plan(order.workload)
        entrance = Endpoint.parse(order.entrance, order.path)
        worker = Worker(order.scenario, part, profile, entrance, ledger, outages, plan, time.monotonic_ns)
        worker.progress = lambda done: self._send(Progress(done))
        self._stack.push_async_callback(worker.stop)
        return worker

    async def _answer(self, worker: Worker, call: Call) -> None:
        try:
            answer = Answer(call.number, await getattr(worker, call.name)(*call.args, **call.kwargs))
        except SimulatorError as error:
            answer = Answer(call.number, failure=str(error))
        except Exception as error:  # noqa: BLE001 - told to the first process, which judges it
            answer = Answer(call.number, failure=f"{type(error).__name__}: {error}")
        self._send(answer)

    def _note(self, text: str) -> None:
        if text not in self._notes and len(self._notes) < MAX_NOTES:
            self._notes.add(text)
            self._send(Note(text))

    def _send(self, message: Answer | Progress | Note) -> None:
        with contextlib.suppress(ChannelError):  # the end of the channel ends the process
            self._channel.send(message)


async def serve(descriptor: int) -> None:
    """Serve the other end of this descriptor."""
    await WorkerProcess(socket.socket(fileno=descriptor)).run()


if __name__ == "__main__":
    host.ignore_interrupts()
    uvloop.run(serve(int(sys.argv[1])))
