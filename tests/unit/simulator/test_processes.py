"""Children that are started, waited for and ended: the same for those that block and those that do not."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from simulator.processes import PIPE, ProcessError, Program, exit_reason, free_port, free_ports
from tests.support.waiting import wait_until

SLEEPS = "import signal; print('{\"ready\": true}', flush=True); signal.pause()"
DEAF = (
    "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('{}', flush=True);"
    "[signal.pause() for _ in iter(int, 1)]"
)
PARENT = """
import subprocess, sys
child = subprocess.Popen([sys.executable, '-c', 'import signal; signal.pause()'])
print('{"child": %d}' % child.pid, flush=True)
child.wait()
"""


def python(script: str, **options: object) -> Program:
    return Program([sys.executable, "-I", "-c", script], stdout=PIPE, **options)


def is_running(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def test_a_child_says_that_it_is_ready_and_ends_with_the_block() -> None:
    with python(SLEEPS).running() as child:
        assert child.facts() == {"ready": True}
    assert child.returncode == -signal.SIGTERM


async def test_a_child_of_a_coroutine_does_so_too() -> None:
    async with python(SLEEPS).spawned() as child:
        assert await child.facts() == {"ready": True}
    assert child.returncode == -signal.SIGTERM


def test_one_that_does_not_heed_is_killed() -> None:
    child = python(DEAF).start()
    child.facts()
    assert child.end(0.05)
    assert child.returncode == -signal.SIGKILL


async def test_one_that_does_not_heed_is_killed_without_blocking() -> None:
    child = await python(DEAF).spawn()
    await child.facts()
    assert await child.end(0.05)
    assert child.returncode == -signal.SIGKILL


async def test_the_exit_code_is_left_to_who_waits_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """`Popen.poll`, which `send_signal` calls first, takes it: then asyncio reports 255."""
    child = await python(SLEEPS).spawn()
    await child.facts()
    with monkeypatch.context() as patched:
        patched.setattr(subprocess.Popen, "poll", lambda _: pytest.fail("somebody else took the exit code"))
        await child.end(5)
    assert child.returncode == -signal.SIGTERM


async def test_who_is_cancelled_while_it_ends_a_child_kills_it() -> None:
    child = await python(DEAF).spawn()
    await child.facts()
    ending = asyncio.create_task(child.end(600))
    await asyncio.sleep(0)
    ending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await ending
    assert child.returncode == -signal.SIGKILL


@pytest.mark.parametrize("number", [signal.SIGSTOP, signal.SIGCONT])
def test_a_stopped_child_is_woken_to_end(number: signal.Signals) -> None:
    child = python(SLEEPS).start()
    child.facts()
    child.send(number)
    assert not child.end()


def test_the_children_of_a_child_end_with_it() -> None:
    with python(PARENT).running() as child:
        grandchild = child.facts()["child"]
    wait_until(lambda: not is_running(grandchild), "the end of the whole group")


def test_the_end_of_one_that_fails_is_said_with_its_last_words(tmp_path: Path) -> None:
    program = python("raise SystemExit('The disk is full.')", log=tmp_path / "log")
    with (
        program.running() as child,
        pytest.raises(ProcessError, match=r"ended with status 1: The disk is full\."),
    ):
        child.facts()


async def test_the_end_of_one_that_fails_is_said_without_blocking(tmp_path: Path) -> None:
    program = python("raise SystemExit('The disk is full.')", log=tmp_path / "log")
    async with program.spawned() as child:
        with pytest.raises(ProcessError, match=r"ended with status 1: The disk is full\."):
            await child.facts()


def test_one_that_is_never_ready_is_said_to_be_so() -> None:
    with python(SLEEPS).running() as child, pytest.raises(ProcessError, match="not ready within"):
        child.until(lambda: False, 0.01)


def test_a_program_that_is_not_there_is_an_error_of_the_start() -> None:
    with pytest.raises(FileNotFoundError):
        Program(["no-such-program-anywhere"]).start()


def test_a_child_has_the_environment_and_the_processors_it_is_given() -> None:
    cpu = min(os.sched_getaffinity(0))
    script = (
        "import json, os; print(json.dumps({'mine': os.environ.get('MINE'), 'home': os.environ.get('HOME'),"
        "'cpus': list(os.sched_getaffinity(0))}))"
    )
    with python(script, env={"MINE": "yes", "HOME": None}, cpus={cpu}).running() as child:
        assert child.facts() == {"mine": "yes", "home": None, "cpus": [cpu]}


@pytest.mark.parametrize("how", ["program.start()", "await program.spawn()"])
def test_a_child_ends_when_its_parent_is_killed(tmp_path: Path, how: str) -> None:
    script = tmp_path / "parent.py"
    script.write_text(f"""
import asyncio, sys
sys.path.insert(0, {str(Path(__file__).parents[3])!r})
from simulator.processes import DEVNULL, Program

async def main():
    program = Program([sys.executable, "-I", "-c", {SLEEPS!r}], stdout=DEVNULL)
    child = {how}
    print('{{"child": %d}}' % child.pid, flush=True)
    await asyncio.sleep(600)

asyncio.run(main())
""")
    with Program([sys.executable, str(script)], stdout=PIPE).running() as parent:
        child = parent.facts()["child"]
        assert is_running(child)
        parent.send(signal.SIGKILL)
        wait_until(lambda: not is_running(child), "the end of the child")


def test_free_ports_differ() -> None:
    assert len({free_port(), *free_ports(20)}) >= 20


@pytest.mark.parametrize(
    ("code", "said"), [(None, "is running"), (3, "ended with status 3"), (-9, "ended with signal SIGKILL")]
)
def test_how_a_process_ended_is_said_in_words(code: int | None, said: str) -> None:
    assert exit_reason(code) == said
