"""One heap and one task for everything that must happen to a socket later."""

import asyncio
import heapq
import itertools
import logging
from collections import deque
from collections.abc import Callable
from typing import Protocol

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


class HeartbeatSession(Protocol):
    """A session with a heartbeat. `ping_sent_at` is None when no answer is awaited."""

    ping_sent_at: float | None
    closed: bool

    def send_ping(self) -> None: ...

    async def ping_timed_out(self) -> None: ...


class Heartbeat:
    """Pings each session `interval_s` after its last answer; ends those that are silent for `timeout_s`.

    One task for all: interval and timeout are constants, so both queues are in order of time.
    """

    def __init__(self, interval_s: float, timeout_s: float) -> None:
        self._interval_s = interval_s
        self._timeout_s = timeout_s
        self._due: deque[tuple[float, HeartbeatSession]] = deque()
        self._awaited: deque[tuple[float, HeartbeatSession]] = deque()

    def schedule(self, session: HeartbeatSession, now_s: float) -> None:
        """Ping this session one interval from now (`loop.time()`)."""
        self._due.append((now_s + self._interval_s, session))

    def __len__(self) -> int:
        """Entries held; sessions that ended leave at their next turn."""
        return len(self._due) + len(self._awaited)

    async def run(self) -> None:
        """Beat for ever."""
        loop = asyncio.get_running_loop()
        tick_s = min(self._interval_s, self._timeout_s, 2.0) / 10
        while True:
            await asyncio.sleep(tick_s)
            now = loop.time()
            self.ping_due(now)
            for session in self.overdue(now):
                try:
                    await session.ping_timed_out()
                except Exception:
                    log.exception("a silent session could not be ended")

    def ping_due(self, now_s: float) -> None:
        """Ping what is due."""
        while self._due and self._due[0][0] <= now_s:
            _, session = self._due.popleft()
            if session.closed:
                continue
            session.ping_sent_at = now_s
            session.send_ping()
            self._awaited.append((now_s, session))

    def overdue(self, now_s: float) -> list[HeartbeatSession]:
        """Sessions whose answer did not come in time."""
        silent = []
        while self._awaited and self._awaited[0][0] + self._timeout_s <= now_s:
            sent_at, session = self._awaited.popleft()
            if not session.closed and session.ping_sent_at == sent_at:
                silent.append(session)
        return silent
