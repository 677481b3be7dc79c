"""The owner of the signals, in small programs of its own: what a signal does at each place."""

import subprocess
import sys

import pytest

from tests.support.backend.node import ROOT

HEAD = """
import asyncio, os, signal, subprocess, sys
from simulator import interrupts
def kill(*numbers):
    for number in numbers:
        os.kill(os.getpid(), number)
INT, TERM = signal.SIGINT, signal.SIGTERM
"""
LOST_IN_A_FINALISER = """
class Careless:
    def __del__(self): kill(INT)
def main():
    with interrupts.cleaning_up():
        Careless()
        signal.pause()
"""
WHILE_THE_LOOP_CLOSES = """
async def generate():
    try:
        yield
    finally:
        kill(INT, TERM, INT)
        await asyncio.sleep(0)
        print("closed", flush=True)
async def work():
    global kept
    kept = generate()
    await anext(kept)
    WHEN
    await asyncio.sleep(0.01)
def main():
    interrupts.run(work())
"""
WHILE_IT_UNWINDS = """
def main():
    with interrupts.cleaning_up():
        try:
            kill(TERM)
        finally:
            kill(INT, TERM)
            print("clean", flush=True)
"""
WHILE_IT_IS_HELD = """
def main():
    with interrupts.cleaning_up(), interrupts.held():
        kill(TERM)
        print("held", flush=True)
"""
TOO_LATE_TO_BE_HEARD = """
async def work():
    with interrupts.heard(lambda number: print("heard")):
        kill(TERM)
    await asyncio.sleep(60)
def main():
    interrupts.run(work())
"""
BETWEEN_THE_CODE_AND_THE_END = """
import atexit
atexit.register(kill, INT, TERM)
def main():
    return 0
"""
WHATEVER_IT_TURNS_INTO = """
def main():
    with interrupts.cleaning_up():
        try:
            kill(INT)
        except KeyboardInterrupt as error:
            raise ImportError("so a library might say") from error
"""
BEFORE_THE_LOOP = """
async def work():
    print("begun", flush=True)
    await asyncio.sleep(60)
def main():
    new = asyncio.Runner
    def slow(*args, **kwargs):
        kill(TERM)
        return new(*args, **kwargs)
    asyncio.Runner = slow
    interrupts.run(work())
"""


def ended(program: str) -> tuple[int, str, str]:
    """Exit code, output and last words of a program with this `main`."""
    done = subprocess.run(
        [sys.executable, "-c", f"{HEAD}\n{program}\ninterrupts.program(main)"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=30,
        check=False,
    )
    return done.returncode, done.stdout.strip(), done.stderr.strip()


INTERRUPTED = "vouchstorm: Interrupted."


def test_where_nothing_has_begun_it_ends_at_once() -> None:
    assert ended("def main(): kill(TERM); signal.pause()") == (130, "", INTERRUPTED)


def test_an_interrupt_that_a_finaliser_loses_comes_again() -> None:
    assert ended(LOST_IN_A_FINALISER) == (130, "", INTERRUPTED)


@pytest.mark.parametrize("when", ["kill(INT)", "pass"], ids=["the second", "the first"])
def test_a_signal_does_not_cut_a_loop_that_closes(when: str) -> None:
    assert ended(WHILE_THE_LOOP_CLOSES.replace("WHEN", when)) == (130, "closed", INTERRUPTED)


def test_clean_up_is_not_cut_short() -> None:
    assert ended(WHILE_IT_UNWINDS) == (130, "clean", INTERRUPTED)


def test_what_is_held_waits_for_the_end_of_the_block() -> None:
    assert ended(WHILE_IT_IS_HELD) == (130, "held", INTERRUPTED)


def test_a_signal_that_comes_before_the_loop_cancels_the_work() -> None:
    assert ended(BEFORE_THE_LOOP) == (130, "begun", INTERRUPTED)


def test_a_signal_that_nobody_hears_any_more_reaches_who_listens_outside() -> None:
    assert ended(TOO_LATE_TO_BE_HEARD) == (130, "", INTERRUPTED)


def test_nothing_happens_once_the_exit_code_is_known() -> None:
    assert ended(BETWEEN_THE_CODE_AND_THE_END) == (0, "", "")


def test_an_interrupt_stays_one_whatever_becomes_of_it() -> None:
    assert ended(WHATEVER_IT_TURNS_INTO) == (130, "", INTERRUPTED)


def test_another_error_is_shown_as_it_is() -> None:
    code, _, said = ended("def main(): raise ValueError('a bug')")
    assert (code, said.endswith("ValueError: a bug")) == (1, True)


def test_children_inherit_no_ignored_signal() -> None:
    asked = "import signal; print(*map(signal.getsignal, (signal.SIGINT, signal.SIGTERM)))"
    main = f"def main():\n with interrupts.cleaning_up(): subprocess.run([sys.executable, '-c', {asked!r}])"
    assert "default_int_handler" in ended(main)[1]
    assert "SIG_IGN" not in ended(main)[1]


def test_a_library_leaves_the_handlers_as_they_were() -> None:
    asked = """
import signal
from simulator import interrupts
async def work(): return 1
before = [signal.getsignal(number) for number in interrupts.BOTH]
assert interrupts.run(work()) == 1
assert before == [signal.getsignal(number) for number in interrupts.BOTH]
"""
    subprocess.run([sys.executable, "-c", asked], cwd=ROOT, check=True, timeout=30)
