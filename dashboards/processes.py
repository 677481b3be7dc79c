"""Programs that are started here: ended with the block, whatever ends it."""

import contextlib
import subprocess
from collections.abc import Iterator, Sequence
from typing import IO, Any

from simulator import interrupts


@contextlib.contextmanager
def running(
    words: Sequence[str], log: IO[bytes], timeout_s: float, **options: Any
) -> Iterator["subprocess.Popen[bytes]"]:
    """A program with its words on a log and nothing to read; asked to end with the block, and then made to.

    timeout_s: how long it may take for that. options: of `subprocess.Popen`.
    """
    with contextlib.ExitStack() as stack:
        with interrupts.held():
            process = subprocess.Popen(
                words, **{"stdout": log, "stderr": log, "stdin": subprocess.DEVNULL, **options}
            )
            stack.callback(end_process, process, timeout_s)
        yield process


def end_process(process: "subprocess.Popen[Any]", timeout_s: float) -> None:
    """Ask it to end, wait, and kill it when it does not; it is reaped when this returns."""
    process.terminate()
    try:
        process.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
