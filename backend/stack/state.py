"""The state file of a running stack: who keeps it, what was started, where it answers.

Written by the keeper whenever a child starts or dies, read by `down`, `status` and the next `up`. Holds no
secrets.
"""

import json
import os
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from .processes import is_alive

FILE = "stack.json"
VERSION = 1


@dataclass(frozen=True, slots=True)
class Running:
    """A child of the stack. restarts: how often it was started again after it died."""

    name: str
    role: str
    url: str
    log: str
    pid: int
    identity: str
    restarts: int = 0

    @property
    def alive(self) -> bool:
        return is_alive(self.pid, self.identity)


@dataclass(frozen=True, slots=True)
class StackState:
    """ready: every child answered at least once."""

    kind: str
    url: str
    ready: bool
    keeper_pid: int
    keeper_identity: str
    running: tuple[Running, ...] = ()
    version: int = VERSION

    @property
    def kept(self) -> bool:
        """Does the process that started the stack still live?"""
        return is_alive(self.keeper_pid, self.keeper_identity)


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
