"""The bus on a Redis Cluster: a room channel stays on one master; elsewhere ordinary channels serve."""

import asyncio
import random
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import redis

from backend.app.contracts.types import DeliveryClass, UserId
from backend.app.observability.metrics import Metrics
from backend.app.realtime.bus.bus import Bus
from backend.app.realtime.bus.cluster import SLOTS, Layout, Master
from backend.app.realtime.bus.messages import Kick
from backend.app.realtime.websocket import encode
from backend.app.tasks import end
from tests.support.services import LOOPBACK, running_valkey
from tests.support.valkey_cluster import Member, running_cluster, url_of
from tests.support.waiting import until

pytestmark = pytest.mark.services

ROOMS = [f"user:{number}" for number in range(30)]


@pytest.fixture(scope="module")
def members() -> Iterator[list[Member]]:
    with running_cluster(2) as found:
        yield found


class Ear:
    """A bus that writes down what it hears."""

    def __init__(self, url: str, name: str) -> None:
        self.bus = Bus(url, name, Metrics("0", name), random.Random(name))
        self.rooms: list[str] = []
        self.kicks: list[Kick] = []
        self.missed: list[list[str] | None] = []
        self.bus.on_message = lambda room, message: self.rooms.append(room)
        self.bus.on_kick = self.kicks.append
        self.bus.on_missed = self._missed

    async def _missed(self, rooms: list[str] | None, silent_s: float) -> None:
        self.missed.append(rooms)

    @property
    def subscribed(self) -> set[str]:
        return {room for rooms in self.missed if rooms for room in rooms}


@asynccontextmanager
async def ear(url: str, name: str) -> AsyncIterator[Ear]:
    made = Ear(url, name)
    bus = made.bus
    loops: list[Any] = [bus.run_publisher(), bus.run_listener(), bus.run_heartbeat(), bus.gaps.run_repairs()]
    tasks = [asyncio.create_task(loop) for loop in loops]
    try:
        await until(lambda: bus.hearing, "the bus is heard")
        yield made
    finally:
        await end(tasks)
        await bus.close()


def publish(bus: Bus, rooms: list[str]) -> None:
    for room in rooms:
        bus.publish(room, encode([("x", {})], DeliveryClass.CONTROL))


def sharded_channels(members: list[Member]) -> list[int]:
    """Room channels with a listener, by master."""
    counts = []
    for member in members:
        with redis.Redis(LOOPBACK, member.port) as client:
            counts.append(len(client.execute_command("PUBSUB", "SHARDCHANNELS", "vouchstorm:room:*")))
    return counts


async def test_every_room_is_heard_whichever_master_carries_it(members: list[Member]) -> None:
    async with ear(url_of(members), "one") as one, ear(url_of(members), "two") as two:
        for room in ROOMS:
            two.bus.want(room)
        await until(lambda: two.subscribed == set(ROOMS), "all subscribed")
        shares = sharded_channels(members)
        publish(one.bus, ROOMS)
        await until(lambda: sorted(two.rooms) == sorted(ROOMS), "all heard")
        assert (sum(shares), min(shares) > 0, one.rooms) == (len(ROOMS), True, [])


async def test_a_room_that_nobody_wants_is_not_heard(members: list[Member]) -> None:
    async with ear(url_of(members), "one") as one, ear(url_of(members), "two") as two:
        two.bus.want(ROOMS[0])
        await until(lambda: two.subscribed == {ROOMS[0]}, "subscribed")
        publish(one.bus, [*ROOMS[1:], ROOMS[0]])
        await until(lambda: ROOMS[0] in two.rooms, "heard")
        assert two.rooms == [ROOMS[0]]


async def test_kicks_and_heartbeats_reach_every_node(members: list[Member]) -> None:
    async with ear(url_of(members), "one") as one, ear(url_of(members[::-1]), "two") as two:
        kick = Kick(UserId("ann"), "j1")
        one.bus.publish_kick(kick)
        await until(lambda: two.kicks == [kick], "the kick")
        nodes = one.bus._nodes, two.bus._nodes
        await until(lambda: [list(known) for known in nodes] == [["two"], ["one"]], "both know each other")


async def test_a_master_that_was_away_is_a_gap_and_then_heard_again(members: list[Member]) -> None:
    async with ear(url_of(members), "one") as one, ear(url_of(members), "two") as two:
        for room in ROOMS:
            two.bus.want(room)
        await until(lambda: two.subscribed == set(ROOMS), "all subscribed")
        gaps = two.missed.count(None)
        await asyncio.to_thread(members[1].restart)
        await until(lambda: two.missed.count(None) > gaps and two.bus.hearing, "a gap", timeout_s=30)
        two.rooms.clear()

        def all_heard() -> bool:
            publish(one.bus, [room for room in ROOMS if room not in two.rooms])
            return set(two.rooms) == set(ROOMS)

        await until(all_heard, "all heard again", timeout_s=30)


async def test_a_master_that_hangs_is_found_deaf(members: list[Member]) -> None:
    async with ear(url_of(members), "one") as one:
        members[1].pause()
        try:
            await until(lambda: not one.bus.hearing, "deaf")
        finally:
            members[1].resume()
        await until(lambda: one.bus.hearing, "heard again", timeout_s=30)


async def test_on_a_server_that_is_no_cluster_ordinary_channels_serve() -> None:
    with running_valkey() as valkey:
        url = f"redis+cluster://{LOOPBACK}:{valkey.port}"
        async with ear(url, "one") as one, ear(url, "two") as two:
            two.bus.want(ROOMS[0])
            await until(lambda: two.subscribed == {ROOMS[0]}, "subscribed")
            publish(one.bus, ROOMS)
            await until(lambda: two.rooms == [ROOMS[0]], "heard")


def test_each_master_has_a_beat_of_its_own() -> None:
    half = SLOTS // 2
    layout = Layout([Master("a", 1), Master("b", 2)], [(0, half - 1, 0), (half, SLOTS - 1, 1)])
    channels = layout.beat_channels("me")
    assert [layout.owner(channel) for channel in channels] == [0, 1]


def test_a_slot_without_a_master_is_seen() -> None:
    assert not Layout([Master("a", 1)], [(0, SLOTS - 2, 0)]).complete
