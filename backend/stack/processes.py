"""The processes of a stack: started in order, kept alive, broken on purpose, ended to the last.

Carries out a `StackPlan`. Called by `up.py` for the command line and by the simulator's command, whose faults
are `kill`, `pause`, `resume`, `stop_service`, `start_service` and `restart`. Signals of this process and the
state file are no business of this room.
"""

import asyncio
import logging
import os
import random
import signal
import subprocess
import sys
from asyncio.subprocess import DEVNULL, Process
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Self

from ..app.errors import SetupError
from ..app.tasks import Backoff, Tasks, end_process, exit_reason, kill_process
from . import launch, readiness
from .plan import Role, ServicePlan, StackPlan

log = logging.getLogger(__name__)

READY_TIMEOUT_S = 60.0
PROBE_PAUSE_S = 0.03
STEADY_S = 10.0
"""A child that lived this long was no failed start: the back-off starts over."""
LOG_TAIL_CHARS = 300

Probe = Callable[[ServicePlan], Awaitable[bool]]


class Child:
    """One service: its plan and, while it runs, its process. restarts: how often it ended unwanted."""

    def __init__(self, plan: ServicePlan) -> None:
        self.plan = plan
        self.process: Process | None = None
        self.restarts = 0
        self.wanted = asyncio.Event()

    @property
    def pid(self) -> int | None:
        """None while it does not run."""
        return None if self.process is None or self.process.returncode is not None else self.process.pid

    async def spawn(self) -> Process:
        """Start the process, its output appended to its log."""
        with open(self.plan.log, "ab") as file:  # noqa: ASYNC230 - a local file, for the child
            self.process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-I", "-S", launch.__file__, str(os.getpid()), *self.plan.command),
                env=_environment(self.plan.environment),
                stdin=DEVNULL,
                stdout=file,
                stderr=file,
            )
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
        """on_change: called when a process started or ended. probe: tells whether a service is ready."""
        self.plan = plan
        self._rng = rng
        self._on_change = on_change
        self._probe = probe
        self._ready_timeout_s = ready_timeout_s
        self._first_backoff_s = first_backoff_s
        self._children = {service.name: Child(service) for service in plan.services}
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
    def children(self) -> Mapping[str, Child]:
        return self._children

    # -------------------------------------------------------------- all of them

    async def start(self) -> None:
        """Start stage by stage, each when the one before is ready. Raises SetupError; `stop` is due then."""
        self._prepare()
        for stage in self.plan.stages():
            names = [service.name for service in stage]
            for name in names:
                self._children[name].wanted.set()
                self._tasks.start(name, partial(self._keep, self._children[name]))
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
        child = self._children[name]
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
            await self._end([child for child in self._children.values() if child.plan.role in stage])
        self._on_change()

    async def _end(self, children: list[Child]) -> None:
        running = [(child.process, child.plan.grace_s) for child in children if child.process is not None]
        ending = asyncio.gather(*(end_process(process, grace_s) for process, grace_s in running))
        hurry = asyncio.ensure_future(self._hurry.wait())
        await asyncio.wait((ending, hurry), return_when=asyncio.FIRST_COMPLETED)
        hurry.cancel()
        if not ending.done():
            await asyncio.gather(*(kill_process(process) for process, _ in running))
        if killed := sum(await ending):
            log.warning("%d processes did not end in time and were killed", killed)

    def hurry(self) -> None:
        """Kill instead of waiting, from now on."""
        self._hurry.set()

    # -------------------------------------------------------------- one of them

    async def _keep(self, child: Child) -> None:
        """Run the service while it is wanted; start it again whenever it ends by itself."""
        backoff = Backoff(self._rng, first_s=self._first_backoff_s)
        clock = asyncio.get_running_loop().time
        while True:
            await child.wanted.wait()
            process, since_s = await child.spawn(), clock()
            self._on_change()
            await process.wait()
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
        self._process(name).kill()

    def pause(self, name: str) -> None:
        """SIGSTOP: its connections stay open and nothing answers. Raises SetupError."""
        self._process(name).send_signal(signal.SIGSTOP)

    def resume(self, name: str) -> None:
        """SIGCONT. Raises SetupError."""
        self._process(name).send_signal(signal.SIGCONT)

    def _process(self, name: str) -> Process:
        child = self._children.get(name)
        if child is None or child.process is None or child.pid is None:
            raise SetupError(f"{name} does not run in this stack.")
        return child.process

    async def stop_service(self, name: str) -> None:
        """End the service in order; it stays away until `start_service`."""
        child = self._children[name]
        child.wanted.clear()
        if child.process is not None:
            await end_process(child.process, child.plan.grace_s)

    async def start_service(self, name: str) -> None:
        """Start a stopped service and wait until it is ready. Raises SetupError."""
        self._children[name].wanted.set()
        await self.until_ready(name)

    async def restart(self, name: str) -> None:
        """End the service in order, start it, wait until it is ready. Raises SetupError."""
        await self.stop_service(name)
        await self.start_service(name)


def _environment(changes: Mapping[str, str | None]) -> dict[str, str]:
    """Our own environment with the changes; None takes a variable away."""
    merged: dict[str, str | None] = {**os.environ, **changes}
    return {name: value for name, value in merged.items() if value is not None}


def _failure(child: Child, what: str) -> str:
    words = child.last_words()
    said = f" It said: {words}" if words else ""
    return f"{child.plan.name} {what}; see {child.plan.log}.{said}"


# Processes that outlive whoever started them: who is behind a pid, and a signal for exactly that
# process.
#
# A pid is given to a stranger once its process is gone. Therefore each is kept with the moment its
# process
# started, and no signal is sent to a pid whose process started at another moment.

_STARTED_FIELD = 19
"""Of /proc/PID/stat after the closing parenthesis of the command. Source: proc(5), field 22."""


def identity(pid: int) -> str | None:
    """When the process started, in the system's own words; None when there is no such process."""
    if Path("/proc/self/stat").exists():
        with suppress(OSError):
            state, *fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            return None if state == "Z" else f"{_boot()}-{fields[_STARTED_FIELD - 1]}"
        return None
    asked = subprocess.run(
        ["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    return asked.stdout.strip() or None


def _boot() -> str:
    with suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()[:8]
    return ""


def is_alive(pid: int, known: str) -> bool:
    """Is this still the process that was seen as `known`?"""
    return identity(pid) == known


def send(pid: int, known: str, number: signal.Signals) -> bool:
    """Signal the process if it still is the one seen as `known`; False when it is gone."""
    if not hasattr(os, "pidfd_open"):
        if is_alive(pid, known):
            with suppress(ProcessLookupError):
                os.kill(pid, number)
                return True
        return False
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return False
    try:
        # The handle holds on to the process: between this look and the signal no stranger gets the pid.
        if not is_alive(pid, known):
            return False
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(handle, number)
            return True
        return False
    finally:
        os.close(handle)
