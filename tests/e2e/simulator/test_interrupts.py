"""Ctrl-C and SIGTERM, once and twice, at any time: 130, no traceback, nothing left running."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from simulator.host import family
from tests.support.backend.node import ROOT
from tests.support.waiting import until

TIMEOUT_S = 20
"""Well below what a run waits for a target that says nothing."""

STUBBORN = """
import os, signal, sys, time
if sys.argv[1] == "seed":
    sys.exit()
signal.signal(signal.SIGTERM, signal.SIG_IGN)
open(os.environ["STUBBORN_PID"], "w").write(str(os.getpid()))
time.sleep(60)
"""
OWN_SERVER = (
    "import sys; from simulator import interrupts; from simulator.commands import app; "
    "words = ['simulate', 'demo', '--clients', '5']; "
    "interrupts.program(lambda: app(words, obj=(sys.executable, sys.argv[1])))"
)


@dataclass
class Silent:
    """A target that accepts connections and never answers."""

    port: int = 0
    writers: list[asyncio.StreamWriter] = field(default_factory=list)

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        with contextlib.suppress(OSError):
            while await reader.read(65_536):
                pass


@asynccontextmanager
async def silent() -> AsyncIterator[Silent]:
    target = Silent()
    listener = await asyncio.start_server(target.accept, "127.0.0.1", 0)
    target.port = listener.sockets[0].getsockname()[1]
    try:
        yield target
    finally:
        listener.close()
        for writer in target.writers:
            writer.transport.abort()


async def start(*words: str, **env: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        *words,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        cwd=ROOT,
        env={**os.environ, "COLUMNS": "200", **env},
    )


async def interrupted(
    process: asyncio.subprocess.Process, numbers: Sequence[signal.Signals]
) -> tuple[int | None, str]:
    """Exit code and last words of a process that got these signals, one after the other."""
    started = family(process.pid)
    for number in numbers:
        process.send_signal(number)
    try:
        _, said = await asyncio.wait_for(process.communicate(), TIMEOUT_S)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    await until(lambda: not any(each.is_running() for each in started), "the end of all its processes")
    return process.returncode, said.decode()


SETTING_UP = {
    "simulate": ["cli.py", "simulate", "demo", "--clients", "20"],
    "capacity": ["cli.py", "capacity", "demo", "--start", "20"],
}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("command", list(SETTING_UP))
async def test_one_signal_ends_the_set_up(command: str, number: signal.Signals) -> None:
    async with silent() as target:
        process = await start(*SETTING_UP[command], "--url", f"http://127.0.0.1:{target.port}")
        await until(lambda: target.writers, "the first question to the target", timeout_s=60)
        code, said = await interrupted(process, [number])
    assert (code, "Traceback" in said) == (130, False), said


@pytest.mark.parametrize("command", list(SETTING_UP))
async def test_two_signals_end_the_set_up_without_a_traceback(command: str) -> None:
    async with silent() as target:
        process = await start(*SETTING_UP[command], "--url", f"http://127.0.0.1:{target.port}")
        await until(lambda: target.writers, "the first question to the target", timeout_s=60)
        code, said = await interrupted(process, [signal.SIGINT, signal.SIGTERM])
    assert (code, "Traceback" in said) == (130, False), said


async def test_two_signals_end_every_process_of_the_generator(tmp_path: Path) -> None:
    words = ["--profile", "echo", "--processes", "2", "--clients", "20"]
    async with silent() as target:
        process = await start(
            "cli.py", "simulate", "fanout", *words, "--url", f"http://127.0.0.1:{target.port}"
        )
        await until(lambda: target.writers, "the first connection", timeout_s=60)
        code, said = await interrupted(process, [signal.SIGTERM, signal.SIGINT])
    assert (code, "Traceback" in said) == (130, False), said


async def test_two_signals_end_a_server_that_heeds_none(tmp_path: Path) -> None:
    program, pid_file = tmp_path / "stubborn.py", tmp_path / "pid"
    program.write_text(STUBBORN)
    process = await start("-c", OWN_SERVER, str(program), STUBBORN_PID=str(pid_file))
    await until(lambda: pid_file.exists() and pid_file.read_text(), "the server", timeout_s=60)
    code, said = await interrupted(process, [signal.SIGINT, signal.SIGTERM])
    assert (code, "Traceback" in said) == (130, False), said
