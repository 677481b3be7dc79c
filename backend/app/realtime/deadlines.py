"""One heap and one task for everything that must happen to a socket later."""

import asyncio
import heapq
import itertools
import logging
from collections.abc import Callable

log = logging.getLogger(__name__)


class Deadlines:
    """Calls back at or soon after a time. Callbacks look for themselves whether they still matter."""

    TICK_S = 0.1

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()

    def __len__(self) -> int:
        return len(self._heap)

    def add(self, at_s: float, callback: Callable[[], None]) -> None:
        """Call `callback` once `loop.time()` has reached `at_s`; it must not block."""
        heapq.heappush(self._heap, (at_s, next(self._order), callback))

    def due(self, now_s: float) -> None:
        """Call what is due. A callback that fails is logged and does not stop the others."""
        while self._heap and self._heap[0][0] <= now_s:
            _, _, callback = heapq.heappop(self._heap)
            try:
                callback()
            except Exception:
                log.exception("deadline callback failed")

    async def run(self) -> None:
        """Keep deadlines for ever."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(self.TICK_S)
            self.due(loop.time())
