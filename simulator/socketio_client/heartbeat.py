"""Finds dead peers for all clients of a process with one timer: a wheel of buckets, one look per deadline.

A ping only moves a session's `deadline_ns`; the wheel finds out when it comes by.
"""

import asyncio
import time
from typing import Protocol

PUT_OFFS = 4
"""Late ticks in a row that are no reason to call a peer dead; the next one is."""


class Watched(Protocol):
    """Something with a deadline. bucket: the wheel's own note, -1 when not on the wheel."""

    deadline_ns: int
    bucket: int

    def deadline_passed(self, at_ns: int) -> None:
        """Nothing moved the deadline in time."""


class HeartbeatSweep:
    """A timer wheel of `tick_s` steps: deadlines are noticed up to three ticks late, never early.

    While the process itself is late, up to `PUT_OFFS` ticks more.

    Runs only while it watches something, on the loop that is running then.
    """

    __slots__ = ("_buckets", "_done", "_due_ns", "_put_offs", "_tick_ns", "_timer")

    def __init__(self, tick_s: float = 0.25) -> None:
        if tick_s <= 0:
            raise ValueError("the tick of a heartbeat sweep must be positive")
        self._tick_ns = int(tick_s * 1e9)
        self._buckets: dict[int, set[Watched]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._done = 0  # the last bucket that was looked at
        self._due_ns = 0
        self._put_offs = 0

    def __len__(self) -> int:
        return sum(len(bucket) for bucket in self._buckets.values())

    def watch(self, entry: Watched) -> None:
        """Put an entry on the wheel by its deadline; once is enough, until `forget`."""
        if entry.bucket >= 0:
            return
        if self._timer is None:
            self._done = time.monotonic_ns() // self._tick_ns
            self._arm()
        self._place(entry)

    def forget(self, entry: Watched) -> None:
        """Take an entry off the wheel."""
        bucket = self._buckets.get(entry.bucket)
        if bucket is not None:
            bucket.discard(entry)
            if not bucket:
                del self._buckets[entry.bucket]
        entry.bucket = -1
        if not self._buckets:
            self._rest()

    def close(self) -> None:
        """Forget everything and cancel the timer."""
        for bucket in self._buckets.values():
            for entry in bucket:
                entry.bucket = -1
        self._buckets.clear()
        self._rest()

    def _rest(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _place(self, entry: Watched) -> None:
        number = max(entry.deadline_ns // self._tick_ns + 1, self._done + 1)
        entry.bucket = number
        self._buckets.setdefault(number, set()).add(entry)

    def _arm(self) -> None:
        self._due_ns = time.monotonic_ns() + self._tick_ns
        self._timer = asyncio.get_running_loop().call_later(self._tick_ns / 1e9, self._tick)

    def _tick(self) -> None:
        now_ns = time.monotonic_ns()
        # A late tick says that this process slept, and pings may lie unread: look after the next read.
        if now_ns - self._due_ns > self._tick_ns and self._put_offs < PUT_OFFS:
            self._put_offs += 1
        else:
            self._put_offs = 0
            self._look(now_ns)
        if self._buckets:
            self._arm()
        else:
            self._timer = None

    def _look(self, now_ns: int) -> None:
        for number in range(self._done + 1, now_ns // self._tick_ns + 1):
            self._done = number
            for entry in self._buckets.pop(number, ()):
                if entry.bucket != number:
                    continue  # forgotten by one that was called before it
                entry.bucket = -1
                if entry.deadline_ns > now_ns:
                    self._place(entry)
                else:
                    entry.deadline_passed(now_ns)
