"""What cannot be published is announced to the others; which rooms a node hears when members come and go."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from backend.app.contracts.types import DeliveryClass
from backend.app.notifier import outside
from backend.app.observability.metrics import Metrics
from backend.app.realtime.bus import bus as bus_module
from backend.app.realtime.bus import messages
from backend.app.realtime.bus.bus import Bus
from backend.app.realtime.bus.cluster import SLOTS, Layout, Master, Masters
from backend.app.realtime.bus.messages import Resync, unpack_control
from backend.app.realtime.websocket import encode
from backend.app.settings import load_settings
from backend.app.tasks import end
from tests.support.waiting import until


class Pipeline:
    def __init__(self, client: "Client") -> None:
        self._client = client
        self._queued: list[bytes] = []

    async def __aenter__(self) -> "Pipeline":
        return self

    async def __aexit__(self, *_: object) -> None: ...

    def publish(self, channel: str, data: bytes) -> None:
        self._queued.append(data)

    async def execute(self) -> None:
        if self._client.troubles:
            raise self._client.troubles.pop()
        if self._client.gate is not None:
            self._client.waiting = True
            await self._client.gate.wait()
        if self._client.hangs:
            self._client.waiting = True
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                raise RedisConnectionError("closed while it was being cancelled") from None
        self._client.published += self._queued


class Client:
    def __init__(self, *troubles: Exception) -> None:
        self.troubles = list(troubles)
        self.published: list[bytes] = []
        self.hangs = self.waiting = False
        self.gate: asyncio.Event | None = None
        """Answers wait for it."""

    @property
    def resyncs(self) -> int:
        return sum(isinstance(unpack_control(data), Resync) for data in self.published)

    def pipeline(self, *, transaction: bool) -> Pipeline:
        return Pipeline(self)

    async def aclose(self) -> None: ...


def a_bus(url: str = "redis://nowhere") -> Bus:
    return Bus(url, "n", Metrics("0", "n"), random.Random(1))


def push(bus: Bus, name: str = "x") -> None:
    bus.publish("room", encode([(name, {})], DeliveryClass.CONTROL))


@asynccontextmanager
async def publishing(monkeypatch: pytest.MonkeyPatch, client: Any) -> AsyncIterator[Bus]:
    """A bus that publishes with this client; nothing else of it runs."""
    monkeypatch.setattr(bus_module, "connect", lambda *_, **__: client)
    bus = a_bus()
    publisher = asyncio.create_task(bus.run_publisher())
    try:
        yield bus
    finally:
        await end([publisher])


@pytest.mark.parametrize(
    "trouble",
    [
        RedisConnectionError("gone"),
        ConnectionResetError(),
        TimeoutError(),
        RuntimeError("unable to perform operation on <TCPTransport closed=True>; the handler is closed"),
    ],
    ids=["redis", "reset", "timeout", "closed under the library"],
)
async def test_after_a_failure_the_others_are_told_to_compare(
    monkeypatch: pytest.MonkeyPatch, trouble: Exception
) -> None:
    client: Any = Client(trouble)
    async with publishing(monkeypatch, client) as bus:
        push(bus)
        await until(lambda: not client.troubles, "the failure")
        push(bus, "y")
        await until(lambda: client.published, "the next one")
        assert client.resyncs == 1


async def test_an_error_in_place_of_the_cancellation_ends_the_publisher(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    client: Any = Client()
    client.hangs = True
    monkeypatch.setattr(bus_module, "connect", lambda *_, **__: client)
    bus = a_bus()
    publisher = asyncio.create_task(bus.run_publisher())
    push(bus)
    await until(lambda: client.waiting, "it waits for an answer")
    publisher.cancel()
    await asyncio.wait([publisher], timeout=5)
    assert publisher.cancelled()


async def test_what_overflows_while_a_batch_is_sent_is_announced_with_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bus_module, "QUEUE_MESSAGES", 2)
    client: Any = Client()
    client.gate = asyncio.Event()
    async with publishing(monkeypatch, client) as bus:
        push(bus)
        await until(lambda: client.waiting, "the first batch is under way")
        for _ in range(3):
            push(bus)
        client.gate.set()
        await until(lambda: len(client.published) >= 3, "the second batch")
        assert client.resyncs == 1


async def test_a_failure_is_announced_although_nothing_more_is_published(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    client: Any = Client(RedisConnectionError("gone"))
    async with publishing(monkeypatch, client) as bus:
        push(bus)
        await until(lambda: client.published, "something is published")
        assert client.resyncs == 1


async def test_a_failure_is_announced_once(monkeypatch: pytest.MonkeyPatch) -> None:
    client: Any = Client(RedisConnectionError("gone"), RedisConnectionError("still gone"))
    async with publishing(monkeypatch, client) as bus:
        push(bus)
        await until(lambda: client.published, "something is published")
        push(bus)
        await bus.flush(5)
        assert client.resyncs == 1


async def test_a_batch_lost_to_an_error_of_ours_is_announced_when_the_loop_runs_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    client: Any = Client(ValueError("a mistake"))
    monkeypatch.setattr(bus_module, "connect", lambda *_, **__: client)
    bus = a_bus()
    push(bus)
    with pytest.raises(ValueError, match="a mistake"):
        await bus.run_publisher()
    again = asyncio.create_task(bus.run_publisher())
    try:
        await until(lambda: client.published, "something is published")
        assert client.resyncs == 1
    finally:
        await end([again])


async def test_flush_waits_until_a_failure_is_announced(monkeypatch: pytest.MonkeyPatch) -> None:
    client: Any = Client(RedisConnectionError("gone"))
    async with publishing(monkeypatch, client) as bus:
        push(bus)
        assert await bus.flush(5)
        assert client.resyncs == 1


async def test_flush_gives_up_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    client: Any = Client()
    client.hangs = True
    async with publishing(monkeypatch, client) as bus:
        push(bus)
        assert not await bus.flush(0.05)


async def test_a_process_outside_has_told_of_its_failure_when_its_block_ends(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    client: Any = Client(RedisConnectionError("gone"))
    monkeypatch.setattr(bus_module, "connect", lambda *_, **__: client)
    async with outside(load_settings(data_dir=tmp_path, bus_url="redis://nowhere")) as services:
        services.websocket.emit_to_all("server_draining", {"reconnect_after_ms": 1})
    assert client.resyncs == 1


async def test_what_a_process_outside_pushed_is_sent_although_its_block_fails(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    client: Any = Client()
    monkeypatch.setattr(bus_module, "connect", lambda *_, **__: client)
    with pytest.raises(KeyError):
        async with outside(load_settings(data_dir=tmp_path, bus_url="redis://nowhere")) as services:
            services.websocket.emit_to_all("server_draining", {"reconnect_after_ms": 1})
            raise KeyError("its own")
    assert len(client.published) == 1


# ---------------------------------------------------------------- subscriptions


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
    bus = a_bus()
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
    bus = a_bus("redis+cluster://127.0.0.1:1")
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
