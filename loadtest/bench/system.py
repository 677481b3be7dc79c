"""A contestant as a process: started on its core, spoken to through its control channel, ended by us."""

import asyncio
import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from backend.app.children import kill

from .process_stats import Memory, cpu_s, memory
from .workload import ServerOptions

BENCH_DIR = Path(__file__).parent
NODE_DIR = BENCH_DIR / "node"
READY_TIMEOUT_S = 60.0
ANSWER_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 10.0


class ContestantError(Exception):
    """A contestant did not start, answer or stay alive."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One contestant: how it is started. `argv` gets the options appended."""

    name: str
    title: str
    argv: tuple[str, ...]
    env: Mapping[str, str]


def _python(name: str, title: str, module: str, *arguments: str) -> Entry:
    argv = (sys.executable, "-m", f"loadtest.bench.servers.{module}", *arguments)
    return Entry(name, title, argv, {})


ENTRIES: dict[str, Entry] = {
    entry.name: entry
    for entry in (
        _python("ours", "Vouchstorm", "ours"),
        _python(
            "storeless", "Vouchstorm, connects without a read of the store", "ours", "--without-store-reads"
        ),
        _python("stock", "python-socketio + uvicorn", "stock"),
        Entry(
            "node",
            "Socket.IO on Node",
            ("node", "--expose-gc", str(NODE_DIR / "server.js")),
            {"NODE_ENV": "production"},
        ),
        _python("floor", "floor: one transport.write of a ready frame", "floor"),
        _python("bare", "bare: one write(2) of a ready frame", "floor", "--bare"),
    )
}


class Process:
    """A running contestant; `async with` starts and ends it."""

    def __init__(self, entry: Entry, options: ServerOptions, core: int | None) -> None:
        self._entry = entry
        self._options = options
        self._core = core
        self._process: asyncio.subprocess.Process | None = None
        self.name = entry.name
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
        self._process = await asyncio.create_subprocess_exec(
            *argv,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env={**os.environ, **self._entry.env},
            preexec_fn=self._pin,
            start_new_session=True,  # Ctrl-C is for us; we end our children in order
        )
        try:
            ready: dict[str, Any] = json.loads(await self._line(READY_TIMEOUT_S))
        except BaseException as error:  # cancelled, too: nobody else would end it
            await self._end()
            if isinstance(error, ValueError):
                raise ContestantError(f"{self._entry.name} did not start") from error
            raise
        self.port, self.pid, self.versions = ready["port"], ready["pid"], ready["versions"]
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._end()

    def _pin(self) -> None:
        if self._core is not None:
            os.sched_setaffinity(0, {self._core})

    async def _end(self) -> None:
        process = self._process
        if process is None or process.returncode is not None:
            return
        if process.stdin is not None:
            process.stdin.close()
        try:
            async with asyncio.timeout(STOP_TIMEOUT_S):
                await process.wait()
        except TimeoutError:
            await kill(process)
        finally:
            if process.returncode is None:  # cancelled while it was given its time
                await kill(process)

    # -------------------------------------------------------------- commands

    def emit(self) -> None:
        self._send("emit")

    def burst(self, events: int) -> None:
        self._send(f"burst {events}")

    def notify(self, users: int) -> None:
        self._send(f"notify {users}")

    def keep_metrics(self, on: bool) -> None:
        self._send(f"metrics {'on' if on else 'off'}")

    async def members(self) -> int:
        self._send("members")
        return int(await self._line(ANSWER_TIMEOUT_S))

    async def collect(self) -> None:
        """Make it collect its garbage."""
        self._send("collect")
        await self._line(ANSWER_TIMEOUT_S)

    def cpu_s(self) -> float:
        return cpu_s(self.pid)

    def memory(self) -> Memory:
        return memory(self.pid)

    def _send(self, line: str) -> None:
        if self._process is None or self._process.stdin is None:
            raise ContestantError(f"{self._entry.name} is not running")
        self._process.stdin.write(line.encode() + b"\n")

    async def _line(self, timeout_s: float) -> str:
        if self._process is None or self._process.stdout is None:
            raise ContestantError(f"{self._entry.name} is not running")
        try:
            async with asyncio.timeout(timeout_s):
                line = await self._process.stdout.readline()
        except TimeoutError as error:
            raise ContestantError(f"{self._entry.name} does not answer") from error
        if not line:
            raise ContestantError(f"{self._entry.name} ended")
        return line.decode().strip()
