"""One worker process as its supervisor sees it: started, ready, told the news, ended.

The other side of the three pipes is `worker.py`. Knows nothing of restarts; that is `supervisor.py`.
"""

import asyncio
import json
from asyncio.subprocess import PIPE, Process
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Self

from .tasks import end_process, exit_reason, kill_process
from .worker_metrics import Group, news

MAX_UNREAD_BYTES = 65_536
"""News that a worker has not read; more is not written, it would not be read either."""


class WorkerFailedError(Exception):
    """A worker did not get ready.

    setup: its own sentence when it cannot start as configured; None otherwise.
    """

    def __init__(self, message: str, setup: str | None = None) -> None:
        super().__init__(message)
        self.setup = setup


@dataclass(frozen=True, slots=True)
class Launch:
    """How to start one worker."""

    command: Sequence[str]
    environment: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Report:
    """What a worker says once it serves."""

    url: str
    pid: int
    node: str
    metrics_port: int


class Worker:
    """A started child process.

    slot: its place in the group, from 1. generation: how often the slot was filled.
    """

    def __init__(self, slot: int, generation: int, process: Process) -> None:
        self.slot = slot
        self.generation = generation
        self.report: Report | None = None
        self._process = process

    @classmethod
    async def start(cls, slot: int, generation: int, launch: Launch) -> Self:
        """Start the process, in a process group of its own: Ctrl-C reaches the supervisor alone."""
        process = await asyncio.create_subprocess_exec(
            *launch.command, env=dict(launch.environment), stdin=PIPE, stdout=PIPE, process_group=0
        )
        return cls(slot, generation, process)

    @property
    def pid(self) -> int:
        return self._process.pid

    async def ready(self, timeout_s: float) -> Report:
        """Wait until the worker serves. Raises WorkerFailedError; the process may then still run."""
        try:
            async with asyncio.timeout(timeout_s):
                return await self._read_report()
        except TimeoutError:
            raise WorkerFailedError(f"worker {self.slot} was not ready within {timeout_s:g} s") from None

    async def _read_report(self) -> Report:
        output = self._process.stdout
        line = await output.readline() if output is not None else b""
        if not line:
            await self._process.wait()
            raise WorkerFailedError(
                f"worker {self.slot} {exit_reason(self._process.returncode)} before it was ready"
            )
        said = json.loads(line)
        if "error" in said:
            raise WorkerFailedError(f"worker {self.slot} cannot start: {said['error']}", said["error"])
        self.report = Report(said["url"], said["pid"], said["node"], said["metrics_port"])
        return self.report

    async def gone(self) -> str:
        """Wait for the end; what it was."""
        await self._process.wait()
        return exit_reason(self._process.returncode)

    def tell(self, group: Group) -> None:
        """Pass the news on; never waits, never raises. A worker that reads none is stuck and misses it."""
        lifeline = self._process.stdin
        if lifeline is None or lifeline.is_closing() or self._process.returncode is not None:
            return
        if lifeline.transport.get_write_buffer_size() < MAX_UNREAD_BYTES:
            lifeline.write(news(group).encode())

    async def end(self, grace_s: float) -> bool:
        """SIGTERM (the worker drains), after `grace_s` SIGKILL; True when it was killed."""
        killed = await end_process(self._process, grace_s)
        self._let_go()
        return killed

    async def kill(self) -> None:
        """SIGKILL at once."""
        await kill_process(self._process)
        self._let_go()

    def _let_go(self) -> None:
        if self._process.stdin is not None:
            with suppress(OSError):
                self._process.stdin.close()
