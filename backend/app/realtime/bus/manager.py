"""Rooms of a node that has a bus.

What the library sends between nodes (emits to a room, disconnects, room changes), and what processes send
with a write-only `socketio.AsyncRedisManager`, keeps its own format and channel; only the connections and
their repair are ours.
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any

from socketio.async_redis_manager import AsyncRedisManager

from ..rooms import RoomManager, arguments_of, target_of
from .bus import Bus

log = logging.getLogger(__name__)

INBOX = 10_000


class BusManager(AsyncRedisManager, RoomManager):  # type: ignore[misc]
    """Rooms of this node, and the library's messages to and from the others.

    MRO: BusManager, AsyncRedisManager, AsyncPubSubManager, RoomManager.
    """

    def __init__(self, url: str, bus: Bus) -> None:
        super().__init__(url)
        self._bus = bus
        self._inbox: asyncio.Queue[bytes] = asyncio.Queue(INBOX)
        bus.on_raw = self._received

    def _received(self, data: bytes) -> None:
        try:
            self._inbox.put_nowait(data)
        except asyncio.QueueFull:
            log.warning("too many library messages on the bus, one was dropped")

    async def _publish(self, data: dict[str, Any]) -> None:
        self._bus.publish_raw(self.json.dumps(data))

    async def _listen(self) -> AsyncIterator[bytes]:
        while True:
            yield await self._inbox.get()

    async def emit(
        self,
        event: str,
        data: Any,
        namespace: str | None = None,
        room: Any = None,
        skip_sid: Any = None,
        callback: Any = None,
        to: Any = None,
        **kwargs: Any,
    ) -> None:
        """As the library's, but the other nodes do not wait for this node's own fan-out.

        Raises ValueError without a room, as `RoomManager.emit`.
        """
        room = target_of(to or room)
        if callback is None and not kwargs.get("ignore_queue"):
            await self._publish(
                {
                    "method": "emit",
                    "event": event,
                    "data": arguments_of(data),
                    "binary": False,
                    "namespace": namespace or "/",
                    "room": room,
                    "skip_sid": skip_sid,
                    "callback": None,
                    "host_id": self.host_id,
                }
            )
            kwargs["ignore_queue"] = True
        await super().emit(event, data, namespace or "/", room, skip_sid, callback, **kwargs)
