"""A node that forgets nothing: `python leaky_node.py ROOT serve ...`. Only for tests of the soak.

Whoever leaves stays in a room, and leaves behind a task that never ends, an open descriptor, and some
kilobytes of memory.
"""

import asyncio
import os
import sys
from typing import Any

sys.path.insert(0, sys.argv[1])

from backend.app.realtime.manager import RoomManager

KEPT: list[Any] = []


def _keep_room(manager: RoomManager, sid: str) -> None:
    manager.rooms["/"][f"of {sid}"] = {sid: sid}


def _keep_task(_: RoomManager, __: str) -> None:
    KEPT.append(asyncio.get_running_loop().create_task(asyncio.Event().wait()))


def _keep_descriptor(_: RoomManager, __: str) -> None:
    KEPT.append(os.dup(2))


def _keep_memory(_: RoomManager, sid: str) -> None:
    KEPT.append([f"{sid} {number}" for number in range(400)])


def plant() -> None:
    """Whoever leaves leaves all of it behind."""
    leave = RoomManager.basic_disconnect

    def leave_something(manager: RoomManager, sid: str, namespace: str, **kwargs: Any) -> None:
        leave(manager, sid, namespace, **kwargs)
        for keep in (_keep_room, _keep_task, _keep_descriptor, _keep_memory):
            keep(manager, sid)

    RoomManager.basic_disconnect = leave_something  # type: ignore[method-assign]


if __name__ == "__main__":
    import cli

    plant()
    sys.argv[1:] = sys.argv[2:]
    cli.main()
