"""Pub/Sub without a server, on a virtual loop; what is published while it is down is gone."""

import asyncio
from collections import deque
from typing import Any

from redis.exceptions import ConnectionError as RedisConnectionError

POLL_S = 0.01


class FakeRedis:
    """down: nobody reaches it. deaf_to: whoever comes by these URLs can listen, but not publish."""

    def __init__(self) -> None:
        self.down = False
        self.deaf_to: set[str] = set()
        self.subscriptions: list[FakePubSub] = []

    def connect(self, url: str, *, blocking: bool, attempt: int = 0) -> Any:
        """In place of `redis_client.connect`."""
        return _Client(self, url)

    def go_down(self) -> None:
        self.down = True
        self.subscriptions.clear()

    def publish(self, channel: str, data: bytes) -> None:
        for subscription in self.subscriptions:
            if channel in subscription.channels:
                subscription.inbox.append({"type": "message", "channel": channel.encode(), "data": data})

    def check(self, url: str = "") -> None:
        if self.down or url in self.deaf_to:
            raise RedisConnectionError("nobody there")


class _Client:
    def __init__(self, redis: FakeRedis, url: str) -> None:
        self._redis = redis
        self._url = url

    def pipeline(self, *, transaction: bool) -> "_Pipeline":
        return _Pipeline(self._redis, self._url)

    def pubsub(self, *, ignore_subscribe_messages: bool) -> "FakePubSub":
        return FakePubSub(self._redis)

    async def aclose(self) -> None: ...


class _Pipeline:
    def __init__(self, redis: FakeRedis, url: str) -> None:
        self._redis = redis
        self._url = url
        self._queued: list[tuple[str, bytes]] = []

    async def __aenter__(self) -> "_Pipeline":
        return self

    async def __aexit__(self, *_: object) -> None: ...

    def publish(self, channel: str, data: bytes) -> None:
        self._queued.append((channel, data))

    async def execute(self) -> None:
        self._redis.check(self._url)
        for channel, data in self._queued:
            self._redis.publish(channel, data)


class FakePubSub:
    def __init__(self, redis: FakeRedis) -> None:
        self._redis = redis
        self.channels: set[str] = set()
        self.inbox: deque[dict[str, Any]] = deque()

    async def subscribe(self, *channels: str) -> None:
        self._redis.check()
        if self not in self._redis.subscriptions:
            self._redis.subscriptions.append(self)
        self.channels.update(channels)
        self.inbox.extend({"type": "subscribe", "channel": name.encode(), "data": 1} for name in channels)

    async def unsubscribe(self, *channels: str) -> None:
        self.channels.difference_update(channels)

    async def get_message(self, *, timeout: float) -> dict[str, Any] | None:
        if self not in self._redis.subscriptions:
            raise RedisConnectionError("the connection is gone")
        if self.inbox:
            return self.inbox.popleft()
        await asyncio.sleep(POLL_S)
        return None

    async def aclose(self) -> None:
        if self in self._redis.subscriptions:
            self._redis.subscriptions.remove(self)
