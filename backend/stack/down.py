"""`vouchstorm down` and `status`: a stack as found by its state file, whoever started it.

Ends only processes that the file names and that are still the same ones (`identity.py`).
"""

import signal
import time
from pathlib import Path
from typing import Any

from ..app.errors import SetupError
from .identity import is_alive, send
from .state import read_state, remove_state

DOWN_TIMEOUT_S = 60.0
_POLL_S = 0.05


def stop_stack(data_dir: Path) -> list[str]:
    """End the stack of this data directory, whoever keeps it; the names of what ran. Idempotent.

    Raises SetupError when something survives even SIGKILL.
    """
    state = read_state(data_dir)
    if state is None:
        return []
    names = [running.name for running in state.running if running.alive]
    if send(state.keeper_pid, state.keeper_identity, signal.SIGTERM):
        _wait_gone([(state.keeper_pid, state.keeper_identity)], DOWN_TIMEOUT_S)
    left = [(each.pid, each.identity) for each in (read_state(data_dir) or state).running]
    for number, wait_s in ((signal.SIGTERM, 10.0), (signal.SIGKILL, 5.0)):
        for pid, known in left:
            send(pid, known, number)
            if number is signal.SIGTERM:
                send(pid, known, signal.SIGCONT)
        if _wait_gone(left, wait_s):
            break
    else:
        raise SetupError(
            f"Some processes of the stack do not end; see {data_dir / 'stack.json'} for their pids."
        )
    remove_state(data_dir)
    return names


def _wait_gone(processes: list[tuple[int, str]], timeout_s: float) -> bool:
    end_s = time.monotonic() + timeout_s
    while any(is_alive(pid, known) for pid, known in processes):
        if time.monotonic() > end_s:
            return False
        time.sleep(_POLL_S)
    return True


def stack_status(data_dir: Path) -> dict[str, Any]:
    """What runs for this data directory, fit for JSON; `running` is False when nothing does."""
    state = read_state(data_dir)
    if state is None:
        return {"running": False, "data_dir": str(data_dir), "services": []}
    services = [
        {
            "name": each.name,
            "role": each.role,
            "url": each.url,
            "pid": each.pid,
            "alive": each.alive,
            "restarts": each.restarts,
            "log": each.log,
        }
        for each in state.running
    ]
    return {
        "running": state.kept,
        "ready": state.ready and state.kept,
        "stack": state.kind,
        "url": state.url,
        "pid": state.keeper_pid,
        "data_dir": str(data_dir),
        "services": services,
    }
