"""Which rooms a node hears, when members come back while the subscriptions are being brought in line."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from backend.app.observability.metrics import Metrics
from backend.app.realtime.bus import messages
from backend.app.realtime.bus.bus import Bus
from backend.app.realtime.bus.cluster import SLOTS, Layout, Master, Masters
from backend.app.tasks import end
from tests.support.waiting import until


class Connections:
    """Answers a subscription when `open` is set; remembers what is heard."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.heard: set[str] = set()
        self.asked: list[str] = []
        self.let_go: list[str] = []

    async def subscribe(self, *channels: str) -> None:
        self.asked += channels
        await self.open.wait()
        self.heard.update(channels)

    async def unsubscribe(self, *channels: str) -> None:
        self.let_go += channels
        self.heard.difference_update(channels)


async def test_a_room_that_is_wanted_again_while_others_are_subscribed_is_not_let_go() -> None:
    connections: Any = Connections()
    ann, ben, eve = (messages.room_channel(f"user:{name}") for name in ("ann", "ben", "eve"))
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


class ShardConnection:
    """A connection to one master of a cluster. Confirmations of a let-go are held until `confirm`."""

    def __init__(self) -> None:
        self._messages: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.unconfirmed: list[str] = []
        self.subscribed: list[str] = []

    def say(self, kind: str, channel: str) -> None:
        self._messages.put_nowait({"type": kind, "channel": channel.encode(), "data": 1})

    async def ssubscribe(self, channel: str) -> None:
        self.subscribed.append(channel)

    async def sunsubscribe(self, channel: str) -> None:
        self.unconfirmed.append(channel)

    def confirm(self) -> None:
        for channel in self.unconfirmed:
            self.say("sunsubscribe", channel)

    async def get_message(self, timeout: float) -> dict[str, Any] | None:
        try:
            async with asyncio.timeout(timeout):
                return await self._messages.get()
        except TimeoutError:
            return None


@asynccontextmanager
async def listening() -> AsyncIterator[tuple[Bus, ShardConnection, asyncio.Task[None]]]:
    """A bus that hears ann's room on a cluster of one master, its connection, and its reader."""
    shards = Masters("redis+cluster://127.0.0.1:1", Layout([Master("127.0.0.1", 1)], [(0, SLOTS - 1, 0)]))
    connection: Any = ShardConnection()
    shards.pubsubs = [connection]
    bus = Bus("redis+cluster://127.0.0.1:1", "n", Metrics("0", "n"), random.Random(1))
    bus._beat_channels, bus._beats_heard_s = ["beat"], [asyncio.get_running_loop().time()]
    bus._subscribed = {"user:ann": 0.0}
    bus._changed.set()
    reader = asyncio.create_task(bus._read_shard(shards, 0))
    keeper = asyncio.create_task(bus._keep_subscriptions(shards, 0.0))
    try:
        yield bus, connection, reader
    finally:
        await end([reader, keeper])


async def test_letting_a_room_go_and_wanting_it_again_is_no_moving_of_slots() -> None:
    async with listening() as (bus, connection, reader):
        await until(lambda: connection.unconfirmed, "it is let go")
        bus.want("user:ann")
        await until(lambda: connection.subscribed, "it is subscribed again")
        connection.confirm()
        connection.say("ssubscribe", messages.room_channel("user:ben"))
        await until(lambda: reader.done() or "user:ben" in bus.gaps._rooms, "all was read")
        assert not reader.done()


async def test_a_room_that_the_server_lets_go_is_a_moving_of_slots() -> None:
    async with listening() as (bus, connection, reader):
        bus.want("user:ann")
        connection.say("sunsubscribe", messages.room_channel("user:ann"))
        await until(reader.done, "the reader gives up")
        assert "slots" in str(reader.exception())
