"""Connections to Redis are let go to the end, whatever happens meanwhile."""

import asyncio

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from backend.app.realtime.bus.redis import let_go


class Pool:
    """Closes its connection in a task of its own, as the library does."""

    def __init__(self) -> None:
        self.closing = asyncio.Event()
        self.closed = False

    async def aclose(self) -> None:
        self.closing.set()
        await asyncio.gather(self._disconnect())

    async def _disconnect(self) -> None:
        await asyncio.sleep(0)
        self.closed = True


class Broken:
    async def aclose(self) -> None:
        raise RedisConnectionError("gone already")


async def test_a_cancellation_meanwhile_leaves_nothing_open() -> None:
    pools = [Pool(), Pool()]
    letting_go = asyncio.create_task(let_go(*pools))
    await pools[0].closing.wait()
    letting_go.cancel()
    with pytest.raises(asyncio.CancelledError):
        await letting_go
    assert [pool.closed for pool in pools] == [True, True]


async def test_one_that_cannot_be_closed_does_not_keep_the_next_open() -> None:
    pool = Pool()
    await let_go(Broken(), pool)
    assert pool.closed
