"""Fan-out on fake sockets: order, coalescing, latest-wins counters, bounds; one bad socket hurts nobody."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backend.app.contracts.types import DeliveryClass
from backend.app.realtime.fanout import Fanout
from backend.app.realtime.websocket import Message
from tests.support.backend.bells import FakeRooms, FakeSession
from tests.support.virtual_loop import VirtualLoop

COALESCE_S, SNAPSHOT_S = 0.002, 0.05


class World:
    def __init__(self, loop: VirtualLoop, *, queue_messages: int = 1_000, **options: Any) -> None:
        self.loop = loop
        self.rooms = FakeRooms()
        self.flushes: list[tuple[int, int]] = []
        self.fanout = Fanout(
            self.rooms,
            coalesce_s=COALESCE_S,
            snapshot_interval_s=SNAPSHOT_S,
            queue_messages=queue_messages,
            on_flush=lambda _, sockets, messages: self.flushes.append((sockets, len(messages))),
            **options,
        )

    def member(self, room: str = "r", *, healthy: bool = False) -> FakeSession:
        session = FakeSession(healthy=healthy)
        self.rooms.enter(room, session)
        return session

    def put(self, *messages: Message, room: str = "r") -> list[bool]:
        results: list[bool] = []
        self.run(lambda: results.extend(self.fanout.put(room, message) for message in messages))
        return results

    def run(self, action: Callable[[], object]) -> None:
        async def now() -> None:
            action()

        self.loop.begin(now())


@pytest.fixture
def world(loop: VirtualLoop) -> World:
    return World(loop)


def durable(number: int) -> Message:
    return Message([f'2["n",{{"seq":{number}}}]'.encode()], DeliveryClass.DURABLE, version=number)


def counter(version: int, key: str = "c") -> Message:
    return Message([f'2["{key}",{version}]'.encode()], DeliveryClass.SNAPSHOT, key, version)


# ---------------------------------------------------------------- counters that are held back


@pytest.mark.parametrize(
    ("noted", "at_the_end", "versions"),
    [(3, False, [1]), (3, True, [1]), (2, False, [1, 2])],
    ids=["behind a newer one", "behind a newer one, at the end", "the newest that was seen"],
)
def test_a_counter_that_is_held_back_does_not_follow_a_newer_one(
    world: World, noted: int, at_the_end: bool, versions: list[int]
) -> None:
    session = world.member()
    world.put(counter(1), counter(2))
    world.run(lambda: world.fanout.note("r", "c", noted))
    if at_the_end:
        world.run(world.fanout.finish)
    else:
        world.loop.advance(1)
    assert session.versions == versions


def test_a_counter_that_is_outdated_while_it_is_held_back_is_counted(world: World) -> None:
    world.member()
    world.put(counter(1), counter(2))
    world.run(lambda: world.fanout.note("r", "c", 3))
    world.loop.advance(1)
    assert world.fanout.superseded == 1


# ---------------------------------------------------------------- order and coalescing


def test_an_idle_node_sends_in_the_same_turn(world: World) -> None:
    session = world.member()
    world.put(durable(1))
    assert session.versions == [1]


def test_what_is_put_in_one_turn_leaves_in_one_write(world: World) -> None:
    session = world.member(healthy=True)
    world.put(durable(1), durable(2), durable(3))
    assert session.wires == [durable(1).wire + durable(2).wire + durable(3).wire]


def test_a_busy_node_collects_for_a_moment(world: World) -> None:
    session = world.member(healthy=True)
    for number in range(5):
        world.put(durable(number))
    early = len(session.wires)
    world.loop.advance(COALESCE_S)
    assert (early, len(session.wires)) == (1, 2)


def test_after_a_pause_it_is_idle_again(world: World) -> None:
    session = world.member()
    world.put(durable(1))
    world.loop.advance(COALESCE_S * 2)
    world.put(durable(2))
    assert session.versions == [1, 2]


def test_every_member_of_the_room_gets_it_and_nobody_else(world: World) -> None:
    members, stranger = [world.member() for _ in range(5)], world.member("other")
    world.put(durable(1))
    assert [session.versions for session in [*members, stranger]] == [[1]] * 5 + [[]]


def test_an_empty_room_costs_nothing(world: World) -> None:
    world.put(durable(1))
    assert (world.fanout.pending, world.flushes) == (0, [])


def test_who_joins_after_settling_does_not_get_what_was_under_way(world: World) -> None:
    world.member()
    world.put(durable(0))

    def join() -> None:
        world.fanout.put("r", durable(1))
        world.fanout.settle("r")
        late.append(world.member())
        world.fanout.put("r", durable(2))

    late: list[FakeSession] = []
    world.run(join)
    world.loop.advance(1)
    assert late[0].versions == [2]


def test_a_full_queue_says_so(loop: VirtualLoop) -> None:
    dropped: list[Message] = []
    world = World(loop, queue_messages=2, on_drop=dropped.append)
    world.member()
    assert (world.put(durable(1), durable(2), durable(3)), len(dropped)) == ([True, True, False], 1)


def test_counters_find_a_place_in_a_full_queue(loop: VirtualLoop) -> None:
    world = World(loop, queue_messages=1)
    session = world.member()
    world.put(durable(1), counter(7))
    assert session.versions == [1, 7]


def test_a_socket_that_fails_does_not_cost_the_others_theirs(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    bad, good, elsewhere = world.member(), world.member(), world.member("later")
    ended: list[str] = []
    bad.write = lambda _: 1 // 0  # type: ignore[assignment, return-value]
    bad.abort = ended.append  # type: ignore[attr-defined]

    def both() -> None:
        world.fanout.put("r", durable(1))
        world.fanout.put("later", durable(2))

    world.run(both)
    assert (good.versions, elsewhere.versions, len(ended)) == ([1], [2], 1)


# ---------------------------------------------------------------- counters


def test_the_first_value_goes_out_at_once(world: World) -> None:
    session = world.member()
    world.put(counter(1))
    assert session.versions == [1]


def test_the_next_values_wait_and_only_the_last_is_sent(world: World) -> None:
    session = world.member()
    world.put(*(counter(version) for version in range(1, 10)))
    world.loop.advance(SNAPSHOT_S)
    assert session.versions == [1, 9]


def test_a_key_is_sent_no_more_often_than_the_interval(world: World) -> None:
    session = world.member()
    for version in range(1, 101):
        world.put(counter(version))
        world.loop.advance(SNAPSHOT_S / 10)
    world.loop.advance(1)
    assert len(session.versions) <= 12


def test_keys_do_not_hold_each_other_back(world: World) -> None:
    session = world.member()
    world.put(counter(1, "a"), counter(1, "b"), counter(1, "c"))
    assert [message.key for message in session.messages] == ["a", "b", "c"]


def test_an_older_value_is_never_sent_after_a_newer(world: World) -> None:
    session = world.member()
    world.put(counter(5))
    world.put(counter(4))
    world.loop.advance(1)
    assert session.versions == [5]


def test_an_older_value_does_not_replace_one_that_waits(world: World) -> None:
    session = world.member()
    world.put(counter(1), counter(5), counter(3))
    world.loop.advance(1)
    assert session.versions == [1, 5]


def test_the_same_version_again_is_sent(world: World) -> None:
    """A consensus changes the status of a version, not its number."""
    session = world.member()
    world.put(counter(5))
    world.loop.advance(1)
    world.put(counter(5))
    assert session.versions == [5, 5]


def test_a_quiet_key_is_forgotten_by_the_timer(world: World) -> None:
    world.member()
    world.put(counter(1))
    world.loop.advance(1)
    assert world.loop._next_due_s() is None


def test_closing_sends_what_waits(world: World) -> None:
    session = world.member()
    world.put(counter(1), counter(2), durable(3))
    world.run(world.fanout.close)
    assert sorted(session.versions) == [1, 2, 3]


puts = st.lists(
    st.one_of(
        st.tuples(st.just("durable"), st.sampled_from("rs"), st.just("")),
        st.tuples(st.just("counter"), st.sampled_from("rs"), st.sampled_from("abc")),
        st.tuples(st.just("wait"), st.sampled_from([0.0005, 0.003, 0.03, 0.2]), st.just("")),
        st.tuples(st.just("swap"), st.sampled_from("rs"), st.sampled_from("abc")),
    ),
    max_size=60,
)


@settings(max_examples=100, deadline=None)
@given(puts)
def test_durable_events_are_complete_and_counters_end_with_the_newest(
    steps: list[tuple[str, Any, str]],
) -> None:
    with VirtualLoop() as loop:
        world = World(loop)
        sessions = {room: world.member(room) for room in "rs"}
        sent: dict[str, list[int]] = {"r": [], "s": []}
        newest: dict[tuple[str, str], int] = {}
        for number, (kind, where, key) in enumerate(steps, 1):
            if kind == "wait":
                loop.advance(where)
            elif kind == "durable":
                sent[where].append(number)
                world.put(durable(number), room=where)
            else:
                newest[where, key] = number
                late = [counter(number - 1, key)] if kind == "swap" else []  # arrives behind its successor
                world.put(counter(number, key), *late, room=where)
        loop.advance(1)
        for room, session in sessions.items():
            events = [m.version for m in session.messages if m.delivery is DeliveryClass.DURABLE]
            assert events == sent[room]
            for key in "abc":
                versions = [m.version for m in session.messages if m.key == key]
                assert versions == sorted(versions)
                last = newest.get((room, key))
                assert versions[-1:] == ([] if last is None else [last])
