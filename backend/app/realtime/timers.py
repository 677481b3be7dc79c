"""One heap and one task for everything that must happen to a socket later."""

import asyncio
import heapq
import itertools
import logging
from collections.abc import Callable

log = logging.getLogger(__name__)


class Deadline:
    """Something that is going to happen, unless it is cancelled before."""

    __slots__ = ("_owner", "callback")

    def __init__(self, owner: "Deadlines", callback: Callable[[], None]) -> None:
        self._owner = owner
        self.callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        """It will not happen, and what it held on to is let go of now. Idempotent."""
        if self.callback is not None:
            self.callback = None
            self._owner.forget()


class Deadlines:
    """Calls back at or soon after a time.

    Deadlines that are hours away are cancelled when their socket goes; the entries that this leaves are
    swept out before they are more than the live ones.
    """

    TICK_S = 0.1
    SWEEP_AT = 1_000

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Deadline]] = []
        self._order = itertools.count()
        self._cancelled = 0

    def __len__(self) -> int:
        """Entries held, cancelled ones among them."""
        return len(self._heap)

    def add(self, at_s: float, callback: Callable[[], None]) -> Deadline:
        """Call `callback` once `loop.time()` has reached `at_s`; it must not block."""
        deadline = Deadline(self, callback)
        heapq.heappush(self._heap, (at_s, next(self._order), deadline))
        return deadline

    def forget(self) -> None:
        """One entry was cancelled."""
        self._cancelled += 1
        self._sweep()

    def _sweep(self) -> None:
        if self._cancelled > self.SWEEP_AT and self._cancelled > len(self._heap) // 2:
            self._heap = [entry for entry in self._heap if entry[2].callback is not None]
            heapq.heapify(self._heap)
            self._cancelled = 0

    def due(self, now_s: float) -> None:
        """Call what is due. A callback that fails is logged and does not stop the others."""
        while self._heap and self._heap[0][0] <= now_s:
            _, _, deadline = heapq.heappop(self._heap)
            callback, deadline.callback = deadline.callback, None
            if callback is None:
                self._cancelled -= 1
                continue
            try:
                callback()
            except Exception:
                log.exception("deadline callback failed")
        self._sweep()

    async def run(self) -> None:
        """Keep deadlines for ever."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(self.TICK_S)
            self.due(loop.time())
