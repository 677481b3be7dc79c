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


FIRST, SECOND = (WHILE_THE_LOOP_CLOSES.replace("WHEN", when) for when in ("pass", "kill(INT)"))
ENDS = {
    "where nothing has begun it ends at once": ("def main(): kill(TERM); signal.pause()", ""),
    "an interrupt that a finaliser loses comes again": (LOST_IN_A_FINALISER, ""),
    "the second does not cut a loop that closes": (SECOND, "closed"),
    "the first does not cut a loop that closes": (FIRST, "closed"),
    "clean-up is not cut short": (WHILE_IT_UNWINDS, "clean"),
    "what is held waits for the end of the block": (WHILE_IT_IS_HELD, "held"),
    "one that comes before the loop cancels the work": (BEFORE_THE_LOOP, "begun"),
    "one that nobody hears any more reaches who listens outside": (TOO_LATE_TO_BE_HEARD, ""),
    "an interrupt stays one whatever becomes of it": (WHATEVER_IT_TURNS_INTO, ""),
}


@pytest.mark.parametrize(("program", "printed"), ENDS.values(), ids=ENDS)
def test_an_interrupted_program_ends_with_130_and_one_sentence(program: str, printed: str) -> None:
    assert ended(program) == (130, printed, INTERRUPTED)


def test_nothing_happens_once_the_exit_code_is_known() -> None:
    assert ended(BETWEEN_THE_CODE_AND_THE_END) == (0, "", "")


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
