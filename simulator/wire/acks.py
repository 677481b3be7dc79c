"""Acknowledgements that one connection still waits for. Bounded; called by `session`."""

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from ..socketio_client.errors import NotConnectedError
from .handler import ClientCounters

AckCallback = Callable[[bytes, int], None]
Waiting = AckCallback | asyncio.Future[bytes]
MAX_PENDING_ACKS: Final = 4096
logger = logging.getLogger(__name__)


class PendingAcks:
    """Ids count from 1. Each waiting callback or future is served at most once."""

    __slots__ = ("_newest", "_waiting")

    def __init__(self) -> None:
        self._waiting: dict[int, Waiting] = {}
        self._newest = 0

    def next_id(self) -> int | None:
        """The id for the next event, or None if too many answers are owed already."""
        return self._newest + 1 if len(self._waiting) < MAX_PENDING_ACKS else None

    def expect(self, ack_id: int, waiting: Waiting) -> None:
        """The event with the id from `next_id` is on its way."""
        self._newest = ack_id
        self._waiting[ack_id] = waiting

    def forget(self, ack_id: int) -> None:
        """Nobody waits for this one any more."""
        self._waiting.pop(ack_id, None)

    def resolve(self, ack_id: int, args: bytes, at_ns: int, counters: ClientCounters) -> None:
        """An answer came; one that nobody waits for (a caller that gave up, a second answer) is ignored."""
        waiting = self._waiting.pop(ack_id, None)
        if waiting is None:
            return
        counters.acks += 1
        if isinstance(waiting, asyncio.Future):
            if not waiting.done():
                waiting.set_result(args)
            return
        try:
            waiting(args, at_ns)
        except Exception:
            counters.handler_errors += 1
            logger.exception("an acknowledgement callback raised")

    def lose(self, counters: ClientCounters) -> None:
        """The connection ended: futures fail, callbacks are never called."""
        waiting, self._waiting = self._waiting, {}
        counters.acks_lost += len(waiting)
        for one in waiting.values():
            if isinstance(one, asyncio.Future) and not one.done():
                one.set_exception(NotConnectedError("the connection ended before the acknowledgement came"))
