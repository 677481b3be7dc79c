"""What this node may have missed on the bus and has not compared with the store yet.

One instant stands for all pending gaps: since when messages may be missing. It only ever moves back until a
comparison has succeeded, so that a second gap, or a store that is down, never shortens the window. Used by
`bus.py`, which says when something was missed; `bus_listener.py` compares.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from ..errors import VouchstormError
from ..observability.metrics import Metrics

log = logging.getLogger(__name__)

RETRY_S = 1.0

Compare = Callable[[list[str] | None, float], Awaitable[None]]
"""(rooms, None for all; seconds since the first message that may be missing). Tried again if it raises."""


class Gaps:
    """The pending gaps of one node. Times are the event loop's."""

    def __init__(self, metrics: Metrics, compare: Compare) -> None:
        self._metrics = metrics
        self._compare = compare
        self._rooms: dict[str, None] = {}
        self._everything = False
        self._since_s: float | None = None
        self._pending = asyncio.Event()

    def everything(self, since_s: float) -> None:
        """A gap: any message since then may be missing."""
        self._metrics.bus_gaps.inc()
        self._metrics.bus_gap_open.set(1)
        self._add([], True, since_s)

    def room(self, room: str, since_s: float) -> None:
        """A room that is heard from now on was wanted since then."""
        self._add([room], False, since_s)

    def _add(self, rooms: list[str], everything: bool, since_s: float) -> None:
        self._rooms.update(dict.fromkeys(rooms))
        self._everything = self._everything or everything
        self._since_s = since_s if self._since_s is None else min(since_s, self._since_s)
        self._pending.set()

    async def run_repairs(self) -> None:
        """Have what was missed looked up, for ever; beside the listener, which must never wait."""
        while True:
            await self._pending.wait()
            try:
                await self._repair()
            except VouchstormError as error:
                log.warning("cannot look up what the bus missed yet: %s", error)
                await asyncio.sleep(RETRY_S)

    async def _repair(self) -> None:
        """One comparison; whatever it raises, what was pending stays so."""
        now = asyncio.get_running_loop().time()
        self._pending.clear()
        everything, self._everything = self._everything, False
        rooms, self._rooms = list(self._rooms), {}
        since_s, self._since_s = self._since_s if self._since_s is not None else now, None
        try:
            await self._compare(None if everything else rooms, now - since_s)
        except BaseException:
            self._add(rooms, everything, since_s)
            raise
        if everything:
            self._metrics.bus_gaps_closed.inc()
            self._metrics.bus_gap_open.set(self._everything)
