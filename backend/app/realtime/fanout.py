"""From pushes to sockets: one encode, one write per socket and flush, in order.

A flush happens on the same turn of the loop when the node is idle; under load events are collected for up
to `coalesce_s` and leave in one write per socket. Live counters go out at most `snapshot_hz` times a second
per claim, the latest wins; the last value always goes out.
"""

import asyncio
import logging
import time
from collections.abc import Callable

from ..contracts.types import DeliveryClass
from .engine import Session
from .rooms import RoomManager
from .websocket import Message

log = logging.getLogger(__name__)

VERSIONS_KEPT = 20_000


class Fanout:
    """The one flusher of a node. Every push to a room goes through here, first in, first out.

    Not so what the library itself emits (`RoomManager.emit`): that goes straight to each socket.

    on_flush: told per room: seconds since the oldest message came in, sockets written to, the messages.
    on_drop: told of each message that found the queue full.
    """

    def __init__(
        self,
        rooms: RoomManager,
        *,
        coalesce_s: float,
        snapshot_interval_s: float,
        queue_messages: int,
        on_flush: Callable[[float, int, list[Message]], None] | None = None,
        on_drop: Callable[[Message], None] = lambda message: None,
    ) -> None:
        self._rooms = rooms
        self._coalesce_s = coalesce_s
        self._snapshot_interval_s = snapshot_interval_s
        self._queue_messages = queue_messages
        self._on_flush = on_flush
        self._on_drop = on_drop
        self._pending: dict[str, list[Message]] = {}
        self._size = 0
        self._oldest_s = 0.0
        self._flushed_s = float("-inf")
        self._timer: asyncio.Handle | None = None
        self._snapshots: dict[tuple[str, str], tuple[float, Message | None]] = {}
        self._snapshot_timer: asyncio.TimerHandle | None = None
        self._versions: dict[tuple[str, str], int] = {}
        self.flushes = 0
        self.flushed = 0
        """Messages that a flush took to a room; `flushes` counts the rooms."""
        self.superseded = 0
        """Snapshots that a newer one replaced."""

    def put(self, room: str, message: Message) -> bool:
        """Queue a message for a room; never waits. Rooms without a local member cost a look-up.

        False if it was dropped because too much waits already.
        """
        if not self._rooms.room_size(room):
            return True
        if message.delivery is DeliveryClass.SNAPSHOT and message.key is not None:
            if message.version < self._versions.get((room, message.key), 0):
                self.superseded += 1
                return True
            self.note(room, message.key, message.version)
            if self._hold_back(room, message.key, message):
                return True
        elif self._size >= self._queue_messages:
            # Not reached by a node that keeps up. The channel of a durable message reads it again.
            self._on_drop(message)
            return False
        self._enqueue(room, message)
        return True

    def _enqueue(self, room: str, message: Message) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        if not self._size:
            self._oldest_s = time.monotonic()  # the loop's own clock stands still while callbacks run
        self._pending.setdefault(room, []).append(message)
        self._size += 1
        if self._timer is None:
            wait_s = self._flushed_s + self._coalesce_s - now
            self._timer = loop.call_later(wait_s, self.flush) if wait_s > 0 else loop.call_soon(self.flush)

    def flush(self) -> None:
        """Write everything that is pending, now."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        pending, self._pending = self._pending, {}
        self._size = 0
        for room, messages in pending.items():
            sessions = self._rooms.sessions(room)
            _write(sessions, messages)
            self.flushes += 1
            self.flushed += len(messages)
            if self._on_flush is not None:
                waited_s = time.monotonic() - self._oldest_s
                self._on_flush(waited_s, len(sessions), messages)
        self._flushed_s = asyncio.get_running_loop().time()

    def note(self, room: str, key: str, version: int) -> None:
        """This room has seen this version: older ones, delayed on their way here, are not sent any more."""
        self._versions[room, key] = max(version, self._versions.pop((room, key), 0))
        if len(self._versions) > VERSIONS_KEPT:
            del self._versions[next(iter(self._versions))]

    @property
    def pending(self) -> int:
        """Messages that wait for the next flush."""
        return self._size

    def settle(self, room: str) -> None:
        """Flush now if this room has something pending: a socket is about to join with a known position."""
        if room in self._pending:
            self.flush()

    def finish(self) -> None:
        """Write everything now, also the counters that were held back."""
        for (room, key), (due, held) in list(self._snapshots.items()):
            if held is not None:
                self._snapshots[room, key] = (due, None)
                if not self._outdated(room, key, held):
                    self._pending.setdefault(room, []).append(held)
        self.flush()

    def close(self) -> None:
        """Write everything and stop the timers."""
        self.finish()
        if self._snapshot_timer is not None:
            self._snapshot_timer.cancel()
            self._snapshot_timer = None

    # -------------------------------------------------------------- snapshots

    def _hold_back(self, room: str, key: str, message: Message) -> bool:
        """Keep a snapshot for later if this key was sent a moment ago; True when it was kept."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        due, held = self._snapshots.get((room, key), (0.0, None))
        if held is not None:
            if held.version <= message.version:
                self._snapshots[room, key] = (due, message)
            self.superseded += 1
            return True
        early = now < due
        self._snapshots[room, key] = (due, message) if early else (now + self._snapshot_interval_s, None)
        if self._snapshot_timer is None:
            wait_s = due - now if early else self._snapshot_interval_s
            self._snapshot_timer = loop.call_later(wait_s, self._release)
        return early

    def _release(self) -> None:
        """Send the held snapshots that are due; forget the keys that went quiet."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        self._snapshot_timer = None
        next_due: float | None = None
        for (room, key), (due, held) in list(self._snapshots.items()):
            if due <= now:
                if held is None:
                    del self._snapshots[room, key]
                    continue
                due = now + self._snapshot_interval_s
                self._snapshots[room, key] = (due, None)
                if not self._outdated(room, key, held):
                    self._enqueue(room, held)
            next_due = due if next_due is None else min(next_due, due)
        if next_due is not None:
            self._snapshot_timer = loop.call_later(max(0.0, next_due - now), self._release)

    def _outdated(self, room: str, key: str, held: Message) -> bool:
        """Did this room see a newer version while this one was held back?"""
        if held.version >= self._versions.get((room, key), 0):
            return False
        self.superseded += 1
        return True


def _write(sessions: list[Session], messages: list[Message]) -> None:
    """One write per direct, healthy socket; the others take the messages one by one.

    A socket that fails is ended, so that its client comes back and is caught up; the others go on.
    """
    wire = messages[0].wire if len(messages) == 1 else b"".join([message.wire for message in messages])
    for session in sessions:
        try:
            write = session.write
            if write is not None:
                write(wire)
            else:
                session.post(messages)
        except Exception:
            log.exception("a socket could not be written to")
            session.abort("write_failed")
