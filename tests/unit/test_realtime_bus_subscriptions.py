"""Which rooms a node hears, when members come back while the subscriptions are being brought in line."""

import asyncio
import random
from collections.abc import Sequence
from typing import Any

from backend.app.metrics import Metrics
from backend.app.realtime import bus_wire as wire
from backend.app.realtime.bus import Bus
from backend.app.tasks import end
from tests.support.waiting import until


class Connections:
    """Answers a subscription when `open` is set; remembers what is heard."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.heard: set[str] = set()
        self.asked: list[str] = []
        self.let_go: list[str] = []

    async def subscribe(self, channels: Sequence[str]) -> None:
        self.asked += channels
        await self.open.wait()
        self.heard.update(channels)

    async def unsubscribe(self, channels: Sequence[str]) -> None:
        self.let_go += channels
        self.heard.difference_update(channels)


async def test_a_room_that_is_wanted_again_while_others_are_subscribed_is_not_let_go() -> None:
    connections: Any = Connections()
    ann, ben, eve = (wire.room_channel(f"user:{name}") for name in ("ann", "ben", "eve"))
    bus = Bus("redis://nowhere", "n", Metrics("0", "n"), random.Random(1))
    bus._subscribed = {"user:ann": 0.0, "user:eve": 0.0}  # both have lingered long enough
    connections.heard = {ann, eve}
    bus.want("user:ben")
    keeper = asyncio.create_task(bus._keep_subscriptions(connections, 0.0))
    try:
        await until(lambda: connections.asked, "a subscription is under way")
        bus.want("user:ann")
        connections.open.set()
        await until(lambda: connections.let_go, "what nobody wants is let go")
        assert connections.heard == {ann, ben}
    finally:
        await end([keeper])
