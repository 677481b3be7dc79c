"""The long-running loops of a process: held, restarted after a failure, ended together."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection
from typing import Any

log = logging.getLogger(__name__)

CANCEL_AGAIN_S = 2.0
"""How long a task that was cancelled may tidy up before it is cancelled again."""


class Tasks:
    """Owns loops that are meant to run for ever."""

    RESTART_S = 1.0

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, name: str, loop: Callable[[], Awaitable[None]]) -> None:
        """Run `loop()`; if it raises, log it and run it again after a pause."""
        task = asyncio.get_running_loop().create_task(self._keep(name, loop), name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _keep(self, name: str, loop: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                await loop()
                return
            except Exception:
                heed_cancellation()
                log.exception("the loop %r failed and is started again", name)
                await asyncio.sleep(self.RESTART_S)

    async def close(self) -> None:
        """Cancel all loops and wait until they are gone."""
        await end(self._tasks)


async def end(tasks: Collection[asyncio.Task[Any]]) -> None:
    """Cancel tasks and wait until they are gone, whatever they raise.

    Asked again and again: an error that happens at the moment of a cancellation comes in its place (from
    `gather`; from `asyncio.TaskGroup` before Python 3.13), and a loop that survives errors would survive
    its end.
    """
    pending = set(tasks)
    while pending:
        for task in pending:
            task.cancel()
        done, pending = await asyncio.wait(pending, timeout=CANCEL_AGAIN_S)
        for task in done:
            if not task.cancelled():
                task.exception()
        if pending:
            log.warning("still running after a cancellation: %s", sorted(task.get_name() for task in pending))


def heed_cancellation() -> None:
    """For loops that survive errors, in their `except`: raises CancelledError if this task is to end.

    Why the error may have come instead of the cancellation: see `end`.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError
