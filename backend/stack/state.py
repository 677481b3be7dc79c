"""The state file of a running stack: who keeps it, what was started, where it answers.

Written whenever a service starts or ends. Holds no secrets. The system gives a pid to a stranger once its
process is gone: therefore each is kept with the moment its process started, and no signal is sent to a pid
whose process started at another moment.
"""

import json
import os
import signal
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil

FILE = "stack.json"
VERSION = 2


def started_s(pid: int) -> float | None:
    """When the process started, in seconds after boot; None when there is none, or only its zombie."""
    try:
        process = psutil.Process(pid)
        # After boot: the wall clock may be set meanwhile, and both go with it.
        booted_s = psutil.boot_time()
        return (
            None if process.status() == psutil.STATUS_ZOMBIE else round(process.create_time() - booted_s, 2)
        )
    except psutil.NoSuchProcess:
        return None


def send(pid: int, known_s: float, number: signal.Signals) -> bool:
    """Signal the process if it still is the one that started then; False when it is gone."""
    with suppress(ProcessLookupError):
        if started_s(pid) == known_s:
            os.kill(pid, number)
            return True
    return False


@dataclass(frozen=True, slots=True)
class Running:
    """A child of the stack. restarts: how often it was started again after it died."""

    name: str
    role: str
    url: str
    log: str
    pid: int
    started_s: float
    restarts: int = 0

    @property
    def alive(self) -> bool:
        return started_s(self.pid) == self.started_s


@dataclass(frozen=True, slots=True)
class StackState:
    """ready: every service answered at least once. rolls, roll_trouble: see `StackProcesses.roll`."""

    kind: str
    url: str
    ready: bool
    keeper_pid: int
    keeper_started_s: float
    running: tuple[Running, ...] = ()
    rolls: int = 0
    roll_trouble: str = ""
    version: int = VERSION

    @property
    def kept(self) -> bool:
        """Does the process that started the stack still live?"""
        return started_s(self.keeper_pid) == self.keeper_started_s


def write_state(data_dir: Path, state: StackState) -> None:
    """Replace the file as a whole, so that a reader never sees half of it."""
    path = data_dir / FILE
    draft = path.with_suffix(f".{os.getpid()}.tmp")
    draft.write_text(json.dumps(asdict(state), indent=1))
    draft.replace(path)


def read_state(data_dir: Path) -> StackState | None:
    """None when there is no state file, or none that this version understands."""
    with suppress(FileNotFoundError, ValueError, TypeError, KeyError):
        said: dict[str, Any] = json.loads((data_dir / FILE).read_text())
        if said["version"] == VERSION:
            return StackState(**{**said, "running": tuple(Running(**each) for each in said["running"])})
    return None


def remove_state(data_dir: Path) -> None:
    (data_dir / FILE).unlink(missing_ok=True)
