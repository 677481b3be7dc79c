"""Which Redis a bus URL means, and that connections to it are let go to the end."""

import asyncio
from typing import Any

import pytest
from redis.asyncio.sentinel import SentinelConnectionPool
from redis.exceptions import ConnectionError as RedisConnectionError

from backend.app.errors import SetupError
from backend.app.realtime.bus.redis import connect, let_go


def arguments(url: str, attempt: int = 0) -> dict[str, Any]:
    return connect(url, blocking=False, attempt=attempt).connection_pool.connection_kwargs


def test_a_plain_url_names_host_port_and_database() -> None:
    found = arguments("redis://example:6380/2")
    assert (found["host"], found["port"], found["db"]) == ("example", 6380, 2)


def test_a_password_is_taken_from_the_url() -> None:
    found = arguments("redis://user:pass%20word@example/0")
    assert (found["username"], found["password"]) == ("user", "pass word")


def test_rediss_means_tls() -> None:
    pool = connect("rediss://example", blocking=False).connection_pool
    assert pool.connection_class.__name__ == "SSLConnection"


@pytest.mark.parametrize(("attempt", "host"), [(0, "one"), (1, "two"), (2, "one")])
def test_a_cluster_url_tries_its_hosts_in_turn(attempt: int, host: str) -> None:
    assert arguments("redis+cluster://:secret@one:7000,two:7001", attempt)["host"] == host


def test_a_cluster_url_keeps_its_password() -> None:
    assert arguments("redis+cluster://:secret@one:7000,two:7001")["password"] == "secret"


def test_a_sentinel_url_asks_the_sentinels_for_the_master() -> None:
    pool = connect("redis+sentinel://a:26379,b:26380/0/mymaster", blocking=False).connection_pool
    assert isinstance(pool, SentinelConnectionPool)
    assert pool.service_name == "mymaster"


@pytest.mark.parametrize("url", ["redis+sentinel://a:26379/0", "redis+sentinel://a:26379/mymaster"])
def test_a_sentinel_url_without_its_service_is_refused(url: str) -> None:
    with pytest.raises(SetupError, match="ends with /database/service"):
        connect(url, blocking=False)


def test_another_scheme_is_refused_with_what_to_write() -> None:
    with pytest.raises(SetupError, match="VOUCHSTORM_BUS_URL must start with"):
        connect("amqp://example", blocking=False)


@pytest.mark.parametrize(
    "url",
    [
        "redis://:hunter/2@example:6379",
        "redis+cluster://ann:hunter/2@example:6379",
        "redis+sentinel://ann:x@example:hunter/0/mymaster",
        "rediss://ann:hunter@example?socket_timeout=hunter",
        "redis://ann:hunter@[example",
    ],
)
def test_a_url_that_cannot_be_read_is_one_sentence_that_repeats_nothing_of_it(url: str) -> None:
    with pytest.raises(SetupError, match="special characters escaped") as caught:
        connect(url, blocking=False)
    assert "hunter" not in str(caught.value)
    assert caught.value.__suppress_context__  # the library's own words would


def test_a_subscriber_waits_without_limit_and_others_do_not() -> None:
    blocking = connect("redis://example", blocking=True).connection_pool.connection_kwargs
    assert blocking["socket_timeout"] is None
    assert arguments("redis://example")["socket_timeout"] == 1.0


# ---------------------------------------------------------------- letting go


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
