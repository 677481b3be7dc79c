"""Limits that nodes share through a real Valkey: shared while it answers, kept alone while it does not."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from backend.app.realtime.bus.redis import connect
from backend.app.services.redis_counters import RedisCounts, redis_counts
from backend.app.services.throttle import CountsError, Limit, Throttle
from tests.support.backend.node import Node
from tests.support.backend.rest_app import ManualClock
from tests.support.services import Valkey, running_valkey
from tests.support.valkey_cluster import started_member
from tests.support.waiting import until_async

LIMIT = Limit("test", 10, 60)
GUESSES = 5


@pytest.fixture(scope="module")
def valkey() -> Iterator[Valkey]:
    with running_valkey() as service:
        yield service


@asynccontextmanager
async def counts_of(valkey: Valkey, database: int = 0) -> AsyncIterator[RedisCounts]:
    url = valkey.url(database)
    counts = redis_counts(url, connect(url, blocking=False))
    try:
        yield counts
    finally:
        await counts.close()


async def admitted(throttle: Throttle, tries: int, who: str) -> int:
    return sum([await throttle.spend(LIMIT, who) is None for _ in range(tries)])


async def test_two_nodes_share_a_limit_through_the_bus(valkey: Valkey) -> None:
    clock = ManualClock()
    async with counts_of(valkey) as one, counts_of(valkey) as two:
        here, there = Throttle(clock, one), Throttle(clock, two)
        await admitted(here, 10, "anna")
        assert await admitted(there, 10, "anna") <= 1


async def test_counts_expire(valkey: Valkey) -> None:
    async with counts_of(valkey) as counts:
        await counts.add("short", 1, 60)
        async with connect(valkey.url(), blocking=False) as redis:
            assert 0 < await redis.ttl("vouchstorm:limit:short") <= 60


async def test_reading_a_count_leaves_none(valkey: Valkey) -> None:
    async with counts_of(valkey) as counts:
        assert await counts.read("never") == 0
        async with connect(valkey.url(), blocking=False) as redis:
            assert not await redis.exists("vouchstorm:limit:never")


async def test_what_is_read_is_what_was_added(valkey: Valkey) -> None:
    async with counts_of(valkey) as counts:
        await counts.add("read", 3, 60)
        assert await counts.read("read") == 3


async def test_an_address_that_is_known_to_one_node_is_known_to_the_other(valkey: Valkey) -> None:
    clock = ManualClock()
    async with counts_of(valkey) as one, counts_of(valkey) as two:
        known_from = Limit("kept", 1, 60, windows=2)
        await Throttle(clock, one).spend(known_from, "dora")
        clock.advance(60)
        assert await Throttle(clock, two).seen(known_from, "dora")


async def test_a_redis_that_is_gone_is_said_to_be_so(valkey: Valkey) -> None:
    async with counts_of(valkey) as counts:
        await counts.add("key", 1, 60)
        valkey.stop()
        try:
            with pytest.raises(CountsError):
                await counts.add("key", 1, 60)
        finally:
            valkey.start()


async def test_a_redis_that_hangs_delays_nobody_for_long(valkey: Valkey) -> None:
    clock, alone = ManualClock(), list[int]()
    async with counts_of(valkey) as counts:
        throttle = Throttle(clock, counts, on_alone=lambda: alone.append(1))
        await admitted(throttle, 3, "bert")
        valkey.pause()
        try:
            async with asyncio.timeout(10):  # a command would wait for a second, each of them
                passed = await admitted(throttle, 20, "bert")
        finally:
            valkey.resume()
    assert (passed, bool(alone)) == (7, True)


async def test_a_redis_that_is_back_is_used_again(valkey: Valkey) -> None:
    clock = ManualClock()
    async with counts_of(valkey) as one, counts_of(valkey) as two:
        here, there = Throttle(clock, one), Throttle(clock, two)
        await admitted(here, 5, "carl")
        valkey.restart()

        async def shared_again() -> bool:
            await here.spend(LIMIT, "carl")
            await there.spend(LIMIT, "carl")
            async with connect(valkey.url(), blocking=False) as redis:
                return bool(await redis.keys("vouchstorm:limit:test:*:carl"))

        await until_async(shared_again, "a count in the restarted server")


# ---------------------------------------------------------------- whole nodes


@pytest.fixture(scope="module")
def nodes(valkey: Valkey, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Node, Node]]:
    """Two nodes on one store and one bus."""
    directory = tmp_path_factory.mktemp("shared-limits")
    options = {
        "bus_url": valkey.url(1),
        "store_url": f"sqlite:///{directory / 'store.db'}",
        "failed_logins_per_pair": GUESSES,
        "lockout_s": 86_400,  # hardly ever ends in the middle of a test
    }
    with contextlib.ExitStack() as stack:
        one = stack.enter_context(Node(directory / "one", **options))
        two = stack.enter_context(Node(directory / "two", **options))
        yield one, two


async def guesses(node: Node, username: str, tries: int) -> list[int]:
    async with httpx.AsyncClient(base_url=node.url, timeout=20) as http:
        body = {"username": username, "password": "wrong"}
        return [(await http.post("/api/auth/login", json=body)).status_code for _ in range(tries)]


async def test_guesses_are_counted_across_nodes(nodes: tuple[Node, Node]) -> None:
    one, two = nodes
    await guesses(one, "nobody", GUESSES)
    assert (await guesses(two, "nobody", 3)).count(429) >= 2


async def test_guesses_are_bounded_while_the_bus_is_down(nodes: tuple[Node, Node], valkey: Valkey) -> None:
    one, _ = nodes
    valkey.stop()
    try:
        statuses = await guesses(one, "somebody", GUESSES + 3)
    finally:
        valkey.start()
    assert statuses == [401] * GUESSES + [429] * 3


async def test_no_request_fails_while_the_bus_is_down(nodes: tuple[Node, Node], valkey: Valkey) -> None:
    one, _ = nodes
    valkey.stop()
    try:
        async with httpx.AsyncClient(base_url=one.url, timeout=20) as http:
            statuses = {(await http.get("/api/badges")).status_code for _ in range(20)}
    finally:
        valkey.start()
    assert statuses == {200}


# ---------------------------------------------------------------- a Redis Cluster


async def test_a_cluster_counts_too(tmp_path: Path) -> None:
    service = await asyncio.to_thread(started_member, tmp_path)
    try:
        async with connect(service.url(), blocking=False) as redis:
            await redis.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16_383)

            async def whole() -> bool:
                return b"cluster_state:ok" in await redis.execute_command("CLUSTER", "INFO")

            await until_async(whole, "the cluster serves all slots")
        url = f"redis+cluster://127.0.0.1:{service.port}"
        counts = redis_counts(url, connect(url, blocking=False))
        try:
            assert [await counts.add(key, 2, 60) for key in ("a", "a", "b")] == [2, 4, 2]
            assert [await counts.read(key) for key in ("a", "b", "c")] == [4, 2, 0]
        finally:
            await counts.close()
    finally:
        await asyncio.to_thread(service.stop)
