"""Programs that are interrupted: started, sent signals at a moment, ended; and what is left of them."""

import asyncio
import contextlib
import os
import signal
import sys
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.backend.node import ROOT
from tests.support.waiting import until

TIMEOUT_S = 30
"""Well below what a run waits for a target that says nothing."""
BURST = (signal.SIGINT, signal.SIGTERM) * 5
MARK = "VOUCHSTORM_TEST_MARK"
_MASKS = ("SigPnd:", "ShdPnd:")


@dataclass
class Program:
    """A program under test. mark: in the environment of everything that it starts. sent: the signals."""

    process: asyncio.subprocess.Process
    mark: str
    sent: list[signal.Signals] = field(default_factory=list)

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def ended(self) -> bool:
        """Without asking its parent, who may not have heard of it: gone, or a zombie."""
        return status(self.pid).get("State:", "Z").startswith("Z")

    async def at(self, moment: Callable[[], object], what: str) -> None:
        """Wait for a moment of its life, or for its end."""
        try:
            await until(lambda: moment() or self.ended, what, timeout_s=60)
        except BaseException:
            self.kill()
            raise

    async def send(self, numbers: Sequence[signal.Signals], *, spaced: bool = True) -> None:
        """Signals. spaced: each once the one before has reached it; else all in one moment."""
        for number in numbers:
            if self.ended:
                return
            self.process.send_signal(number)
            self.sent.append(number)
            if spaced:
                await until(lambda: self.ended or not pending(self.pid), "a signal to arrive")

    async def end(self) -> tuple[int | None, str]:
        """Exit code and last words, once nothing of it is left."""
        try:
            _, said = await asyncio.wait_for(self.process.communicate(), TIMEOUT_S)
            await until(lambda: not marked(self.mark), "the end of all its processes")
        finally:
            self.kill()
            await self.process.wait()
        return self.process.returncode, said.decode()

    def kill(self) -> None:
        """All that is left of it."""
        for pid in marked(self.mark):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    async def interrupted(self, numbers: Sequence[signal.Signals] = BURST, *, spaced: bool = True) -> None:
        """Send these: exit code 130, one sentence of ours, no traceback, nothing left."""
        await self.send(numbers, spaced=spaced)
        code, said = await self.end()
        assert "Traceback" not in said, said
        assert "Exception ignored" not in said, said
        assert (code, said.count(": Interrupted")) == (130, 1), said


async def start(*words: str, **env: str) -> Program:
    """`python WORDS` in the root of the repository."""
    mark = uuid.uuid4().hex
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *words,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        cwd=ROOT,
        env={**os.environ, "COLUMNS": "200", MARK: mark, **env},
    )
    return Program(process, mark)


def status(pid: int) -> dict[str, str]:
    """First words of the lines of /proc/PID/status; empty when it is gone. Source: proc(5)."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return {}
    return {words[0]: words[1] for line in lines if len(words := line.split()) > 1}


def pending(pid: int) -> bool:
    """Whether a signal is on its way to a process."""
    found = status(pid)
    return any(int(found.get(name, "0"), 16) for name in _MASKS)


def owns_signals(pid: int) -> bool:
    """Whether the program has come to its first statement: Python itself does not catch SIGTERM."""
    return bool(int(status(pid).get("SigCgt:", "0"), 16) >> (signal.SIGTERM - 1) & 1)


def libraries(pid: int) -> int:
    """How many shared objects it has loaded: grows while it imports."""
    try:
        lines = Path(f"/proc/{pid}/maps").read_text().splitlines()
    except OSError:
        return 0
    return len({line.split()[-1] for line in lines if ".so" in line})


def marked(mark: str) -> list[int]:
    """Living processes with this mark in their environment."""
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            if f"{MARK}={mark}".encode() in path.read_bytes() and not status(int(path.parent.name)).get(
                "State:", "Z"
            ).startswith("Z"):
                found.append(int(path.parent.name))
    return found


@dataclass
class Silent:
    """A target that accepts connections and never answers."""

    port: int = 0
    writers: list[asyncio.StreamWriter] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        with contextlib.suppress(OSError):
            while await reader.read(65_536):
                pass


@asynccontextmanager
async def silent() -> AsyncIterator[Silent]:
    """On a free port of loopback."""
    target = Silent()
    listener = await asyncio.start_server(target.accept, "127.0.0.1", 0)
    target.port = listener.sockets[0].getsockname()[1]
    try:
        yield target
    finally:
        listener.close()
        for writer in target.writers:
            writer.transport.abort()
