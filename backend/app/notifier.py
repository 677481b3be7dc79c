"""For processes without sockets (cron jobs, workers): create notifications that reach connected users.

    async with outside(load_settings()) as services:
        await services.notifications.create_notification(user_id, NotificationType.SYSTEM, "Hello", "...")

The row is stored first, as always; the push goes over the bus (none configured: users see it when they next
sync). Processes that only want to send an event and have no access to the store can use a write-only
`socketio.AsyncRedisManager(url, write_only=True)` on the same Redis and emit to a room.
"""

import logging
import os
import random
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from . import __version__
from .clock import SortableIds, SystemClock
from .observability.metrics import Metrics
from .ports import Emitter, Push
from .realtime.bus.bus import Bus
from .realtime.delivery import encode_push
from .services.notification_service import NotificationService
from .services.websocket_service import WebSocketService
from .settings import Settings
from .store.open import build_store
from .tasks import Tasks

log = logging.getLogger(__name__)

FLUSH_TIMEOUT_S = 5.0


@dataclass(frozen=True, slots=True)
class Outside:
    notifications: NotificationService
    websocket: WebSocketService


class BusEmitter:
    """Pushes to the nodes over the bus; without a bus, to nobody."""

    def __init__(self, bus: Bus | None) -> None:
        self._bus = bus

    def push(self, pushes: Sequence[Push]) -> None:
        """See `ports.Emitter.push`."""
        if self._bus is not None:
            for push in pushes:
                self._bus.publish(push.room, encode_push(push))


@asynccontextmanager
async def outside(settings: Settings) -> AsyncIterator[Outside]:
    """Services of a process beside the nodes.

    When the block ends, what was pushed has been sent, or every node was told to compare with the store.
    Where the bus does not answer within FLUSH_TIMEOUT_S that is logged; the nodes' next comparison finds the
    rows.

    Raises SetupError, UnavailableError.
    """
    clock = SystemClock()
    ids = SortableIds(clock)
    node = f"outside-{socket.gethostname()}-{os.getpid()}"
    bus = None
    if settings.bus_url is not None:
        bus = Bus(settings.bus_url.get_secret_value(), node, Metrics(__version__, node), random.Random())
    store = build_store(
        settings.resolved_store_url,
        trust_policy=settings.trust_policy,
        clock=clock,
        timeout_s=settings.store_timeout_s,
        mongo_driver=settings.mongo_driver,
    )
    emitter: Emitter = BusEmitter(bus)
    websocket = WebSocketService(emitter)
    tasks = Tasks()
    if bus is not None:
        tasks.start("bus publisher", bus.run_publisher)
    try:
        await store.open()
        yield Outside(NotificationService(store, websocket, ids), websocket)
    finally:
        if bus is not None:
            if not await bus.flush(FLUSH_TIMEOUT_S):
                log.warning("the bus did not answer in time, the nodes find the rows when they next compare")
            await tasks.close()
            await bus.close()
        await store.close()
