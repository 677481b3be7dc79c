"""The long-running loops of a process: held, restarted after a failure, ended together."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

log = logging.getLogger(__name__)


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
                log.exception("the loop %r failed and is started again", name)
                await asyncio.sleep(self.RESTART_S)

    async def close(self) -> None:
        """Cancel all loops and wait until they are gone."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
