"""A gap is compared from its beginning, whatever else goes wrong until the comparison has succeeded."""

import random
from collections.abc import Callable

import pytest

from backend.app.contracts.types import DeliveryClass
from backend.app.errors import UnavailableError
from backend.app.observability.metrics import Metrics
from backend.app.realtime.bus import bus as bus_module
from backend.app.realtime.bus.bus import Bus, Gaps
from backend.app.realtime.websocket import encode
from tests.support.backend.fake_redis import FakeRedis
from tests.support.virtual_loop import VirtualLoop

Ask = tuple[list[str] | None, float]


class Comparisons:
    """What was asked for; `troubles` are raised first, one each time."""

    def __init__(self, *troubles: Exception) -> None:
        self.asked: list[Ask] = []
        self.troubles = list(troubles)
        self.meanwhile: Callable[[], object] = lambda: None

    async def compare(self, rooms: list[str] | None, silent_s: float) -> None:
        self.asked.append((rooms, silent_s))
        if self.troubles:
            raise self.troubles.pop(0)
        self.meanwhile()

    @property
    def longest_s(self) -> float:
        """Of the comparisons of everything."""
        return max((silent_s for rooms, silent_s in self.asked if rooms is None), default=0.0)


@pytest.fixture
def metrics() -> Metrics:
    return Metrics("0", "n")


def compared_by(metrics: Metrics, *troubles: Exception) -> tuple[Comparisons, Gaps]:
    store = Comparisons(*troubles)
    return store, Gaps(metrics, store.compare)


def is_open(metrics: Metrics) -> float | None:
    return metrics.registry.get_sample_value("bus_gap_open")


# ---------------------------------------------------------------- pending gaps


def test_a_gap_is_compared_from_its_beginning(loop: VirtualLoop, metrics: Metrics) -> None:
    store, gaps = compared_by(metrics)
    gaps.everything(loop.time() - 60)
    loop.begin(gaps.run_repairs())
    assert store.asked == [(None, 60.0)]


def test_a_second_gap_does_not_shorten_the_first(loop: VirtualLoop, metrics: Metrics) -> None:
    store, gaps = compared_by(metrics)
    gaps.everything(loop.time() - 60)
    gaps.everything(loop.time())
    loop.begin(gaps.run_repairs())
    assert store.asked == [(None, 60.0)]


def test_a_comparison_that_is_tried_again_begins_where_the_first_did(
    loop: VirtualLoop, metrics: Metrics
) -> None:
    store, gaps = compared_by(metrics, UnavailableError("no answer"), UnavailableError("no answer"))
    gaps.everything(loop.time() - 5)
    loop.begin(gaps.run_repairs())
    loop.advance(30)
    assert [silent_s for _, silent_s in store.asked] == [5, 6, 7]


def test_after_a_comparison_the_next_gap_begins_anew(loop: VirtualLoop, metrics: Metrics) -> None:
    store, gaps = compared_by(metrics)
    gaps.everything(loop.time() - 60)
    loop.begin(gaps.run_repairs())
    gaps.everything(loop.time() - 2)
    loop.settle()
    assert store.asked[-1] == (None, 2.0)


def test_a_gap_during_a_comparison_is_compared_after_it(loop: VirtualLoop, metrics: Metrics) -> None:
    store, gaps = compared_by(metrics)

    def once_more() -> None:
        store.meanwhile = lambda: None
        gaps.everything(loop.time() - 3)

    store.meanwhile = once_more
    gaps.everything(loop.time() - 60)
    loop.begin(gaps.run_repairs())
    assert store.asked == [(None, 60.0), (None, 3.0)]


def test_an_error_of_ours_keeps_what_was_pending(loop: VirtualLoop, metrics: Metrics) -> None:
    store, gaps = compared_by(metrics, ValueError("a mistake"))
    gaps.everything(loop.time() - 60)
    failed = loop.begin(gaps.run_repairs())
    assert isinstance(failed.exception(), ValueError)
    loop.begin(gaps.run_repairs())
    assert store.asked == [(None, 60.0), (None, 60.0)]


def test_an_error_of_ours_keeps_the_rooms(loop: VirtualLoop, metrics: Metrics) -> None:
    store, gaps = compared_by(metrics, ValueError("a mistake"))
    gaps.room("user:ann", loop.time())
    failed = loop.begin(gaps.run_repairs())
    assert isinstance(failed.exception(), ValueError)
    gaps.room("user:bob", loop.time())
    loop.begin(gaps.run_repairs())
    assert sorted(store.asked[-1][0] or []) == ["user:ann", "user:bob"]


# ---------------------------------------------------------------- the gauge


def test_the_gauge_is_up_from_a_gap_on(loop: VirtualLoop, metrics: Metrics) -> None:
    gaps = Gaps(metrics, Comparisons().compare)
    gaps.everything(loop.time())
    assert is_open(metrics) == 1


def test_the_gauge_stays_up_while_the_comparison_fails(loop: VirtualLoop, metrics: Metrics) -> None:
    store, gaps = compared_by(metrics, *[UnavailableError("no answer")] * 100)
    gaps.everything(loop.time())
    loop.begin(gaps.run_repairs())
    loop.advance(10)
    assert (len(store.asked) > 5, is_open(metrics)) == (True, 1)


def test_the_gauge_is_down_when_the_comparison_has_succeeded(loop: VirtualLoop, metrics: Metrics) -> None:
    _, gaps = compared_by(metrics, UnavailableError("no answer"))
    gaps.everything(loop.time())
    loop.begin(gaps.run_repairs())
    loop.advance(10)
    assert is_open(metrics) == 0


def test_the_gauge_stays_up_if_a_gap_came_during_the_comparison(loop: VirtualLoop, metrics: Metrics) -> None:
    seen: list[float | None] = []

    async def compare(rooms: list[str] | None, silent_s: float) -> None:
        seen.append(is_open(metrics))
        if len(seen) == 1:
            gaps.everything(loop.time())

    gaps = Gaps(metrics, compare)
    gaps.everything(loop.time())
    loop.begin(gaps.run_repairs())
    assert (seen, is_open(metrics)) == ([1, 1], 0)


# ---------------------------------------------------------------- where gaps come from


class Node:
    """A bus with all its loops but the repairs."""

    def __init__(self, loop: VirtualLoop, name: str) -> None:
        self.loop = loop
        self.comparisons = Comparisons()
        self.bus = Bus(f"redis://{name}", name, Metrics("0", name), random.Random(name))
        self.bus.on_missed = self.comparisons.compare

    def start(self) -> "Node":
        for work in (self.bus.run_publisher, self.bus.run_listener, self.bus.run_heartbeat):
            self.loop.begin(work())
        return self

    def want(self, room: str) -> None:
        async def now() -> None:
            self.bus.want(room)

        self.loop.begin(now())

    def repair(self) -> None:
        self.loop.begin(self.bus.gaps.run_repairs())


@pytest.fixture
def redis(monkeypatch: pytest.MonkeyPatch) -> FakeRedis:
    redis = FakeRedis()
    monkeypatch.setattr(bus_module, "connect", redis.connect)
    return redis


def push(loop: VirtualLoop, bus: Bus, room: str = "r") -> None:
    async def now() -> None:
        bus.publish(room, encode([("x", {})], DeliveryClass.SNAPSHOT, "k", 1))

    loop.begin(now())


def test_a_node_that_began_while_the_bus_was_down_missed_everything_since(
    loop: VirtualLoop, redis: FakeRedis
) -> None:
    redis.down = True
    node = Node(loop, "one").start()
    node.repair()
    loop.advance(60)
    redis.down = False
    loop.advance(5)
    assert node.comparisons.longest_s >= 60


def test_an_outage_is_compared_from_its_beginning_though_the_node_hears_itself_again(
    loop: VirtualLoop, redis: FakeRedis
) -> None:
    node = Node(loop, "one").start()
    loop.advance(3)
    redis.go_down()
    redis.deaf_to.add("redis://one")
    loop.advance(60)
    redis.down = False
    for _ in range(50):
        if not redis.subscriptions:
            loop.advance(0.1)
    redis.deaf_to.clear()
    loop.advance(3)  # its own beats, and the resync of what it could not publish
    node.repair()
    assert node.comparisons.longest_s >= 60


def test_who_could_not_publish_says_for_how_long(loop: VirtualLoop, redis: FakeRedis) -> None:
    one, two = Node(loop, "one").start(), Node(loop, "two").start()
    two.repair()
    loop.advance(3)
    redis.deaf_to.add("redis://one")
    push(loop, one.bus)
    loop.advance(60)
    redis.deaf_to.clear()
    loop.advance(5)
    assert two.comparisons.longest_s >= 60


def test_a_resync_that_does_not_say_how_long_is_a_gap(loop: VirtualLoop, redis: FakeRedis) -> None:
    node = Node(loop, "one").start()
    node.repair()
    loop.advance(3)
    before = len(node.comparisons.asked)
    redis.publish("vouchstorm:control", b"resync")
    loop.advance(1)
    assert node.comparisons.asked[before:] == [(None, 0.0)]


def test_a_room_is_compared_since_this_connection_began(loop: VirtualLoop, redis: FakeRedis) -> None:
    node = Node(loop, "one")
    node.repair()
    node.want("live")
    loop.advance(3)
    begun_s = loop.time()
    node.start()
    loop.advance(0.5)
    rooms, silent_s = node.comparisons.asked[-1]
    assert (rooms, 0 <= silent_s <= loop.time() - begun_s) == (["live"], True)


def test_a_room_that_is_wanted_later_does_not_widen_the_window(loop: VirtualLoop, redis: FakeRedis) -> None:
    node = Node(loop, "one").start()
    node.repair()
    loop.advance(600)
    node.want("user:ann")
    loop.advance(1)
    rooms, silent_s = node.comparisons.asked[-1]
    assert (rooms, silent_s < 5) == (["user:ann"], True)
