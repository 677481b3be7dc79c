"""Newest seqs for many: shared reads, never older than the question, failures handed to who asked."""

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any

import pytest

from backend.app.contracts.types import UserId
from backend.app.errors import UnavailableError
from backend.app.realtime.delivery import BATCH, Channels

ANN, BOB = UserId("ann"), UserId("bob")


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


class World:
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
    world = World()
    await world.ask(ANN, BOB, ANN)
    assert [set(users) for users, _ in world.store.reads] == [{ANN, BOB}]


async def test_everybody_gets_his_own_seq() -> None:
    world = World()
    world.store.newest = {ANN: 3, BOB: 5}
    asked = await world.ask(ANN, BOB, UserId("nobody"))
    world.answer()
    assert await asyncio.gather(*asked) == [3, 5, 0]


async def test_who_asks_during_a_read_is_given_a_later_one() -> None:
    world = World()
    world.store.newest = {ANN: 1}
    await world.ask(ANN)
    world.store.newest = {ANN: 2}
    (late,) = await world.ask(ANN)
    world.answer()
    await turns()
    world.answer()
    assert await late == 2


async def test_while_a_read_is_under_way_the_next_gathers() -> None:
    world = World()
    await world.ask(ANN)
    await world.ask(ANN)
    await world.ask(BOB)
    world.answer()
    await turns()
    assert [set(users) for users, _ in world.store.reads] == [{ANN, BOB}]


async def test_a_failed_read_fails_those_who_asked_for_it() -> None:
    world = World()
    asked = await world.ask(ANN, BOB)
    world.store.reads.pop(0)[1].set_exception(UnavailableError("no answer"))
    outcomes = await asyncio.gather(*asked, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [UnavailableError, UnavailableError]


async def test_after_a_failed_read_the_next_is_tried() -> None:
    world = World()
    (failed,) = await world.ask(ANN)
    world.store.reads.pop(0)[1].set_exception(UnavailableError("no answer"))
    with pytest.raises(UnavailableError):
        await failed
    (asked,) = await world.ask(ANN)
    world.answer()
    assert await asked == 0


async def test_one_who_gives_up_does_not_disturb_the_others() -> None:
    world = World()
    gives_up, stays = await world.ask(ANN, BOB)
    gives_up.cancel()
    await turns()
    world.answer()
    assert await stays == 0


async def test_a_batch_is_bounded() -> None:
    world = World()
    await world.ask(*(UserId(f"user{number}") for number in range(BATCH + 1)))
    assert len(world.store.reads[0][0]) == BATCH


async def test_a_reader_that_is_ended_leaves_nobody_waiting() -> None:
    world = World()
    (asked,) = await world.ask(ANN)
    world.tasks[0].cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked
