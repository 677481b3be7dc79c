"""N workers on one address, kept alive, replaced one by one, ended together.

Each worker is a process with an SO_REUSEPORT socket of its own, so that the kernel spreads connections and no
worker waits for another. A consequence that no code can hide: the requests of one long-polling client meet
different workers, so clients of a group must speak WebSocket from the start; polling needs one port per node
behind a load balancer that sticks (`vouchstorm up`, `deploy/`). See docs/adr/0007-processes.md.

Called by the command line. Signals: SIGTERM, SIGINT drain and end all, a second one at once; SIGHUP rolls.
"""

import asyncio
import logging
import os
import random
import signal
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial

from .aggregate import GroupFacts
from .errors import SetupError
from .settings import Settings
from .tasks import Backoff, Tasks
from .worker_launch import MakeLaunch, check_group, group_name, launcher, reserve
from .worker_metrics import Group
from .workers import Worker, WorkerFailedError

log = logging.getLogger(__name__)

READY_TIMEOUT_S = 60.0
STEADY_S = 30.0
"""A worker that lived this long was no failed start: the back-off starts over."""
GRACE_S = 15.0
"""On top of the drain time: uvicorn's own wait for open requests, and some."""


class Supervisor:
    """Keeps `count` workers running. All methods belong to the event loop's thread."""

    def __init__(
        self,
        make_launch: MakeLaunch,
        count: int,
        rng: random.Random,
        *,
        grace_s: float,
        ready_timeout_s: float = READY_TIMEOUT_S,
        first_backoff_s: float = 0.1,
        steady_s: float = STEADY_S,
    ) -> None:
        self._make_launch = make_launch
        self._slots = range(1, count + 1)
        self._rng = rng
        self._grace_s = grace_s
        self._ready_timeout_s = ready_timeout_s
        self._first_backoff_s = first_backoff_s
        self._steady_s = steady_s
        self._serving: dict[int, Worker] = {}
        self._processes: set[Worker] = set()
        self._generations = dict.fromkeys(self._slots, 0)
        self._tasks = Tasks()
        self._filling = {slot: asyncio.Lock() for slot in self._slots}
        self._roll_wanted = asyncio.Event()
        self._hurry = asyncio.Event()
        self.restarts = 0

    @property
    def serving(self) -> Mapping[int, Worker]:
        """Slot -> the worker that is ready there."""
        return self._serving

    async def start(self) -> None:
        """Start all workers and return when each serves. Raises SetupError; `stop` is due in any case."""
        try:
            async with asyncio.TaskGroup() as group:
                for slot in self._slots:
                    group.create_task(self._fill(slot))
        except* WorkerFailedError as failures:
            first = failures.exceptions[0]
            sentence = first.setup if isinstance(first, WorkerFailedError) else None
            raise SetupError(sentence or f"{first}; its log says why.") from None
        for slot in self._slots:
            self._tasks.start(f"worker {slot}", partial(self._keep, slot))
        self._tasks.start("rolls", self._keep_rolling)

    async def _fill(self, slot: int) -> None:
        """Start a worker for the slot and make it the serving one. Raises WorkerFailedError."""
        self._generations[slot] += 1
        generation = self._generations[slot]
        try:
            worker = await self._start(slot, generation)
        except WorkerFailedError:
            raise
        except Exception as error:
            # No process to be had, or a report that means nothing: tried again, as after any end.
            raise WorkerFailedError(
                f"worker {slot} could not be started ({type(error).__name__}: {error})"
            ) from error
        self._serving[slot] = worker
        self._tell_all()

    async def _start(self, slot: int, generation: int) -> Worker:
        """A worker that is ready. Raises whatever came in its way; nothing is left of it then."""
        worker = await Worker.start(slot, generation, self._make_launch(slot, generation))
        self._processes.add(worker)
        try:
            await worker.ready(self._ready_timeout_s)
        except BaseException:
            # Not ready: nobody is connected to it, so there is nothing to wait for.
            await worker.kill()
            self._processes.discard(worker)
            raise
        return worker

    async def _keep(self, slot: int) -> None:
        """Whenever the worker of this slot dies, start another."""
        backoff = Backoff(self._rng, first_s=self._first_backoff_s)
        clock = asyncio.get_running_loop().time
        while True:
            worker = self._serving.get(slot)
            if worker is None:
                await self._restart(slot, backoff)  # this loop failed before it had filled the slot
                continue
            since_s = clock()
            how = await worker.gone()
            if self._serving.get(slot) is not worker:
                continue  # rolled: another serves here now
            self._forget(worker)
            if clock() - since_s >= self._steady_s:
                backoff.reset()
            log.error("worker %d (pid %d) %s", slot, worker.pid, how)
            await self._restart(slot, backoff)

    async def _restart(self, slot: int, backoff: Backoff) -> None:
        while slot not in self._serving:
            wait_s = backoff.next_s()
            await asyncio.sleep(wait_s)
            async with self._filling[slot]:
                if slot in self._serving:
                    return  # a roll was faster
                self.restarts += 1
                try:
                    await self._fill(slot)
                except WorkerFailedError as error:
                    log.error("%s; the next try follows", error)  # noqa: TRY400 - the sentence says it all
                else:
                    log.warning("worker %d was started again after %.1f s", slot, wait_s)

    def _forget(self, worker: Worker) -> None:
        self._processes.discard(worker)
        if self._serving.get(worker.slot) is worker:
            del self._serving[worker.slot]
            self._tell_all()

    def _tell_all(self) -> None:
        """Let every worker know whose metrics to collect."""
        ports = {
            str(slot): worker.report.metrics_port
            for slot, worker in sorted(self._serving.items())
            if worker.report is not None
        }
        group = Group(ports, GroupFacts(len(self._slots), self.restarts))
        for worker in self._serving.values():
            worker.tell(group)

    def want_roll(self) -> None:
        """Replace all workers, one after the other. Asked during a roll: once more afterwards."""
        self._roll_wanted.set()

    async def _keep_rolling(self) -> None:
        while True:
            await self._roll_wanted.wait()
            self._roll_wanted.clear()
            await self.roll()

    async def roll(self) -> bool:
        """Replace each worker: the new one serves before the old one drains.

        A new worker that does not get ready ends the roll, the old ones stay; False then.
        """
        for slot in self._slots:
            async with self._filling[slot]:
                old = self._serving.get(slot)
                if old is None:
                    continue  # dead: its replacement is new anyway
                try:
                    await self._fill(slot)
                except WorkerFailedError as error:
                    log.error("the roll ends here, the old workers stay: %s", error)  # noqa: TRY400
                    return False
                await old.end(self._grace_s)
                self._processes.discard(old)
                log.info("worker %d was replaced", slot)
        return True

    async def stop(self) -> None:
        """End all workers: drain, bounded, then SIGKILL. `hurry` cuts the wait short."""
        await self._tasks.close()
        self._serving.clear()
        ending = asyncio.gather(*(worker.end(self._grace_s) for worker in self._processes))
        hurry = asyncio.ensure_future(self._hurry.wait())
        await asyncio.wait((ending, hurry), return_when=asyncio.FIRST_COMPLETED)
        hurry.cancel()
        if not ending.done():
            await asyncio.gather(*(worker.kill() for worker in self._processes))
        killed = sum(await ending)
        if killed:
            log.warning("%d workers did not end in time and were killed", killed)
        self._processes.clear()

    def hurry(self) -> None:
        """Do not wait for the drain any longer."""
        self._hurry.set()


def run_workers(
    settings: Settings, host: str, port: int, count: int, announce: Callable[[str, str], None]
) -> None:
    """Serve with `count` workers on one address until SIGTERM or SIGINT.

    port: 0 takes a free one, the same for all.
    announce: called with (url, name of the group) once every worker answers.
    Raises SetupError when it cannot start as configured, KeyboardInterrupt after SIGINT.
    """
    check_group(settings, count)
    reserved = reserve(host, port)
    with reserved:
        bound = reserved.getsockname()[1]
        make_launch = launcher(settings, host, bound)
        supervisor = Supervisor(make_launch, count, random.Random(), grace_s=settings.drain_s + GRACE_S)
        url = f"http://{f'[{host}]' if ':' in host else host}:{bound}"
        signal_number = asyncio.run(_supervise(supervisor, lambda: announce(url, group_name(settings))))
    if signal_number == signal.SIGINT:
        raise KeyboardInterrupt


async def _supervise(supervisor: Supervisor, announce: Callable[[], None]) -> signal.Signals:
    """Run until told to end; the signal that did."""
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[signal.Signals] = loop.create_future()
    had_terminal = _has_terminal()

    def end(number: signal.Signals) -> None:
        if ended.done():
            supervisor.hurry()
        else:
            ended.set_result(number)

    def hang_up() -> None:
        # A terminal that went away sends SIGHUP, too: that is no wish for new workers.
        if had_terminal and not _has_terminal():
            end(signal.SIGTERM)
        else:
            supervisor.want_roll()

    loop.add_signal_handler(signal.SIGTERM, end, signal.SIGTERM)
    loop.add_signal_handler(signal.SIGINT, end, signal.SIGINT)
    loop.add_signal_handler(signal.SIGHUP, hang_up)
    starting = asyncio.ensure_future(supervisor.start())
    try:
        await asyncio.wait((starting, ended), return_when=asyncio.FIRST_COMPLETED)
        if starting.done():
            starting.result()
            announce()
        return await ended
    finally:
        starting.cancel()
        await asyncio.wait([starting])
        await supervisor.stop()


def _has_terminal() -> bool:
    with suppress(OSError, ValueError):
        return os.isatty(sys.stdin.fileno())
    return False
