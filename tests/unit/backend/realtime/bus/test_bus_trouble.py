"""What cannot be published is counted and announced to the others, whatever way the connection broke."""

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
from backend.app.realtime.bus.bus import Bus
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


def push(bus: Bus, name: str = "x") -> None:
    bus.publish("room", encode([(name, {})], DeliveryClass.CONTROL))


@asynccontextmanager
async def publishing(monkeypatch: pytest.MonkeyPatch, client: Any) -> AsyncIterator[Bus]:
    """A bus that publishes with this client; nothing else of it runs."""
    monkeypatch.setattr(bus_module, "connect", lambda *_, **__: client)
    bus = Bus("redis://nowhere", "n", Metrics("0", "n"), random.Random(1))
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
    monkeypatch.setattr(bus_module, "connect", lambda *_, **__: client)
    metrics = Metrics("0", "n")
    bus = Bus("redis://nowhere", "n", metrics, random.Random(1))
    publisher = asyncio.create_task(bus.run_publisher())
    try:
        bus.publish("room", encode([("x", {})], DeliveryClass.CONTROL))
        await until(lambda: not client.troubles, "the failure")
        bus.publish("room", encode([("y", {})], DeliveryClass.CONTROL))
        await until(lambda: client.published, "the next one")
        assert client.resyncs == 1
    finally:
        await end([publisher])


async def test_an_error_in_place_of_the_cancellation_ends_the_publisher(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    client: Any = Client()
    client.hangs = True
    monkeypatch.setattr(bus_module, "connect", lambda *_, **__: client)
    bus = Bus("redis://nowhere", "n", Metrics("0", "n"), random.Random(1))
    publisher = asyncio.create_task(bus.run_publisher())
    bus.publish("room", encode([("x", {})], DeliveryClass.CONTROL))
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
    bus = Bus("redis://nowhere", "n", Metrics("0", "n"), random.Random(1))
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
