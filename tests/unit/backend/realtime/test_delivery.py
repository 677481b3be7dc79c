"""Channels: each socket gets each seq once and in order, whatever is late, doubled, lost or joining."""

import asyncio
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from backend.app.contracts.types import UserId
from backend.app.errors import UnavailableError
from backend.app.ports import History
from backend.app.realtime.delivery import BATCH, Channels
from backend.app.realtime.fanout import Fanout
from tests.support.backend.bells import ANN, ROOM, Bell, BellStore, FakeRooms, message
from tests.support.virtual_loop import VirtualLoop

LIMIT = 4


class World:
    """One node's channels on a store that the test controls."""

    def __init__(self, loop: VirtualLoop, *, manual: bool = False, queue_messages: int = 1_000) -> None:
        self.loop = loop
        self.store = BellStore(manual=manual)
        self.rooms = FakeRooms()
        self.fanout = Fanout(
            self.rooms, coalesce_s=0.0, snapshot_interval_s=0.05, queue_messages=queue_messages
        )
        store: Any = self.store
        self.channels = Channels(store, self.fanout, LIMIT, self._own)

    def _own(self, work: Any) -> None:
        self.loop.create_task(work)

    def deliver(self, *seqs: int) -> None:
        async def now() -> None:
            for seq in seqs:
                self.channels.deliver(ANN, message(seq))

        self.loop.begin(now())

    def join(self, after_seq: int | None = None, *, gone: bool = False) -> Bell:
        bell = Bell(self.rooms, after_seq, gone=gone)
        self.loop.begin(self._join(bell))
        return bell

    def join_and_read_rows(self) -> Bell:
        """A first socket that missed row 1: the store has looked at its rows, and has not answered yet."""
        self.store.newest = 1
        bell = self.join(after_seq=0)
        self.store.reads[0].give()  # the newest seq
        self.loop.settle()
        self.store.reads[0].take()
        return bell

    def answer_second(self, times: int) -> None:
        """Let the second of the waiting reads overtake the first, so many times."""
        for _ in range(times):
            self.store.reads[1].give()
            self.loop.settle()

    def come(self, after_seq: int | None = None) -> Bell:
        """A socket whose newest seq is read with its token, before it joins."""
        bell = Bell(self.rooms, after_seq)
        self.loop.begin(self._come(bell))
        return bell

    async def _join(self, bell: Bell) -> None:
        with suppress(UnavailableError):
            await self.channels.join(ANN, bell.after_seq, bell.enter)

    async def _come(self, bell: Bell) -> None:
        arrival = self.channels.arrive(ANN)
        try:
            arrival.newest = (await self.store.notifications.last_seqs([ANN]))[ANN]
            await self.channels.join(ANN, bell.after_seq, bell.enter, arrival)
        except UnavailableError:
            self.channels.give_up(arrival)

    async def compare(self) -> None:
        with suppress(UnavailableError):
            await self.channels.catch_up_all()

    def leave(self, bell: Bell) -> None:
        self.rooms.leave(ROOM, bell)
        self.channels.leave(ANN)

    def answer_all(self) -> None:
        self.loop.settle()
        while self.store.reads:
            self.store.reads[0].give()
            self.loop.settle()


@pytest.fixture
def world(loop: VirtualLoop) -> World:
    return World(loop)


@pytest.fixture
def slow(loop: VirtualLoop) -> World:
    """A world whose store answers when it is told to."""
    return World(loop, manual=True)


# ---------------------------------------------------------------- single facts


def test_live_messages_arrive_in_order(world: World) -> None:
    bell = world.join()
    world.deliver(1, 2, 3)
    assert bell.seqs == [1, 2, 3]


def test_a_message_that_overtook_another_waits_for_it(world: World) -> None:
    bell = world.join()
    world.deliver(2, 3, 1)
    assert bell.seqs == [1, 2, 3]


def test_a_repeated_message_is_dropped(world: World) -> None:
    bell = world.join()
    world.deliver(1, 1, 2, 1, 2)
    assert bell.seqs == [1, 2]


def test_a_lost_message_is_read_from_the_store(world: World) -> None:
    bell = world.join()
    world.store.newest = 3
    world.deliver(1, 3)
    world.loop.advance(1)
    assert bell.seqs == [1, 2, 3]


def test_the_newest_being_lost_is_found_by_comparison(world: World) -> None:
    bell = world.join()
    world.store.newest = 2
    world.loop.begin(world.channels.catch_up_all())
    assert bell.seqs == [1, 2]


def test_a_socket_that_says_where_it_stands_gets_what_it_missed(world: World) -> None:
    world.store.newest = 5
    assert world.join(after_seq=2).seqs == [3, 4, 5]


def test_a_long_absence_is_replayed_in_part_and_said_so(world: World) -> None:
    world.store.newest = 20
    bell = world.join(after_seq=2)
    assert bell.joined is not None
    assert (bell.seqs, bell.joined.more, bell.joined.last_seq) == ([3, 4, 5, 6], True, 20)


def test_a_socket_whose_past_is_gone_is_told_so(world: World) -> None:
    world.store.newest, world.store.trimmed = 9, 5
    bell = world.join(after_seq=2)
    assert bell.joined is not None
    assert (bell.joined.recovered, bell.seqs) == (False, [])


def test_a_socket_ahead_of_the_store_is_told_so(world: World) -> None:
    world.store.newest = 3
    bell = world.join(after_seq=8)
    assert bell.joined is not None
    assert bell.joined.recovered is False


def test_what_arrives_during_the_replay_follows_it(slow: World) -> None:
    slow.join()
    slow.answer_all()
    slow.store.newest = 2
    slow.deliver(1, 2)
    late = slow.join(after_seq=0)
    slow.store.reads[0].take()
    slow.store.newest = 3
    slow.deliver(3)
    slow.answer_all()
    assert late.seqs == [1, 2, 3]


def test_a_hole_that_opened_before_the_first_socket_was_in_is_filled(slow: World) -> None:
    bell = slow.join()
    slow.store.reads[0].take()
    slow.store.newest = 2
    slow.deliver(2)  # and 1 is lost
    slow.answer_all()
    slow.loop.advance(0.2)
    slow.answer_all()
    assert bell.seqs == [1, 2]


def test_what_a_comparison_found_while_the_first_socket_joined_is_read(slow: World) -> None:
    """The room was heard only then, and nobody compares it again for half a minute."""
    bell = slow.join(after_seq=0)
    slow.store.reads[0].take()
    slow.store.newest = 1  # and its push is lost
    slow.loop.begin(slow.channels.catch_up_many([ANN]))
    slow.store.reads[1].give()
    slow.answer_all()
    slow.loop.advance(0.2)
    slow.answer_all()
    assert bell.seqs == [1]


def test_two_first_sockets_whose_reads_answer_in_the_other_order(slow: World) -> None:
    early = slow.join_and_read_rows()
    slow.store.newest = 3
    slow.deliver(2, 3)
    late = slow.join(after_seq=0)
    slow.answer_second(2)
    slow.answer_all()
    assert (early.seqs, late.seqs) == ([1, 2, 3], [1, 2, 3])


def test_two_first_sockets_when_the_live_messages_come_last(slow: World) -> None:
    early = slow.join_and_read_rows()
    slow.store.newest = 3
    slow.join(after_seq=0)
    slow.answer_second(2)
    slow.deliver(2, 3)
    slow.answer_all()
    assert early.seqs == [1, 2, 3]


def test_a_user_who_leaves_during_a_comparison_does_not_keep_it_busy(slow: World) -> None:
    bell = slow.join()
    slow.answer_all()
    slow.store.newest = 3
    comparison = slow.loop.begin(slow.channels.catch_up_all())
    slow.store.reads[0].give()
    slow.loop.settle()
    slow.leave(bell)
    slow.store.manual = False
    slow.store.reads[0].give()
    slow.loop.settle()
    assert comparison.done()


def test_a_user_who_comes_back_during_a_comparison_does_not_keep_it_busy(slow: World) -> None:
    bell = slow.join()
    slow.answer_all()
    slow.store.newest = 3
    comparison = slow.loop.begin(slow.channels.catch_up_all())
    slow.store.reads[0].give()
    slow.loop.settle()
    slow.leave(bell)
    pending = slow.store.reads[0]
    slow.store.manual = False
    slow.join()
    pending.give()
    slow.loop.settle()
    assert comparison.done()


def test_a_hole_that_the_store_does_not_know_is_not_asked_for_without_pause(world: World) -> None:
    world.join()
    world.deliver(7)
    world.loop.advance(2)
    assert world.store.calls < 50


def test_what_the_fan_out_had_no_room_for_is_sent_later(loop: VirtualLoop) -> None:
    world = World(loop, queue_messages=3)
    bell = world.join()
    world.store.newest = 10
    world.deliver(*range(1, 11))
    loop.advance(2)
    assert bell.seqs == list(range(1, 11))


def test_a_socket_that_is_gone_by_then_leaves_nothing_behind(world: World) -> None:
    world.join(gone=True)
    assert len(world.channels) == 0


def test_a_join_that_the_store_refuses_leaves_nothing_behind(slow: World) -> None:
    slow.join(after_seq=0)
    slow.store.reads[0].fail()
    slow.loop.settle()
    assert len(slow.channels) == 0


def test_a_socket_that_missed_nothing_costs_one_read(world: World) -> None:
    world.store.newest = 3
    world.come(after_seq=3)
    assert world.store.calls == 1


def test_a_socket_that_missed_something_costs_two_reads(world: World) -> None:
    world.store.newest = 3
    bell = world.come(after_seq=1)
    assert (bell.seqs, world.store.calls) == ([2, 3], 2)


def test_what_comes_between_the_question_and_the_joining_is_kept(slow: World) -> None:
    slow.store.newest = 1
    bell = slow.come(after_seq=1)
    slow.store.reads[0].take()
    slow.store.newest = 2
    slow.deliver(2)
    slow.answer_all()
    assert bell.seqs == [2]


def test_who_is_not_let_in_leaves_nothing_behind(slow: World) -> None:
    slow.come()
    slow.store.reads[0].fail()
    slow.loop.settle()
    assert len(slow.channels) == 0


def test_the_last_socket_takes_the_channel_with_it(world: World) -> None:
    one, two = world.join(), world.join()
    world.leave(one)
    world.leave(two)
    assert len(world.channels) == 0


def test_a_user_who_cannot_be_caught_up_holds_up_nobody_else(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    bell = world.join()
    world.channels.arrive(UserId("bad"))
    world.channels._channels[UserId("bad")].ready = True
    history = world.store.history

    async def broken(user_id: UserId, after_seq: int, limit: int) -> History:
        if user_id == "bad":
            raise ValueError("a row that means nothing")
        return await history(user_id, after_seq, limit)

    monkeypatch.setattr(world.store, "history", broken)
    world.store.newest = 2
    world.loop.begin(world.channels.catch_up_many([UserId("bad"), ANN]))
    assert bell.seqs == [1, 2]


def test_a_comparison_finds_what_came_while_the_first_socket_is_joining(slow: World) -> None:
    slow.store.newest = 1
    bell = slow.come(after_seq=1)
    slow.store.reads[0].take()
    slow.store.newest = 2  # and its message was published before this node heard the room
    slow.loop.begin(slow.compare())
    slow.store.reads[1].give()
    slow.loop.settle()
    slow.answer_all()
    slow.loop.advance(0.2)
    slow.answer_all()
    assert bell.seqs == [2]


# ---------------------------------------------------------------- every interleaving


class Deliveries(RuleBasedStateMachine):
    """Rows are written; their pushes come late, twice or never; sockets join at any moment and leave."""

    @initialize(before=st.integers(0, 6))
    def start(self, before: int) -> None:
        self.loop = VirtualLoop()
        self.loop.__enter__()
        self.world = World(self.loop, manual=True)
        self.world.store.newest = before
        self.in_flight: list[int] = []
        self.bells: list[Bell] = []
        self.left: list[Bell] = []

    @rule(fates=st.lists(st.sampled_from(["live", "late", "lost", "twice"]), min_size=1, max_size=4))
    def write(self, fates: list[str]) -> None:
        for fate in fates:
            self.world.store.newest += 1
            seq = self.world.store.newest
            if fate in ("live", "twice"):
                self.world.deliver(seq)
            if fate in ("late", "twice"):
                self.in_flight.append(seq)

    @precondition(lambda self: self.in_flight)
    @rule(data=st.data())
    def arrive(self, data: st.DataObject) -> None:
        seq = self.in_flight.pop(data.draw(st.integers(0, len(self.in_flight) - 1)))
        self.world.deliver(seq)

    @rule(back=st.one_of(st.none(), st.integers(-1, 7)))
    def join(self, back: int | None) -> None:
        after_seq = None if back is None else max(0, self.world.store.newest - back)
        self.bells.append(self.world.join(after_seq))

    @rule(back=st.one_of(st.none(), st.integers(-1, 7)))
    def come(self, back: int | None) -> None:
        after_seq = None if back is None else max(0, self.world.store.newest - back)
        self.bells.append(self.world.come(after_seq))

    @precondition(lambda self: self.world.store.reads)
    @rule(data=st.data(), step=st.sampled_from(["take", "give", "give", "fail"]))
    def read(self, data: st.DataObject, step: str) -> None:
        reads = self.world.store.reads
        chosen = reads[data.draw(st.integers(0, len(reads) - 1))]
        getattr(chosen, step)()
        self._settle()

    @rule(seconds=st.sampled_from([0.0, 0.05, 0.2, 1.5]))
    def wait(self, seconds: float) -> None:
        self.loop.advance(seconds)

    @rule()
    def compare(self) -> None:
        self.loop.begin(self.world.compare())

    @precondition(lambda self: [bell for bell in self.bells if bell.joined])
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        present = [bell for bell in self.bells if bell.joined]
        bell = present[data.draw(st.integers(0, len(present) - 1))]
        self.bells.remove(bell)
        self.left.append(bell)
        self.world.leave(bell)

    def _settle(self) -> None:
        self.loop.settle()

    @invariant()
    def each_socket_has_an_unbroken_run(self) -> None:
        for bell in getattr(self, "bells", []) + getattr(self, "left", []):
            if bell.joined is None:
                continue
            first = bell.expected_first
            fresh = [seq for seq in bell.seqs if seq >= first]
            assert fresh == list(range(first, first + len(fresh))), (first, bell.seqs)

    @invariant()
    def a_partial_replay_is_an_unbroken_run_too(self) -> None:
        for bell in getattr(self, "bells", []):
            if bell.joined is not None and bell.joined.more:
                assert bell.after_seq is not None
                replay = [item.version for item in bell.joined.replay]
                assert replay == list(range(bell.after_seq + 1, bell.after_seq + 1 + LIMIT))

    def teardown(self) -> None:
        if not hasattr(self, "loop"):
            return
        try:
            self._finish()
            self.each_socket_has_an_unbroken_run()
            for bell in self.bells:
                if bell.joined is not None:
                    fresh = [seq for seq in bell.seqs if seq >= bell.expected_first]
                    assert bell.expected_first + len(fresh) == self.world.store.newest + 1, bell.seqs
        finally:
            self.loop.__exit__()

    def _finish(self) -> None:
        """No more failures: whatever the store is asked, it answers; then one comparison."""
        self.world.store.manual = False
        self.world.answer_all()
        self.loop.advance(3)
        self.loop.begin(self.world.channels.catch_up_all())
        self.loop.settle()


Deliveries.TestCase.settings = settings(max_examples=150, stateful_step_count=25, deadline=None)
TestDeliveries = Deliveries.TestCase


# ---------------------------------------------------------------- newest seqs for many, by shared reads


BOB = UserId("bob")


class SlowStore:
    """Each read waits until it is let go."""

    def __init__(self) -> None:
        self.newest: dict[UserId, int] = {}
        self.reads: list[tuple[list[UserId], asyncio.Future[None]]] = []

    @property
    def notifications(self) -> "SlowStore":
        return self

    async def last_seqs(self, user_ids: Sequence[UserId]) -> dict[UserId, int]:
        answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        found = {user_id: self.newest[user_id] for user_id in user_ids if user_id in self.newest}
        self.reads.append((list(user_ids), answer))
        await answer
        return found


class Questions:
    def __init__(self) -> None:
        self.store = SlowStore()
        self.tasks: list[asyncio.Task[Any]] = []
        channels = Channels(self.store, None, 0, self.begin)  # type: ignore[arg-type]
        self.newest = channels._newest

    def begin(self, work: Coroutine[Any, Any, Any]) -> None:
        self.tasks.append(asyncio.get_running_loop().create_task(work))

    async def ask(self, *users: UserId) -> list["asyncio.Task[int]"]:
        asked = [asyncio.get_running_loop().create_task(self.newest.ask(user)) for user in users]
        await turns()
        return asked

    def answer(self) -> None:
        self.store.reads.pop(0)[1].set_result(None)


async def turns() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_who_asks_in_the_same_turn_shares_a_read() -> None:
    place = Questions()
    await place.ask(ANN, BOB, ANN)
    assert [set(users) for users, _ in place.store.reads] == [{ANN, BOB}]


async def test_everybody_gets_his_own_seq() -> None:
    place = Questions()
    place.store.newest = {ANN: 3, BOB: 5}
    asked = await place.ask(ANN, BOB, UserId("nobody"))
    place.answer()
    assert await asyncio.gather(*asked) == [3, 5, 0]


async def test_who_asks_during_a_read_is_given_a_later_one() -> None:
    place = Questions()
    place.store.newest = {ANN: 1}
    await place.ask(ANN)
    place.store.newest = {ANN: 2}
    (late,) = await place.ask(ANN)
    place.answer()
    await turns()
    place.answer()
    assert await late == 2


async def test_while_a_read_is_under_way_the_next_gathers() -> None:
    place = Questions()
    await place.ask(ANN)
    await place.ask(ANN)
    await place.ask(BOB)
    place.answer()
    await turns()
    assert [set(users) for users, _ in place.store.reads] == [{ANN, BOB}]


async def test_a_failed_read_fails_those_who_asked_for_it() -> None:
    place = Questions()
    asked = await place.ask(ANN, BOB)
    place.store.reads.pop(0)[1].set_exception(UnavailableError("no answer"))
    outcomes = await asyncio.gather(*asked, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [UnavailableError, UnavailableError]


async def test_after_a_failed_read_the_next_is_tried() -> None:
    place = Questions()
    (failed,) = await place.ask(ANN)
    place.store.reads.pop(0)[1].set_exception(UnavailableError("no answer"))
    with pytest.raises(UnavailableError):
        await failed
    (asked,) = await place.ask(ANN)
    place.answer()
    assert await asked == 0


async def test_one_who_gives_up_does_not_disturb_the_others() -> None:
    place = Questions()
    gives_up, stays = await place.ask(ANN, BOB)
    gives_up.cancel()
    await turns()
    place.answer()
    assert await stays == 0


async def test_a_batch_is_bounded() -> None:
    place = Questions()
    await place.ask(*(UserId(f"user{number}") for number in range(BATCH + 1)))
    assert len(place.store.reads[0][0]) == BATCH


async def test_a_reader_that_is_ended_leaves_nobody_waiting() -> None:
    place = Questions()
    (asked,) = await place.ask(ANN)
    place.tasks[0].cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked
