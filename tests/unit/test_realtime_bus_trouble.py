"""What cannot be published is counted and announced to the others, whatever way the connection broke."""

import asyncio
import random
from typing import Any

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from backend.app.contracts.words import DeliveryClass
from backend.app.metrics import Metrics
from backend.app.realtime import bus as bus_module
from backend.app.realtime.bus import Bus
from backend.app.realtime.bus_wire import RESYNC
from backend.app.realtime.frames import encode
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

    def pipeline(self, *, transaction: bool) -> Pipeline:
        return Pipeline(self)

    async def aclose(self) -> None: ...


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
        assert RESYNC in client.published
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
