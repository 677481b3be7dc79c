"""Processes that outlive whoever started them: who is behind a pid, and a signal for exactly that process.

A pid is given to a stranger once its process is gone. Therefore each is kept with the moment its process
started, and no signal is sent to a pid whose process started at another moment.
"""

import os
import signal
import subprocess
from contextlib import suppress
from pathlib import Path

_STARTED_FIELD = 19
"""Of /proc/PID/stat after the closing parenthesis of the command. Source: proc(5), field 22."""


def identity(pid: int) -> str | None:
    """When the process started, in the system's own words; None when there is no such process."""
    if Path("/proc/self/stat").exists():
        with suppress(OSError):
            state, *fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            return None if state == "Z" else f"{_boot()}-{fields[_STARTED_FIELD - 1]}"
        return None
    asked = subprocess.run(
        ["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    return asked.stdout.strip() or None


def _boot() -> str:
    with suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()[:8]
    return ""


def is_alive(pid: int, known: str) -> bool:
    """Is this still the process that was seen as `known`?"""
    return identity(pid) == known


def send(pid: int, known: str, number: signal.Signals) -> bool:
    """Signal the process if it still is the one seen as `known`; False when it is gone."""
    if not hasattr(os, "pidfd_open"):
        if is_alive(pid, known):
            with suppress(ProcessLookupError):
                os.kill(pid, number)
                return True
        return False
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return False
    try:
        # The handle holds on to the process: between this look and the signal no stranger gets the pid.
        if not is_alive(pid, known):
            return False
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(handle, number)
            return True
        return False
    finally:
        os.close(handle)
