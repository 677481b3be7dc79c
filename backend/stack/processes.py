"""The processes of a stack: started in order, kept alive, broken on purpose, replaced, ended to the last.

Carries out a `StackPlan`. Signals of this process and the state file are no business of this module.
"""

import asyncio
import logging
import random
import signal
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Self

from simulator.processes import AsyncChild, Program, exit_reason

from ..app.errors import SetupError
from ..app.tasks import Tasks
from . import readiness
from .balancer import HEALTH_INTERVAL_S
from .plan import Role, ServicePlan, StackPlan

log = logging.getLogger(__name__)

READY_TIMEOUT_S = 60.0
PROBE_PAUSE_S = 0.03
STEADY_S = 10.0
"""A child that lived this long was no failed start: the back-off starts over."""
LOG_TAIL_CHARS = 300

Probe = Callable[[ServicePlan], Awaitable[bool]]


class Backoff:
    """How long to wait before a restart: doubles from `first_s` to `longest_s`, less a share of `jitter`."""

    def __init__(
        self, rng: random.Random, *, first_s: float = 0.1, longest_s: float = 10.0, jitter: float = 0.5
    ) -> None:
        self._rng = rng
        self._first_s = first_s
        self._longest_s = longest_s
        self._jitter = jitter
        self._failures = 0

    def next_s(self) -> float:
        """Count a failure; the seconds to wait before the next try."""
        # The exponent is bounded so that a process that fails for weeks does not overflow the float.
        wait_s = min(self._longest_s, self._first_s * 2.0 ** min(self._failures, 64))
        self._failures += 1
        return wait_s * (1 - self._jitter * self._rng.random())

    def reset(self) -> None:
        """It works again: the next failure starts over."""
        self._failures = 0


class Service:
    """One service: its plan and, once it was started, its process. restarts: how often it ended unwanted."""

    def __init__(self, plan: ServicePlan) -> None:
        self.plan = plan
        self.process: AsyncChild | None = None
        self.restarts = 0
        self.wanted = asyncio.Event()

    @property
    def pid(self) -> int | None:
        """None while it does not run."""
        return None if self.process is None or self.process.returncode is not None else self.process.pid

    async def spawn(self) -> AsyncChild:
        """Start the process, its output appended to its log."""
        program = Program(self.plan.command, env=self.plan.environment, log=self.plan.log)
        self.process = await program.spawn()
        return self.process

    def last_words(self) -> str:
        """The last line of its log, shortened."""
        lines = self.plan.log.read_text(errors="replace").split("\n") if self.plan.log.exists() else []
        return next((line.strip()[:LOG_TAIL_CHARS] for line in reversed(lines) if line.strip()), "")


class StackProcesses:
    """`async with StackProcesses(plan, rng)`: inside, every service is ready; afterwards, none runs."""

    def __init__(
        self,
        plan: StackPlan,
        rng: random.Random,
        *,
        on_change: Callable[[], None] = lambda: None,
        probe: Probe = readiness.is_ready,
        ready_timeout_s: float = READY_TIMEOUT_S,
        first_backoff_s: float = 0.2,
    ) -> None:
        """on_change: called when a process started or ended, and after a roll. probe: is a service ready?"""
        self.plan = plan
        self._rng = rng
        self._on_change = on_change
        self._probe = probe
        self._ready_timeout_s = ready_timeout_s
        self._first_backoff_s = first_backoff_s
        self.rolls = 0
        self.roll_trouble = ""
        self._services = {service.name: Service(service) for service in plan.services}
        self._tasks = Tasks()
        self._hurry = asyncio.Event()

    async def __aenter__(self) -> Self:
        try:
            await self.start()
        except BaseException:
            await self.stop()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    @property
    def children(self) -> Mapping[str, Service]:
        return self._services

    # -------------------------------------------------------------- all of them

    async def start(self) -> None:
        """Start stage by stage, each when the one before is ready. Raises SetupError; `stop` is due then."""
        self._prepare()
        for stage in self.plan.stages():
            names = [service.name for service in stage]
            for name in names:
                self._services[name].wanted.set()
                self._tasks.start(name, partial(self._keep, self._services[name]))
            try:
                async with asyncio.TaskGroup() as group:
                    for name in names:
                        group.create_task(self.until_ready(name))
            except* SetupError as failures:
                raise failures.exceptions[0] from None

    def _prepare(self) -> None:
        for service in self.plan.services:
            for directory in (*service.directories, service.log.parent):
                directory.mkdir(parents=True, exist_ok=True)
            if service.log.exists():
                service.log.replace(service.log.with_suffix(".log.1"))
        for path, text in self.plan.files.items():
            path.write_text(text)

    async def until_ready(self, name: str) -> None:
        """Wait until the service works. Raises SetupError when it ended, or after the time for that."""
        child = self._services[name]
        restarts = child.restarts
        try:
            async with asyncio.timeout(self._ready_timeout_s):
                while child.pid is None or not await self._probe(child.plan):
                    if child.restarts > restarts:
                        raise SetupError(_failure(child, "ended at once"))
                    await asyncio.sleep(PROBE_PAUSE_S)
        except TimeoutError:
            raise SetupError(_failure(child, f"was not ready within {self._ready_timeout_s:g} s")) from None

    async def stop(self) -> None:
        """End all, the nodes first so that they can say goodbye. What does not end in time is killed."""
        await self._tasks.close()
        for stage in ((Role.NODE,), (Role.BALANCER,), (Role.REDIS, Role.MONGODB)):
            await self._end([child for child in self._services.values() if child.plan.role in stage])
        self._on_change()

    async def _end(self, children: list[Service]) -> None:
        running = [(child.process, child.plan.grace_s) for child in children if child.process is not None]
        ending = asyncio.gather(*(process.end(grace_s) for process, grace_s in running))
        hurry = asyncio.ensure_future(self._hurry.wait())
        await asyncio.wait((ending, hurry), return_when=asyncio.FIRST_COMPLETED)
        hurry.cancel()
        if not ending.done():
            await asyncio.gather(*(process.kill() for process, _ in running))
        if killed := sum(await ending):
            log.warning("%d processes did not end in time and were killed", killed)

    def hurry(self) -> None:
        """Kill instead of waiting, from now on."""
        self._hurry.set()

    # -------------------------------------------------------------- one of them

    async def _keep(self, child: Service) -> None:
        """Run the service while it is wanted; start it again whenever it ends by itself."""
        backoff = Backoff(self._rng, first_s=self._first_backoff_s)
        clock = asyncio.get_running_loop().time
        while True:
            await child.wanted.wait()
            process, since_s = await child.spawn(), clock()
            self._on_change()
            await process.process.wait()
            self._on_change()
            if not child.wanted.is_set():
                continue
            if clock() - since_s >= STEADY_S:
                backoff.reset()
            wait_s = backoff.next_s()
            log.error("%s (pid %d) %s", child.plan.name, process.pid, exit_reason(process.returncode))
            child.restarts += 1
            await asyncio.sleep(wait_s)

    def pid(self, name: str) -> int:
        """Of the running service. Raises SetupError while it does not run."""
        return self._process(name).pid

    def kill(self, name: str) -> None:
        """SIGKILL, as a crash would; the service is started again after a moment. Raises SetupError."""
        self._process(name).send(signal.SIGKILL)

    def pause(self, name: str) -> None:
        """SIGSTOP: its connections stay open and nothing answers. Raises SetupError."""
        self._process(name).send(signal.SIGSTOP)

    def resume(self, name: str) -> None:
        """SIGCONT. Raises SetupError."""
        self._process(name).send(signal.SIGCONT)

    def _process(self, name: str) -> AsyncChild:
        child = self._services.get(name)
        if child is None or child.process is None or child.pid is None:
            raise SetupError(f"{name} does not run in this stack.")
        return child.process

    async def stop_service(self, name: str) -> None:
        """End the service in order; it stays away until `start_service`."""
        child = self._services[name]
        child.wanted.clear()
        if child.process is not None:
            await child.process.end(child.plan.grace_s)

    async def start_service(self, name: str) -> None:
        """Start a stopped service and wait until it is ready. Raises SetupError."""
        self._services[name].wanted.set()
        await self.until_ready(name)

    async def restart(self, name: str) -> None:
        """End the service in order, start it, wait until it is ready. Raises SetupError."""
        await self.stop_service(name)
        await self.start_service(name)

    async def roll(self) -> None:
        """Replace the nodes one by one, each ready before the next one ends.

        rolls counts the whole ones; roll_trouble says why the last one stopped half way. Raises nothing.
        """
        nodes = self.plan.with_role(Role.NODE)
        try:
            for number, node in enumerate(nodes):
                if number:
                    # The balancer asks each node now and then: it must have seen that the last one is back.
                    await asyncio.sleep(2 * HEALTH_INTERVAL_S)
                log.info("replacing %s", node.name)
                await self.restart(node.name)
        except SetupError as error:
            log.error("the nodes are not replaced any further: %s", error)  # noqa: TRY400 - a sentence
            self.roll_trouble = str(error)
        else:
            self.rolls, self.roll_trouble = self.rolls + 1, ""
        self._on_change()


def _failure(child: Service, what: str) -> str:
    words = child.last_words()
    said = f" It said: {words}" if words else ""
    return f"{child.plan.name} {what}; see {child.plan.log}.{said}"
