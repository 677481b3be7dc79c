"""Forgets notifications and applied effects that are older than the retention: slice by slice, once an hour.

Slices are short, with a pause as long as the slice took after each, so that requests are served in between.
Several nodes may do this on one store at the same time. Refuses nothing; an outage puts it off.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta

from ..errors import VouchstormError
from ..ports import Clock, Store, Trimmed

log = logging.getLogger(__name__)

INTERVAL_S = 3600.0
RETRY_S = 30.0
USERS_PER_SLICE = 64
EFFECTS_PER_SLICE = 1_000

Slice = Callable[[datetime, str | None, int], Awaitable[Trimmed]]


class Retention:
    """Runs for ever as a task of the node; does nothing where everything is kept."""

    def __init__(
        self, store: Store, clock: Clock, retention_days: float, *, interval_s: float = INTERVAL_S
    ) -> None:
        """retention_days: 0 keeps everything."""
        self._store = store
        self._clock = clock
        self._retention_days = retention_days
        self._interval_s = interval_s
        self.forgotten = 0

    async def run(self) -> None:
        """Forget at once, then every interval; an outage is logged and tried again."""
        while self._retention_days > 0:
            try:
                await self.trim()
                await asyncio.sleep(self._interval_s)
            except VouchstormError as error:
                log.warning("forgetting put off: %s", error)
                await asyncio.sleep(min(RETRY_S, self._interval_s))

    async def trim(self) -> int:
        """Forget all that is due; how many rows that were. Raises UnavailableError; what went stays gone."""
        if self._retention_days <= 0:
            return 0
        before = self._clock.now() - timedelta(days=self._retention_days)
        total = await self._repeated(self._store.notifications.trim_notifications, before, USERS_PER_SLICE)
        total += await self._repeated(self._store.effects.trim_effects, before, EFFECTS_PER_SLICE)
        if total:
            log.info("forgot %d rows older than %g days", total, self._retention_days)
        return total

    async def _repeated(self, forget: Slice, before: datetime, limit: int) -> int:
        """Pass over the whole store until a pass finds nothing: a slice takes only so much of each user."""
        total = 0
        while removed := await self._pass(forget, before, limit):
            total += removed
        return total

    async def _pass(self, forget: Slice, before: datetime, limit: int) -> int:
        removed = 0
        position = None
        clock = asyncio.get_running_loop().time
        while True:
            since_s = clock()
            done = await forget(before, position, limit)
            removed += done.removed
            self.forgotten += done.removed
            position = done.next_position
            if position is None:
                return removed
            await asyncio.sleep(clock() - since_s)
