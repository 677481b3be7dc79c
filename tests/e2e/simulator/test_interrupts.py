"""Ctrl-C and SIGTERM, once and twice, while a run is set up: 130, no traceback, nothing left running."""

import signal
from pathlib import Path

import pytest

from tests.support.simulator.interrupting import silent, start

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


SETTING_UP = {
    "simulate": ["cli.py", "simulate", "demo", "--clients", "20"],
    "capacity": ["cli.py", "capacity", "demo", "--start", "20"],
}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("command", list(SETTING_UP))
async def test_one_signal_ends_the_set_up(command: str, number: signal.Signals) -> None:
    async with silent() as target:
        program = await start(*SETTING_UP[command], "--url", target.url)
        await program.at(lambda: target.writers, "the first question to the target")
        await program.interrupted([number])


@pytest.mark.parametrize("command", list(SETTING_UP))
async def test_two_signals_end_the_set_up_without_a_traceback(command: str) -> None:
    async with silent() as target:
        program = await start(*SETTING_UP[command], "--url", target.url)
        await program.at(lambda: target.writers, "the first question to the target")
        await program.interrupted([signal.SIGINT, signal.SIGTERM], spaced=False)


async def test_two_signals_end_every_process_of_the_generator(tmp_path: Path) -> None:
    words = ["--profile", "echo", "--processes", "2", "--clients", "20"]
    async with silent() as target:
        program = await start("cli.py", "simulate", "fanout", *words, "--url", target.url)
        await program.at(lambda: target.writers, "the first connection")
        await program.interrupted([signal.SIGTERM, signal.SIGINT], spaced=False)


async def test_two_signals_end_a_server_that_heeds_none(tmp_path: Path) -> None:
    program, pid_file = tmp_path / "stubborn.py", tmp_path / "pid"
    program.write_text(STUBBORN)
    stubborn = await start("-c", OWN_SERVER, str(program), STUBBORN_PID=str(pid_file))
    await stubborn.at(lambda: pid_file.exists() and pid_file.read_text(), "the server")
    await stubborn.interrupted([signal.SIGINT, signal.SIGTERM], spaced=False)
