"""A contestant as a process: started on its core, spoken to through its control channel, ended by us."""

import asyncio
import shutil
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from redis.asyncio import Redis
from redis.exceptions import RedisError

from backend.app.errors import SetupError
from backend.stack.programs import valkey_program
from simulator.processes import DEVNULL, PIPE, AsyncChild, ProcessError, Program, free_port

from .plan import ServerOptions
from .process_stats import Memory, cpu_s, memory

BENCH_DIR = Path(__file__).parent
NODE_DIR = BENCH_DIR / "node"
READY_TIMEOUT_S = 60.0
ANSWER_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 10.0


class ContestantError(Exception):
    """A contestant did not start, answer or stay alive."""


@dataclass(frozen=True, slots=True)
class Entry:
    """How a contestant is started. `argv` gets the options appended."""

    argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)


def _python(module: str, *arguments: str) -> Entry:
    return Entry((sys.executable, "-m", f"loadtest.bench.servers.{module}", *arguments))


ENTRIES = {
    "ours": _python("ours"),
    "storeless": _python("ours", "--without-store-reads"),
    "stock": _python("stock"),
    "node": Entry(("node", "--expose-gc", str(NODE_DIR / "server.js")), {"NODE_ENV": "production"}),
    "floor": _python("floor"),
    "bare": _python("floor", "--bare"),
}


class Process:
    """A running contestant; `async with` starts and ends it."""

    def __init__(self, name: str, options: ServerOptions, core: int | None) -> None:
        self._entry = ENTRIES[name]
        self._options = options
        self._core = core
        self._child: AsyncChild
        self.name = name
        self.port = 0
        self.pid = 0
        self.versions: dict[str, str] = {}

    async def __aenter__(self) -> Self:
        options = self._options
        argv = [
            *self._entry.argv,
            f"--port={options.port}",
            f"--users={options.users}",
            f"--ping-interval-s={options.ping_interval_s}",
            f"--ping-timeout-s={options.ping_timeout_s}",
        ]
        if options.bus_url is not None:
            argv.append(f"--bus-url={options.bus_url}")
        cpus = () if self._core is None else (self._core,)
        program = Program(argv, env=self._entry.env, stdin=PIPE, stdout=PIPE, cpus=cpus)
        self._child = await program.spawn()
        try:
            ready = await self._child.facts(READY_TIMEOUT_S)
        except BaseException as error:  # cancelled, too: nobody else would end it
            await self._end()
            if isinstance(error, ProcessError):
                raise ContestantError(f"{self.name} did not start") from error
            raise
        self.port, self.pid, self.versions = ready["port"], ready["pid"], ready["versions"]
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._end()

    async def _end(self) -> None:
        """The end of its input is its wish to stop."""
        if self._child.process.stdin is not None:
            self._child.process.stdin.close()
        with suppress(TimeoutError):
            await self._child.output(STOP_TIMEOUT_S)

    def cpu_s(self) -> float:
        return cpu_s(self.pid)

    def memory(self) -> Memory:
        return memory(self.pid)

    def send(self, command: str) -> None:
        """A line of the control channel that has no answer: see `servers.control`."""
        if self._child.process.stdin is None:
            raise ContestantError(f"{self.name} is not running")
        self._child.process.stdin.write(command.encode() + b"\n")

    async def ask(self, command: str) -> str:
        """The answer to a line of the control channel. Raises ContestantError."""
        self.send(command)
        if self._child.process.stdout is None:
            raise ContestantError(f"{self.name} is not running")
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT_S):
                line = await self._child.process.stdout.readline()
        except TimeoutError as error:
            raise ContestantError(f"{self.name} does not answer") from error
        if not line:
            raise ContestantError(f"{self.name} ended")
        return line.decode().strip()


INSTALL_TIMEOUT_S = 300


def node_trouble() -> str | None:
    """Why the Node peer cannot take part, or None. Installs its packages when they are not there."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        return "node and npm are not installed"
    installed = NODE_DIR / "node_modules" / ".package-lock.json"
    lock = NODE_DIR / "package-lock.json"
    if installed.exists() and installed.stat().st_mtime >= lock.stat().st_mtime:
        return None
    # No install scripts: the native add-on ships its binaries inside the package.
    command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent"]
    try:
        subprocess.run(command, cwd=NODE_DIR, check=True, timeout=INSTALL_TIMEOUT_S, capture_output=True)
    except (subprocess.SubprocessError, OSError) as error:
        return f"npm ci failed: {error}"
    installed.touch()
    return None


START_TIMEOUT_S = 20.0
_PUBLISHING = ("publish", "spublish")


@asynccontextmanager
async def running_valkey() -> AsyncIterator[str]:
    """The URL of a server on loopback that lives as long as the context. Raises ContestantError."""
    try:
        program = valkey_program()
    except SetupError as error:
        raise ContestantError(str(error)) from error
    with tempfile.TemporaryDirectory(prefix="vouchstorm-bench-bus-") as directory:
        port = free_port()
        words = [program, "--port", str(port), "--bind", "127.0.0.1", "--dir", directory, "--save", ""]
        async with Program(words, stdout=DEVNULL, stderr=DEVNULL).spawned(STOP_TIMEOUT_S):
            url = f"redis://127.0.0.1:{port}/0"
            await _answers(url)
            yield url


async def _answers(url: str) -> None:
    async with asyncio.timeout(START_TIMEOUT_S), Redis.from_url(url) as client:
        while True:
            try:
                await client.ping()
            except RedisError:
                await asyncio.sleep(0.05)
            else:
                return


class Counter:
    """Messages that were published to the server so far, on ordinary and sharded channels."""

    def __init__(self, url: str) -> None:
        self._client: Redis = Redis.from_url(url)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.aclose()

    async def read(self) -> int:
        """How many by now."""
        stats = await self._client.info("commandstats")
        return sum(int(stats.get(f"cmdstat_{name}", {}).get("calls", 0)) for name in _PUBLISHING)
