"""The node of the soak: `python soak_node.py ROOT healthy|leaky serve ...`.

It collects its garbage before it counts its objects: what is counted is what somebody holds. The leaky
one forgets nothing: whoever leaves stays in a room, and leaves behind a task that never ends, an open
descriptor, and some kilobytes of memory.
"""

import asyncio
import gc
import os
import sys
from typing import Any

sys.path.insert(0, sys.argv[1])

from backend.app.realtime.rooms import RoomManager

KEPT: list[Any] = []


def _keep_room(manager: RoomManager, sid: str) -> None:
    manager.rooms["/"][f"of {sid}"] = {sid: sid}


def _keep_task(_: RoomManager, __: str) -> None:
    KEPT.append(asyncio.get_running_loop().create_task(asyncio.Event().wait()))


def _keep_descriptor(_: RoomManager, __: str) -> None:
    KEPT.append(os.dup(2))


def _keep_memory(_: RoomManager, sid: str) -> None:
    KEPT.append([f"{sid} {number}" for number in range(400)])


def count_what_is_held() -> None:
    """For the metric `interpreter_blocks`."""
    blocks = sys.getallocatedblocks

    def held() -> int:
        gc.collect()
        return blocks()

    sys.getallocatedblocks = held


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

    count_what_is_held()
    if sys.argv[2] == "leaky":
        plant()
    sys.argv[1:] = sys.argv[3:]
    cli.main()
