"""A server started for one run: seed, start, wait for its ready line, watch, stop.

The commands are handed in: nothing here knows the backend or the command line.
"""

import asyncio
import contextlib
import json
import os
import signal
import tempfile
from collections import deque
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .. import host
from ..errors import SetupError
from ..processes import DEVNULL, PIPE, STDOUT, AsyncChild, Program, exit_reason

READY_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 10.0
STATUS_TIMEOUT_S = 20.0
SAMPLE_S = 0.5
TAIL_LINES = 15


@dataclass(frozen=True, slots=True)
class Commands:
    """How to make a server for a run. Words may hold the placeholders {data_dir}, {tokens_file} and
    {rooms_file}, and those of `Scenario.needs`: {users}, {seed}, what the profile adds.

    serve: prints one line of JSON with `"ready": true` and `"url"` on stdout when it accepts connections.
    seed: writes the users' tokens and the rooms, one JSON object a line, then ends; empty: no seeding.
    status: prints a JSON document whose `services` is a list of {name, pid, url, alive}; empty: the ready
    line's `pids` and `nodes` hold for good. env: added to this process's environment.
    """

    serve: Sequence[str]
    seed: Sequence[str] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    status: Sequence[str] = ()


class ManagedServer:
    """`async with ManagedServer(commands, needs) as server:` seeds and starts it, and stops it at the end.

    url: where it listens. ready: its ready line. died: how it ended, empty while it lives or was stopped by
    us.
    """

    def __init__(
        self, commands: Commands, needs: Mapping[str, int], *, cpus: set[int] | None = None, timeout_s: float
    ) -> None:
        self._commands = commands
        self._needs = needs
        self._cpus = cpus
        self._timeout_s = timeout_s
        self._stack = contextlib.AsyncExitStack()
        self._process: AsyncChild | None = None
        self._tail: deque[str] = deque(maxlen=TAIL_LINES)
        self._stopping = False
        self._words: dict[str, str] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self.url = ""
        self.ready: dict[str, Any] = {}
        self.died = ""
        self.tokens_file = Path()
        self.rooms_file = Path()
        self.gone = asyncio.Event()
        self.peak_rss_bytes = 0
        self._cpu: host.FamilyCpu | None = None
        self._service_cpu: dict[str, host.FamilyCpu] = {}

    @property
    def pid(self) -> int:
        """Of the started process; 0 before it is."""
        return self._process.pid if self._process else 0

    async def __aenter__(self) -> "ManagedServer":
        try:
            await self._start()
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    def cpu_s(self) -> float:
        """CPU seconds used so far, workers included, also those that ended or were replaced; never falls."""
        return self._cpu.total_s() if self._cpu else 0.0

    def cpu_s_by_service(self) -> dict[str, float]:
        """The same per service that the ready line named; one that was started again since is left out."""
        used = {name: cpu.total_s() for name, cpu in self._service_cpu.items() if cpu.alive()}
        return {name: used_s for name, used_s in used.items() if used_s}

    def rss_bytes(self) -> int:
        """Resident memory now, workers included."""
        return host.rss_bytes(self.pid)

    async def _start(self) -> None:
        data_dir = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="vouchstorm-run-")))
        self.tokens_file, self.rooms_file = data_dir / "tokens.jsonl", data_dir / "rooms.jsonl"
        self._words = {name: str(value) for name, value in self._needs.items()} | {
            "data_dir": str(data_dir),
            "tokens_file": str(self.tokens_file),
            "rooms_file": str(self.rooms_file),
        }
        if self._commands.seed:
            await self._seed()
        await self._serve(self._filled(self._commands.serve))

    def _filled(self, command: Sequence[str]) -> list[str]:
        words = list(command)
        for name, value in self._words.items():
            words = [word.replace("{" + name + "}", value) for word in words]
        return words

    @property
    def tells_status(self) -> bool:
        """Whether `status` has anything to say."""
        return bool(self._commands.status)

    async def status(self) -> dict[str, Any]:
        """What runs now, as the status command says. Raises SetupError when it does not answer."""
        command = self._filled(self._commands.status)
        child = await self._spawn(command, DEVNULL)
        try:
            said = json.loads(await child.output(STATUS_TIMEOUT_S))
        except (TimeoutError, ValueError) as error:
            raise SetupError(f"{' '.join(command)} did not say what runs.") from error
        return said if isinstance(said, dict) else {}

    async def _seed(self) -> None:
        child = await self._spawn(self._filled(self._commands.seed), STDOUT)
        try:
            output = await child.output(self._timeout_s)
        except TimeoutError as error:
            raise SetupError(f"Seeding took longer than {self._timeout_s:g} s.") from error
        if child.returncode != 0:
            said = output.decode(errors="replace").strip().splitlines()[-3:]
            raise SetupError(f"Seeding failed with status {child.returncode}: {' / '.join(said)}")

    async def _serve(self, command: list[str]) -> None:
        child = self._process = await self._spawn(command, PIPE)
        process = child.process
        self._stack.push_async_callback(self._stop)
        self._cpu = host.FamilyCpu(process.pid)
        if self._cpus:
            host.pin(process.pid, self._cpus)
        self._stack.push_async_callback(self._cancel_tasks)
        self._start_task(self._collect(process.stderr))
        try:
            await asyncio.wait_for(self._ready(process), READY_TIMEOUT_S)
        except TimeoutError as error:
            raise SetupError(f"The server was not ready within {READY_TIMEOUT_S:g} s.") from error
        pids = self.ready.get("pids")
        named = {str(name): int(pid) for name, pid in pids.items() if pid} if isinstance(pids, dict) else {}
        self._service_cpu = {name: host.FamilyCpu(pid) for name, pid in named.items()}
        self._start_task(self._collect(process.stdout))
        self._start_task(self._watch(child))
        self._start_task(self._sample())

    async def _spawn(self, command: list[str], stderr: int) -> AsyncChild:
        try:
            return await Program(command, env=self._commands.env, stdout=PIPE, stderr=stderr).spawn()
        except OSError as error:
            raise SetupError(f"Cannot start {command[0]}: {error.strerror}.") from error

    async def _ready(self, process: asyncio.subprocess.Process) -> None:
        if process.stdout is None:
            raise SetupError("The server has no output to read its address from.")
        async for line in process.stdout:
            with contextlib.suppress(ValueError):
                said = json.loads(line)
                if isinstance(said, dict) and said.get("ready") and isinstance(said.get("url"), str):
                    self.ready, self.url = said, said["url"]
                    return
            self._tail.append(line.decode(errors="replace").rstrip())
        status = await process.wait()
        await asyncio.sleep(0)  # the last words of the other pipe
        raise SetupError(f"The server ended with status {status} before it was ready: {self.last_words()}")

    def last_words(self) -> str:
        """The newest lines the server wrote, in one line."""
        return " / ".join(list(self._tail)[-3:]) or "it said nothing"

    async def _collect(self, stream: asyncio.StreamReader | None) -> None:
        """Keep the pipe empty, and the newest lines for messages."""
        while stream is not None and (line := await stream.read(65_536)):
            self._tail.extend(line.decode(errors="replace").splitlines())

    async def _watch(self, child: AsyncChild) -> None:
        status = await child.process.wait()
        if not self._stopping:
            self.died = f"it {exit_reason(status)}"
            self.gone.set()

    async def _sample(self) -> None:
        while True:
            members = host.family(self.pid)
            self.peak_rss_bytes = max(self.peak_rss_bytes, sum(map(host.rss_of, members)))
            if self._cpu is not None:
                self._cpu.look(members)
            await asyncio.sleep(SAMPLE_S)

    def _start_task(self, work: Coroutine[Any, Any, None]) -> None:
        self._tasks.append(asyncio.get_running_loop().create_task(work))

    async def _cancel_tasks(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _stop(self) -> None:
        """Ask it to end, then make it; at once when this is cancelled."""
        self._stopping = True
        if self._process is None:
            return
        try:
            await self._process.end(STOP_TIMEOUT_S, group=True)
        except asyncio.CancelledError:
            for each in host.family(self._process.pid):  # in whatever group
                with contextlib.suppress(ProcessLookupError):
                    os.kill(each.pid, signal.SIGKILL)
            raise
