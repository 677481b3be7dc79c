"""A test that hangs says where, and ends; so does one whose alarm was lost, or whose teardown hangs."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]

HANGING = """
import asyncio, subprocess, time
import pytest
from tests.support import hang_report

hang_report.AGAIN_S = 2

async def inner():
    await asyncio.Event().wait()

async def outer():
    await inner()

async def test_hangs(tmp_path):
    with open(tmp_path / "child.log", "wb") as log:
        child = subprocess.Popen(["sh", "-c", "echo last words; exec sleep 60"], stdout=log)
    (tmp_path / "ended.log").write_text("words of one who ended")
    while not (tmp_path / "child.log").read_bytes():
        await asyncio.sleep(0.01)
    try:
        await asyncio.create_task(outer(), name="the one that waits")
    finally:
        child.kill()
        child.wait()

async def test_hangs_where_the_alarm_is_lost():
    async def loses_it():
        time.sleep(60)
    task = asyncio.create_task(loses_it())
    await asyncio.Event().wait()

@pytest.fixture
async def never_ends():
    yield
    await inner()

async def test_fails(never_ends):
    assert False
"""


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> str:
    test = tmp_path_factory.mktemp("hanging") / "test_hanging.py"
    test.write_text(HANGING)
    command = [sys.executable, "-m", "pytest", "-p", "tests.support.hang_report", "-o", "asyncio_mode=auto"]
    elsewhere = ["-c", "/dev/null", f"--rootdir={test.parent}", "-p", "no:cacheprovider"]
    return subprocess.run(
        [*command, *elsewhere, "--timeout=3", str(test)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=100,
        check=False,
    ).stdout


def test_each_ends(said: str) -> None:
    assert "3 failed, 1 error" in said


def test_the_tasks_of_the_loop_are_shown_down_to_what_they_await(said: str) -> None:
    stack = said.partition("\n<Task pending name='the one that waits'")[2].partition("----")[0]
    assert stack.index("in outer") < stack.index("in inner") < stack.index("in wait")


def test_what_a_fixture_awaits_at_its_end_is_shown(said: str) -> None:
    stack = said.partition("async_finalizer")[2].partition("====")[0]
    assert stack.index("in never_ends") < stack.index("in inner") < stack.index("in wait")


def test_the_logs_of_child_processes_are_shown(said: str) -> None:
    assert "\nlast words\n" in said
    assert "ended.log\nwords of one who ended" in said
