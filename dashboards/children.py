"""How a program that was started here is ended. Called by whoever starts one in this room."""

import subprocess
from typing import Any


def end_process(process: "subprocess.Popen[Any]", timeout_s: float) -> None:
    """Ask it to end, wait, and kill it when it does not; it is reaped when this returns."""
    process.terminate()
    try:
        process.wait(timeout_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
