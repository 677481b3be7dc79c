"""All heartbeats of a node in two queues and one task, instead of a task and a timer per socket.

Because interval and timeout are constants, both queues are in order of time by construction.
"""

import asyncio
import logging
from collections import deque
from typing import Protocol

log = logging.getLogger(__name__)


class Beating(Protocol):
    """A session with a heartbeat. `ping_sent_at` is None when no answer is awaited."""

    ping_sent_at: float | None
    closed: bool

    def send_ping(self) -> None: ...

    async def ping_timed_out(self) -> None: ...


class Heartbeat:
    """Pings each session `interval_s` after its last answer; ends those that are silent for `timeout_s`."""

    def __init__(self, interval_s: float, timeout_s: float) -> None:
        self._interval_s = interval_s
        self._timeout_s = timeout_s
        self._due: deque[tuple[float, Beating]] = deque()
        self._awaited: deque[tuple[float, Beating]] = deque()

    def schedule(self, session: Beating, now_s: float) -> None:
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

    def overdue(self, now_s: float) -> list[Beating]:
        """Sessions whose answer did not come in time."""
        silent = []
        while self._awaited and self._awaited[0][0] + self._timeout_s <= now_s:
            sent_at, session = self._awaited.popleft()
            if not session.closed and session.ping_sent_at == sent_at:
                silent.append(session)
        return silent
