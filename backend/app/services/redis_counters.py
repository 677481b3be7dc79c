"""Counts in Redis that all nodes of a stack see, through the `limits` library's storage.

Where the bus is, the counts are. Connects on first use; every trouble leaves as `CountsError`, so that
`services/throttle.py` goes on alone. Built by the composition root, which hands in a Redis client.
"""

from collections.abc import Awaitable, Callable
from typing import Any

from limits.aio.storage import RedisClusterStorage, RedisStorage
from limits.aio.storage.redis.redispy import RedispyBridge
from redis.asyncio import Redis
from redis.exceptions import RedisClusterException, RedisError

from .throttle import CountsError

PREFIX = "vouchstorm:limit"
CONNECTIONS = 16
TIMEOUT_S = 1.0


class RedisCounts:
    """See `services.throttle.SharedCounts`."""

    def __init__(self, storage: RedisStorage, close: Callable[[], Awaitable[None]]) -> None:
        self._storage = storage
        self._close = close

    async def add(self, key: str, amount: int, expires_s: int) -> int:
        """The count after adding. Raises CountsError."""
        try:
            return await self._storage.incr(key, expires_s, amount)
        except (RedisError, RedisClusterException, OSError) as error:
            raise CountsError(type(error).__name__) from error

    async def read(self, key: str) -> int:
        """The count, 0 where there is none. Raises CountsError."""
        try:
            return await self._storage.get(key)
        except (RedisError, RedisClusterException, OSError) as error:
            raise CountsError(type(error).__name__) from error

    async def close(self) -> None:
        """Let go of the connections. Idempotent."""
        await self._close()


def redis_counts(url: str, client: Redis) -> RedisCounts:
    """Counts in the Redis of this URL. client: connected to it, where it is not a cluster."""
    scheme, _, rest = url.partition("://")
    if scheme.endswith("+cluster"):
        return _cluster_counts(scheme, rest)
    storage = RedisStorage(
        "async+redis://",
        implementation="redispy",
        key_prefix=PREFIX,
        connection_pool=client.connection_pool,  # type: ignore[arg-type]
    )
    return RedisCounts(storage, client.aclose)


def _cluster_counts(scheme: str, rest: str) -> RedisCounts:
    storage = RedisClusterStorage(
        f"async+redis+cluster://{rest}",
        implementation="redispy",
        key_prefix=PREFIX,
        ssl=scheme.startswith("rediss"),
        socket_timeout=TIMEOUT_S,
        socket_connect_timeout=TIMEOUT_S,
        max_connections=CONNECTIONS,
    )

    async def close() -> None:
        client: Any = storage.bridge.get_connection() if isinstance(storage.bridge, RedispyBridge) else None
        if client is not None:
            await client.aclose()

    return RedisCounts(storage, close)
