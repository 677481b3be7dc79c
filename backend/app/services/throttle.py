"""How often somebody did something in this window, counted on this node and, from a share on, together.

A fixed window of wall-clock time per limit: all nodes agree on where it starts, and no timer runs. Somebody
who stays below `SHARED_FROM` of a limit is counted on this node alone and costs the others nothing; from
there on every step goes through the shared count. When that does not answer, this node decides by what it
knows: a limit then holds per node instead of for all, and nobody waits longer than `PATIENCE_S`.

Called by `api/rates.py` and `login_guard.py`. Knows neither addresses nor users: `who` is any text.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from ..ports import Clock

SHARED_FROM = 0.1
"""Share of a limit from which on a node asks the others: n nodes together admit at most 1 + n/10 limits."""
PATIENCE_S = 0.1
RETRY_AFTER_S = 1.0
ASKING_AT_ONCE = 32
MAX_KEYS = 100_000

_log = logging.getLogger(__name__)


class SharedCounts(Protocol):
    """Counts that all nodes see."""

    async def add(self, key: str, amount: int, expires_s: int) -> int:
        """The count after adding `amount` (may be 0 or negative). Raises CountsError."""
        ...


class CountsError(Exception):
    """The shared counts did not answer."""


@dataclass(frozen=True, slots=True)
class Limit:
    """At most `amount` in each window of `window_s` seconds; 0: no limit."""

    name: str
    amount: int
    window_s: int


@dataclass(slots=True)
class _Count:
    """known: the shared count when it was last told. unreported: what it does not know yet. own: ours."""

    known: int = 0
    unreported: int = 0
    own: int = 0

    @property
    def total(self) -> int:
        return self.known + self.unreported


@dataclass(slots=True)
class _Window:
    number: int
    counts: dict[str, _Count]


class Throttle:
    """Counts for one node. shared: None where there is no other node.

    on_alone: told of each decision that was made without the shared counts because they did not answer.
    on_full: told of each newcomer who was not counted because MAX_KEYS others are.
    """

    def __init__(
        self,
        clock: Clock,
        shared: SharedCounts | None = None,
        *,
        on_alone: Callable[[], None] = lambda: None,
        on_full: Callable[[], None] = lambda: None,
    ) -> None:
        self._clock = clock
        self._shared = shared
        self._on_alone = on_alone
        self._on_full = on_full
        self._windows: dict[str, _Window] = {}
        self._asking = 0
        self._silent_until_s = 0.0

    async def spend(self, limit: Limit, who: str) -> int | None:
        """Count one; None if that is within the limit, otherwise whole seconds until the window ends."""
        return self._verdict(limit, await self._count(limit, who, 1))

    async def give_back(self, limit: Limit, who: str) -> None:
        """Take one back that was spent."""
        await self._count(limit, who, -1)

    async def spent(self, limit: Limit, who: str) -> int:
        """How many are counted, as far as this node can tell."""
        count = await self._count(limit, who, 0)
        return 0 if count is None else count.total

    def _verdict(self, limit: Limit, count: _Count | None) -> int | None:
        if count is None or count.total <= limit.amount:
            return None
        return max(1, round(limit.window_s - self._clock.now().timestamp() % limit.window_s))

    async def _count(self, limit: Limit, who: str, amount: int) -> _Count | None:
        """The count of somebody after adding; None where nothing is counted."""
        if limit.amount == 0:
            return None
        window = self._window(limit)
        count = window.counts.get(who)
        if count is None:
            if len(window.counts) >= MAX_KEYS:
                self._on_full()
                return None
            count = window.counts[who] = _Count()
        count.own += amount
        count.unreported += amount
        if self._shared is not None and self._worth_asking(limit, count, amount):
            await self._ask(self._shared, limit, f"{limit.name}:{window.number}:{who}", count)
        return count

    def _window(self, limit: Limit) -> _Window:
        number = int(self._clock.now().timestamp() // limit.window_s)
        window = self._windows.get(limit.name)
        if window is None or window.number != number:
            window = self._windows[limit.name] = _Window(number, {})
        return window

    @staticmethod
    def _worth_asking(limit: Limit, count: _Count, amount: int) -> bool:
        if amount < 0:
            return count.known != 0  # nobody else was told of what is taken back
        if amount == 0:
            return True
        # Who is over the limit already is refused by what we know: a flood stays on this node.
        return count.own > limit.amount * SHARED_FROM and count.total - amount <= limit.amount

    async def _ask(self, shared: SharedCounts, limit: Limit, key: str, count: _Count) -> None:
        now_s = asyncio.get_running_loop().time()
        if now_s < self._silent_until_s or self._asking >= ASKING_AT_ONCE:
            self._on_alone()
            return
        report, count.unreported = count.unreported, 0
        self._asking += 1
        try:
            async with asyncio.timeout(PATIENCE_S):
                # Expires after the window for sure: clocks of nodes differ a little.
                count.known = await shared.add(key, report, 2 * limit.window_s)
        except (CountsError, TimeoutError) as error:
            count.unreported += report
            self._on_alone()
            if now_s >= self._silent_until_s:
                _log.warning("shared limits do not answer, this node counts alone: %s", error or "too late")
            self._silent_until_s = asyncio.get_running_loop().time() + RETRY_AFTER_S
        except asyncio.CancelledError:
            count.unreported += report
            raise
        finally:
            self._asking -= 1
