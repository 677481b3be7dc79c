"""Any number of SIGINT and SIGTERM, in every command, at any moment: 130, one sentence, nothing left running.

From the moment on that the interpreter reaches the first statement of the program: before that a signal is
Python's or the system's, and nothing can be done about it.
"""

import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import typer.main

import cli
from tests.support.backend.node import ROOT
from tests.support.simulator.interrupting import (
    BURST,
    Program,
    libraries,
    marked,
    owns_signals,
    silent,
    start,
)

COMMANDS = {
    "serve": ["--port", "0"],
    "seed": [],
    "token": ["user00000"],
    "doctor": [],
    "backup": ["copy.db"],
    "restore": ["copy.db"],
    "up": ["--stack", "embedded", "--port", "0"],
    "down": [],
    "status": [],
    "simulate": ["demo", "--clients", "5"],
    "report": ["run.json"],
    "compare": ["a.json", "--", "b.json"],
    "capacity": ["demo"],
    "loadtest": ["--duration", "5"],
    "dashboards build": ["--check"],
    "dashboards check": ["--names"],
}
PROGRAMS = {
    **{name: ["cli.py", *name.split(), *words] for name, words in COMMANDS.items()},
    "bench": ["-m", "loadtest.bench", "--only", "connect", "--sizes", "10"],
    "bench --clients": ["-m", "loadtest.bench", "--clients"],
}
LIBRARIES = {"the first statement": 0, "some imports": 12, "many imports": 25}
PHASES = ("phase    setup", "phase    connect", "phase    load", "phase    drain", "phase    reconcile")


def leaves(command: Any, name: str = "") -> Iterator[str]:
    """Commands without commands of their own, by what the user types."""
    below = getattr(command, "commands", None)
    if below is None:
        yield name
    else:
        for each in below.values():
            yield from leaves(each, f"{name} {each.name}".strip())


def text(path: Path) -> str:
    return path.read_text() if path.exists() else ""


def test_every_command_is_interrupted_here() -> None:
    assert set(leaves(typer.main.get_command(cli.make_app()))) == set(COMMANDS)


@pytest.mark.parametrize("program", ["cli.py", "-m loadtest.bench", "-m backend.stack"])
def test_a_program_owns_its_signals_before_it_imports_anything_slow(program: str) -> None:
    """What is loaded when the first statement of the program runs."""
    asked = (
        "import runpy, sys; from simulator import interrupts; before = set(sys.modules)\n"
        "def reached(main, name=''): print(*sorted(set(sys.modules) - before)); sys.exit(0)\n"
        "interrupts.program = reached\n"
    )
    how = f"runpy.run_path('{program}', run_name='__main__')"
    if program.startswith("-m "):
        how = f"runpy.run_module('{program[3:]}', run_name='__main__')"
    done = subprocess.run(
        [sys.executable, "-c", asked + how], capture_output=True, text=True, cwd=ROOT, check=True
    )
    assert not {"typer", "asyncio", "pydantic", "uvloop", "numpy"} & set(done.stdout.split())


@pytest.mark.parametrize("moment", list(LIBRARIES))
@pytest.mark.parametrize("program", list(PROGRAMS))
async def test_a_burst_while_it_starts(program: str, moment: str, tmp_path: Path) -> None:
    started = await start(*PROGRAMS[program], VOUCHSTORM_DATA_DIR=str(tmp_path))
    await started.at(
        lambda: owns_signals(started.pid) and libraries(started.pid) >= LIBRARIES[moment], moment
    )
    await ended_by(started)


async def ended_by(program: Program) -> None:
    """A burst; a program that was at its end before may have its own exit code, but no other way to end."""
    await program.send(BURST)
    allowed = [130] if program.sent and not program.ended else range(256)
    code, said = await program.end()
    assert "Traceback" not in said, said
    assert code in allowed, said


SET_UP = {
    "simulate": ["demo", "--clients", "20", "--url"],
    "capacity": ["demo", "--start", "20", "--url"],
    "loadtest": ["--host"],
}
ONCE = BURST[:1]
TERM = BURST[1:2]
TWO = BURST[1:3]


@pytest.mark.parametrize(
    ("command", "numbers", "spaced"),
    [
        ("simulate", ONCE, True),
        ("simulate", BURST, True),
        ("simulate", BURST[:2], False),
        ("capacity", TERM, True),
        ("capacity", BURST[:2], False),
        ("loadtest", TWO, True),
    ],
)
async def test_the_set_up(command: str, numbers: tuple[signal.Signals, ...], spaced: bool) -> None:
    async with silent() as target:
        program = await start("cli.py", command, *SET_UP[command], target.url)
        await program.at(lambda: target.writers, "the first question to the target")
        await program.interrupted(numbers, spaced=spaced)


async def test_two_signals_end_every_process_of_the_generator() -> None:
    words = ["--profile", "echo", "--processes", "2", "--clients", "20"]
    async with silent() as target:
        program = await start("cli.py", "simulate", "fanout", *words, "--url", target.url)
        await program.at(lambda: target.writers, "the first connection")
        await program.interrupted(TWO, spaced=False)


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


async def test_two_signals_end_a_server_that_heeds_none(tmp_path: Path) -> None:
    program, pid_file = tmp_path / "stubborn.py", tmp_path / "pid"
    program.write_text(STUBBORN)
    stubborn = await start("-c", OWN_SERVER, str(program), STUBBORN_PID=str(pid_file))
    await stubborn.at(lambda: pid_file.exists() and pid_file.read_text(), "the server")
    await stubborn.interrupted(BURST[:2], spaced=False)


@pytest.mark.parametrize(
    ("phase", "numbers"), list(zip(PHASES, (TWO, ONCE, BURST, TERM, BURST), strict=True)), ids=PHASES
)
async def test_a_run_with_a_server_of_its_own(
    phase: str, numbers: tuple[signal.Signals, ...], tmp_path: Path
) -> None:
    words = ["simulate", "demo", "--clients", "5", "--duration", "1", "--run-dir", str(tmp_path / "run")]
    program = await start("cli.py", *words)
    await program.at(lambda: phase in text(tmp_path / "run" / "run.log"), phase)
    await program.interrupted(numbers)


async def test_a_run_that_is_written_down(tmp_path: Path) -> None:
    """It may be over before the first signal comes: then its own exit code stands."""
    words = ["simulate", "demo", "--clients", "5", "--duration", "1", "--run-dir", str(tmp_path / "run")]
    program = await start("cli.py", *words)
    await program.at(lambda: "verdict" in text(tmp_path / "run" / "run.log"), "the verdict")
    await ended_by(program)


@pytest.mark.parametrize("command", ["report", "compare"])
async def test_a_file_that_is_read(command: str, tmp_path: Path) -> None:
    """A pipe that nobody writes to holds it there."""
    pipe = tmp_path / "run.json"
    os.mkfifo(pipe)
    words = [str(pipe)] if command == "report" else [str(pipe), "--baseline", str(pipe)]
    program = await start("cli.py", command, *words)
    writers: list[int] = []
    try:
        await program.at(lambda: writers or writers.extend(opened(pipe)), "a reader")
        await program.interrupted()
    finally:
        for writer in writers:
            os.close(writer)


def opened(pipe: Path) -> list[int]:
    """The end to write into, if somebody reads."""
    try:
        return [os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)]
    except OSError:
        return []


async def test_a_seeding(tmp_path: Path) -> None:
    words = ["seed", "--users", "20000", "--claims", "5000", "--data-dir", str(tmp_path)]
    program = await start("cli.py", *words)
    await program.at((tmp_path / "vouchstorm.db").exists, "the store")
    await program.interrupted()


async def test_a_backup_leaves_no_draft(tmp_path: Path) -> None:
    store = ["--data-dir", str(tmp_path)]
    assert await (await start("cli.py", "seed", "--users", "1", *store)).end() == (0, "")
    with closing(sqlite3.connect(tmp_path / "vouchstorm.db")) as connection, connection:
        connection.execute("CREATE TABLE ballast (bytes BLOB)")
        connection.executemany("INSERT INTO ballast VALUES (zeroblob(?))", [(2**24,)] * 16)
    program = await start("cli.py", "backup", str(tmp_path / "copy.db"), *store)
    await program.at(lambda: list(tmp_path.glob("*.draft")), "the draft")
    await program.interrupted()
    assert [name for name in os.listdir(tmp_path) if name.startswith("copy")] == []


async def test_a_load_test_with_a_server_of_its_own() -> None:
    program = await start("cli.py", "loadtest", "--users", "5", "--duration", "60")
    await program.at(lambda: any(b"locust" in words(pid) for pid in marked(program.mark)), "Locust")
    await program.interrupted()


async def test_one_signal_ends_a_load_test_with_its_verdict(tmp_path: Path) -> None:
    result = tmp_path / "result.json"
    program = await start("cli.py", "loadtest", "--users", "5", "--duration", "60", "--json", str(result))

    def heeds() -> bool:
        return any(b"locust" in words(pid) and owns_signals(pid) for pid in marked(program.mark))

    await program.at(heeds, "Locust")
    await program.interrupted(TERM)
    assert json.loads(result.read_text())["verdict"] == "INTERRUPTED"


def words(pid: int) -> list[bytes]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return []


@pytest.mark.parametrize("program", ["bench", "bench --clients"])
async def test_a_bench_with_children(program: str) -> None:
    started = await start(*PROGRAMS[program])
    await started.at(lambda: len(marked(started.mark)) > 1, "a child")
    await started.interrupted()


@pytest.mark.services
async def test_the_check_of_the_dashboards(tmp_path: Path) -> None:
    program = await start("cli.py", "dashboards", "check", TMPDIR=str(tmp_path))
    await program.at(lambda: any(b"up" in words(pid) for pid in marked(program.mark)), "the stack")
    await program.interrupted()


@pytest.mark.parametrize("how", ["here", "--detach"])
async def test_a_stack_that_comes_up(how: str, tmp_path: Path) -> None:
    options = ["--stack", "embedded", "--port", "0", "--data-dir", str(tmp_path)]
    program = await start("cli.py", "up", *options, *([how] if how != "here" else []))
    await program.at(lambda: len(marked(program.mark)) > 1, "a child")
    await program.interrupted()


READY_INTO = """
import os, sys
os.dup2(os.open(sys.argv.pop(1), os.O_WRONLY | os.O_CREAT, 0o600), 1)
import cli
cli.main()
"""
SERVICES = {"serve": [], "up": ["--stack", "embedded"]}


@pytest.mark.parametrize(
    ("command", "first", "code"), [("serve", signal.SIGTERM, 0), ("up", signal.SIGINT, 130)]
)
async def test_a_service_ends_in_order_however_often_it_is_told(
    command: str, first: signal.Signals, code: int, tmp_path: Path
) -> None:
    ready = tmp_path / "ready"
    options = [*SERVICES[command], "--port", "0", "--data-dir", str(tmp_path)]
    program = await start("-c", READY_INTO, str(ready), command, *options)
    await program.at(lambda: '"ready": true' in text(ready), "the ready line")
    await program.send([first] * 10)
    ended, said = await program.end()
    assert (ended, "Traceback" in said) == (code, False), said
