"""Child processes: the one place where programs are started, waited for and ended.

A child gets a session of its own (Ctrl-C in the terminal is for whoever keeps it). Its life is tied to ours:
the kernel ends it when we die, however that happens. `Program.start` gives a `Child`, whose methods block;
`Program.spawn` an `AsyncChild`, whose methods do not.
"""

import asyncio
import contextlib
import errno
import json
import os
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

from . import interrupts, launch

DEVNULL, PIPE, STDOUT = subprocess.DEVNULL, subprocess.PIPE, subprocess.STDOUT
LOOPBACK = "127.0.0.1"
READY_TIMEOUT_S = 60.0
GRACE_S = 10.0
POLL_S = 0.02
LAST_WORDS_CHARS = 1_000
MAX_LINE_BYTES = 2**20

P = TypeVar("P", Process, "subprocess.Popen[bytes]")


class ProcessError(Exception):
    """A child ended, was not ready in time or did not answer; the message ends with its last words."""


def free_ports(count: int) -> list[int]:
    """Different TCP ports of loopback that were free a moment ago."""
    with contextlib.ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind((LOOPBACK, 0))
        return [int(probe.getsockname()[1]) for probe in probes]


def free_port() -> int:
    """One of them."""
    return free_ports(1)[0]


def exit_reason(returncode: int | None) -> str:
    """What an exit code means, in words."""
    if returncode is None:
        return "is running"
    if returncode < 0:
        with contextlib.suppress(ValueError):
            return f"ended with signal {signal.Signals(-returncode).name}"
    return f"ended with status {returncode}"


@dataclass(frozen=True, slots=True)
class Program:
    """What to start, and how.

    env: on top of our environment; None removes a variable. log: where stdout and stderr are appended unless
    they go elsewhere; None: they are ours. cpus: the processors it may use; none: as we may. tied: it ends
    when we die; only what is started by the main thread can be, for the kernel means the thread. fds:
    descriptors of ours that it keeps under their numbers.
    """

    words: Sequence[str]
    env: Mapping[str, str | None] = field(default_factory=dict)
    cwd: Path | None = None
    log: Path | None = None
    stdin: int | None = DEVNULL
    stdout: int | None = None
    stderr: int | None = None
    cpus: Collection[int] = ()
    tied: bool = True
    fds: Sequence[int] = ()

    @property
    def name(self) -> str:
        return Path(self.words[0]).name

    def start(self) -> "Child":
        """Raises OSError when there is no such program."""
        with self._options() as options:
            return Child(self, subprocess.Popen(self._words(), bufsize=0, **options))

    async def spawn(self) -> "AsyncChild":
        """Raises OSError when there is no such program."""
        with self._options() as options:
            process = await asyncio.create_subprocess_exec(*self._words(), limit=MAX_LINE_BYTES, **options)
            return AsyncChild(self, process)

    @contextlib.contextmanager
    def running(self, grace_s: float = GRACE_S) -> Iterator["Child"]:
        """The child for as long as the block lasts, whatever ends it."""
        with contextlib.ExitStack() as stack:
            with interrupts.held():
                child = self.start()
                stack.callback(child.end, grace_s)
            yield child

    @contextlib.asynccontextmanager
    async def spawned(self, grace_s: float = GRACE_S) -> AsyncIterator["AsyncChild"]:
        """The same for a coroutine."""
        child = await self.spawn()
        try:
            yield child
        finally:
            await child.end(grace_s)

    def _words(self) -> list[str]:
        tied = self.tied and threading.current_thread() is threading.main_thread()
        if not tied and not self.cpus:
            return list(self.words)
        if shutil.which(self.words[0], path=self._environment().get("PATH")) is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), self.words[0])
        parent, cpus = str(os.getpid()) if tied else "", ",".join(map(str, sorted(self.cpus)))
        return [sys.executable, "-I", "-S", launch.__file__, parent, cpus, *self.words]

    def _environment(self) -> dict[str, str]:
        merged: dict[str, str | None] = {**os.environ, **self.env}
        return {name: value for name, value in merged.items() if value is not None}

    @contextlib.contextmanager
    def _options(self) -> Iterator[dict[str, Any]]:
        with contextlib.ExitStack() as stack:
            log = stack.enter_context(self.log.open("ab")) if self.log is not None else None
            yield {
                "env": self._environment(),
                "cwd": self.cwd,
                "stdin": self.stdin,
                "stdout": log if self.stdout is None else self.stdout,
                "stderr": log if self.stderr is None else self.stderr,
                "start_new_session": True,
                "pass_fds": self.fds,
            }


class _Started(Generic[P]):
    """What a child is, blocking or not. process: for streams and what is not provided here."""

    def __init__(self, program: Program, process: P) -> None:
        self.program = program
        self.process: P = process

    @property
    def pid(self) -> int:
        return self.process.pid

    def send(self, number: signal.Signals) -> None:
        """Nothing happens when it has ended."""
        # Not `send_signal`: it looks whether the child has ended, and takes its exit code from whoever waits.
        if self.process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def last_words(self, chars: int = LAST_WORDS_CHARS) -> str:
        """The end of its log."""
        log = self.program.log
        return log.read_text(errors="replace").strip()[-chars:] if log is not None and log.exists() else ""

    def _ask(self, group: bool) -> None:
        """SIGTERM, to its children, too, if `group`; a stopped one is woken, so that it ends in order."""
        for number in (signal.SIGTERM, signal.SIGCONT):
            if group:
                self.signal_group(number)
            else:
                self.send(number)

    def signal_group(self, number: signal.Signals) -> None:
        """To it and all its children."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)

    def _failure(self, what: str) -> ProcessError:
        words = self.last_words()
        return ProcessError(f"{self.program.name} {what}" + (f": {words}" if words else ""))


def _facts(line: bytes) -> dict[str, Any] | None:
    with contextlib.suppress(ValueError):
        said = json.loads(line)
        return said if isinstance(said, dict) else None
    return None


class Child(_Started["subprocess.Popen[bytes]"]):
    """A child whose methods block."""

    @property
    def returncode(self) -> int | None:
        """None while it runs."""
        return self.process.poll()

    def facts(self, timeout_s: float = READY_TIMEOUT_S) -> dict[str, Any]:
        """The JSON object of its next line on stdout. Raises ProcessError."""
        if self.process.stdout is None:
            raise ValueError("its output is not piped")
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)
            if not selector.select(timeout_s):
                raise self._failure(f"was not ready within {timeout_s:g} s")
        line = self.process.stdout.readline()
        if not line:
            self._wait(GRACE_S)
            raise self._failure(exit_reason(self.returncode))
        if (said := _facts(line)) is None:
            raise self._failure(f"said {line!r}")
        return said

    def until(self, ready: Callable[[], bool], timeout_s: float = READY_TIMEOUT_S) -> None:
        """Wait until it is ready. Raises ProcessError when it ended, or after the time for that."""
        end_s = time.monotonic() + timeout_s
        while not ready():
            if self.returncode is not None:
                raise self._failure(exit_reason(self.returncode))
            if time.monotonic() > end_s:
                raise self._failure(f"was not ready within {timeout_s:g} s")
            time.sleep(POLL_S)

    def wait(self, timeout_s: float | None = None) -> int:
        """Its exit code. Raises ProcessError when it still runs after the time."""
        if not self._wait(timeout_s):
            raise self._failure(f"did not end within {timeout_s:g} s")
        return self.process.returncode

    def _wait(self, timeout_s: float | None) -> bool:
        """Whether it ended; what it says meanwhile is read, so that it is not held up."""
        try:
            self.process.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            return False
        return True

    def end(self, grace_s: float = GRACE_S, *, group: bool = False) -> bool:
        """SIGTERM, wait up to `grace_s`, SIGKILL; True when it had to be killed. Idempotent.

        Its own children that are left are killed. Interrupted, it kills at once.
        """
        killed = False
        try:
            if self.returncode is None:
                self._ask(group)
                killed = not self._wait(grace_s)
        finally:
            self.kill()
        return killed

    def kill(self) -> None:
        """SIGKILL to it and its children; it is reaped when this returns. Idempotent."""
        self.signal_group(signal.SIGKILL)
        self.send(signal.SIGKILL)
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            if pipe is not None:
                pipe.close()


class AsyncChild(_Started[Process]):
    """A child whose methods are coroutines. Cancelled ones leave it as it is, but for `end` and `output`."""

    @property
    def returncode(self) -> int | None:
        """None while it runs."""
        return self.process.returncode

    async def facts(self, timeout_s: float = READY_TIMEOUT_S) -> dict[str, Any]:
        """The JSON object of its next line on stdout. Raises ProcessError."""
        if self.process.stdout is None:
            raise ValueError("its output is not piped")
        try:
            line = await asyncio.wait_for(self.process.stdout.readline(), timeout_s)
        except TimeoutError:
            raise self._failure(f"was not ready within {timeout_s:g} s") from None
        if not line:
            raise self._failure(exit_reason(await self.process.wait()))
        if (said := _facts(line)) is None:
            raise self._failure(f"said {line!r}")
        return said

    async def output(self, timeout_s: float) -> bytes:
        """All that it says on stdout until it ends. Raises TimeoutError; it has ended in every case."""
        try:
            said, _ = await asyncio.wait_for(self.process.communicate(), timeout_s)
        finally:
            await self.kill()
        return said

    async def end(self, grace_s: float = GRACE_S, *, group: bool = False) -> bool:
        """SIGTERM, wait up to `grace_s`, SIGKILL; True when it had to be killed. Idempotent.

        Its own children that are left are killed. When this is cancelled, it kills at once.
        """
        killed = False
        try:
            if self.returncode is None:
                self._ask(group)
                async with asyncio.timeout(grace_s):
                    await self.process.wait()
        except TimeoutError:
            killed = True
        finally:
            await self.kill()
        return killed

    async def kill(self) -> None:
        """SIGKILL to it and its children; it is reaped when this returns. Idempotent."""
        self.signal_group(signal.SIGKILL)
        self.send(signal.SIGKILL)
        await self.process.wait()
