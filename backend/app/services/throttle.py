"""How often somebody did something in this window, counted on this node and, from a share on, together.

A fixed window of wall-clock time per limit: all nodes agree on where it starts, and no timer runs. Somebody
who stays below `SHARED_FROM` of a limit is counted on this node alone and costs the others nothing; from
there on every step goes through the shared count. When that does not answer, this node decides by what it
knows: a limit then holds per node instead of for all, and nobody waits longer than `PATIENCE_S`.

Knows neither addresses nor users: `who` is any text.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
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
        """The count after adding `amount` (may be negative). Raises CountsError."""
        ...

    async def read(self, key: str) -> int:
        """The count; 0 for a key that nobody added to, which stays without one. Raises CountsError."""
        ...


class CountsError(Exception):
    """The shared counts did not answer."""


@dataclass(frozen=True, slots=True)
class Limit:
    """At most `amount` in each window of `window_s` seconds; 0: no limit.

    windows: how many are kept, the current one among them, for `Throttle.seen`. What was counted is seen for
    at least `windows - 1` times `window_s`.
    """

    name: str
    amount: int
    window_s: int
    windows: int = 1


@dataclass(slots=True)
class _Count:
    """known: the shared count when it was last told. unreported: what it does not know yet. own: ours."""

    known: int = 0
    unreported: int = 0
    own: int = 0

    @property
    def total(self) -> int:
        return self.known + self.unreported


_Window = dict[str, _Count]


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
        self._windows: dict[str, dict[int, _Window]] = {}
        """Of each limit the windows that are kept, by number."""
        self._asking = 0
        self._silent_until_s = 0.0

    async def spend(self, limit: Limit, who: str) -> int | None:
        """Count one; None if that is within the limit, otherwise whole seconds until the window ends."""
        return self._verdict(limit, await self._count(limit, who, 1))

    async def give_back(self, limit: Limit, who: str) -> None:
        """Take one back that was spent."""
        await self._count(limit, who, -1)

    async def seen(self, limit: Limit, who: str) -> bool:
        """Was anything counted in the windows that are kept, as far as this node can tell?

        Asking leaves nothing behind: it cannot fill the book.
        """
        windows = self._kept(limit)
        if any(window[who].total > 0 for window in windows.values() if who in window):
            return True
        number = self._number(limit)
        for past in range(limit.windows):
            if await self._read(_key(limit, number - past, who)):
                return True
        return False

    async def _read(self, key: str) -> int | None:
        return await self._ask(lambda shared: shared.read(key))

    def _verdict(self, limit: Limit, count: _Count | None) -> int | None:
        if count is None or count.total <= limit.amount:
            return None
        return max(1, round(limit.window_s - self._clock.now().timestamp() % limit.window_s))

    async def _count(self, limit: Limit, who: str, amount: int) -> _Count | None:
        """The count of somebody after adding; None where nothing is counted."""
        if limit.amount == 0:
            return None
        number = self._number(limit)
        window = self._kept(limit).setdefault(number, {})
        count = window.get(who)
        if count is None:
            if len(window) >= MAX_KEYS:
                self._on_full()
                return None
            count = window[who] = _Count()
        count.own += amount
        count.unreported += amount
        if self._worth_asking(limit, count, amount):
            await self._report(limit, _key(limit, number, who), count)
        return count

    def _number(self, limit: Limit) -> int:
        return int(self._clock.now().timestamp() // limit.window_s)

    def _kept(self, limit: Limit) -> dict[int, _Window]:
        """The windows of a limit that are not too far away; a clock may be set back a little."""
        windows = self._windows.setdefault(limit.name, {})
        now = self._number(limit)
        if now not in windows:
            for number in [number for number in windows if abs(number - now) >= limit.windows]:
                del windows[number]
        return windows

    @staticmethod
    def _worth_asking(limit: Limit, count: _Count, amount: int) -> bool:
        if amount < 0:
            return count.known != 0  # nobody else was told of what is taken back
        # Who is over the limit already is refused by what we know: a flood stays on this node.
        return count.own > limit.amount * SHARED_FROM and count.total - amount <= limit.amount

    async def _report(self, limit: Limit, key: str, count: _Count) -> None:
        """Tell the shared count what it does not know of this one, and hear what it has."""
        report, count.unreported = count.unreported, 0
        answer = None
        # Expires after the windows that are kept for sure: clocks of nodes differ a little.
        expires_s = (limit.windows + 1) * limit.window_s
        try:
            answer = await self._ask(lambda shared: shared.add(key, report, expires_s))
        finally:
            if answer is None:
                count.unreported += report
            else:
                count.known = answer

    async def _ask(self, question: Callable[[SharedCounts], Awaitable[int]]) -> int | None:
        """What the shared counts say; None where there are none, or while they do not answer."""
        if self._shared is None:
            return None
        now_s = asyncio.get_running_loop().time()
        if now_s < self._silent_until_s or self._asking >= ASKING_AT_ONCE:
            self._on_alone()
            return None
        self._asking += 1
        try:
            async with asyncio.timeout(PATIENCE_S):
                return await question(self._shared)
        except (CountsError, TimeoutError) as error:
            self._on_alone()
            if now_s >= self._silent_until_s:
                _log.warning("shared limits do not answer, this node counts alone: %s", error or "too late")
            self._silent_until_s = asyncio.get_running_loop().time() + RETRY_AFTER_S
            return None
        finally:
            self._asking -= 1


def _key(limit: Limit, number: int, who: str) -> str:
    return f"{limit.name}:{number}:{who}"
