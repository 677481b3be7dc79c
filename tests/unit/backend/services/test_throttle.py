"""The throttle: windows, what nodes share, and what happens when the shared counts do not answer."""

import asyncio
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.app.services import throttle as room
from backend.app.services.throttle import CountsError, Limit, Throttle
from tests.support.backend.rest_app import ManualClock

LIMIT = Limit("test", 10, 60)


class FakeCounts:
    """Shared counts in memory. down: every call fails. hung: no call returns."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.calls = 0
        self.down = False
        self.hung = False

    async def add(self, key: str, amount: int, expires_s: int) -> int:
        await self._be_asked()
        self.counts[key] += amount
        return self.counts[key]

    async def read(self, key: str) -> int:
        await self._be_asked()
        return self.counts.get(key, 0)

    async def _be_asked(self) -> None:
        self.calls += 1
        if self.hung:
            await asyncio.Event().wait()
        if self.down:
            raise CountsError("down")


async def admitted(throttle: Throttle, tries: int, limit: Limit = LIMIT, who: str = "anna") -> int:
    return sum([await throttle.spend(limit, who) is None for _ in range(tries)])


async def test_as_many_as_the_limit_says_are_admitted() -> None:
    assert await admitted(Throttle(ManualClock()), 25) == 10


async def test_no_limit_admits_everybody() -> None:
    assert await admitted(Throttle(ManualClock()), 25, Limit("none", 0, 60)) == 25


async def test_others_are_not_held_to_account() -> None:
    throttle = Throttle(ManualClock())
    await admitted(throttle, 25)
    assert await admitted(throttle, 5, who="bert") == 5


async def test_limits_are_counted_apart() -> None:
    throttle = Throttle(ManualClock())
    await admitted(throttle, 25)
    assert await admitted(throttle, 5, Limit("other", 10, 60)) == 5


async def test_the_next_window_starts_anew() -> None:
    clock = ManualClock()
    throttle = Throttle(clock)
    await admitted(throttle, 25)
    clock.advance(LIMIT.window_s)
    assert await admitted(throttle, 25) == 10


async def test_who_is_refused_is_told_when_the_window_ends() -> None:
    clock = ManualClock()
    throttle = Throttle(clock)
    await admitted(throttle, 10)
    left_s = await throttle.spend(LIMIT, "anna")
    assert left_s is not None
    clock.advance(left_s)
    assert await throttle.spend(LIMIT, "anna") is None


async def test_what_is_given_back_can_be_spent_again() -> None:
    throttle = Throttle(ManualClock())
    await admitted(throttle, 10)
    await throttle.give_back(LIMIT, "anna")
    assert await admitted(throttle, 5) == 1


async def test_a_full_book_lets_newcomers_through_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "MAX_KEYS", 3)
    full: list[int] = []
    throttle = Throttle(ManualClock(), on_full=lambda: full.append(1))
    for who in "abcde":
        await throttle.spend(LIMIT, who)
    assert len(full) == 2


# ---------------------------------------------------------------- asking

KEPT = Limit("kept", 10, 60, windows=2)


async def test_what_was_counted_is_seen() -> None:
    throttle = Throttle(ManualClock())
    await throttle.spend(LIMIT, "anna")
    assert (await throttle.seen(LIMIT, "anna"), await throttle.seen(LIMIT, "bert")) == (True, False)


async def test_what_was_given_back_is_not_seen() -> None:
    throttle = Throttle(ManualClock())
    await throttle.spend(LIMIT, "anna")
    await throttle.give_back(LIMIT, "anna")
    assert not await throttle.seen(LIMIT, "anna")


@pytest.mark.parametrize("shared", [None, FakeCounts()])
async def test_asking_counts_nobody(shared: FakeCounts | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "MAX_KEYS", 1)
    full: list[int] = []
    throttle = Throttle(ManualClock(), shared, on_full=lambda: full.append(1))
    for who in "abc":
        await throttle.seen(KEPT, who)
    await throttle.spend(KEPT, "anna")
    assert (full, await throttle.seen(KEPT, "anna")) == ([], True)


@given(st.integers(0, 59), st.integers(0, 200))
async def test_a_limit_of_two_windows_sees_for_one_at_least_and_two_at_most(
    start_s: int, later_s: int
) -> None:
    clock = ManualClock()
    throttle = Throttle(clock)
    clock.advance(start_s)
    await throttle.spend(KEPT, "anna")
    clock.advance(later_s)
    if await throttle.seen(KEPT, "anna"):
        assert later_s < 2 * KEPT.window_s
    else:
        assert later_s > KEPT.window_s


async def test_a_limit_of_one_window_forgets_at_its_end() -> None:
    clock = ManualClock()
    throttle = Throttle(clock)
    await throttle.spend(LIMIT, "anna")
    clock.advance(LIMIT.window_s)
    assert not await throttle.seen(LIMIT, "anna")


async def test_a_clock_that_is_set_back_over_an_edge_forgets_nothing_that_is_kept() -> None:
    clock = ManualClock()
    throttle = Throttle(clock)
    await throttle.spend(KEPT, "anna")
    clock.advance(KEPT.window_s)
    await throttle.spend(KEPT, "bert")
    clock.advance(-KEPT.window_s)
    assert await throttle.seen(KEPT, "anna")


async def test_what_another_node_counted_in_the_window_before_is_seen() -> None:
    clock, counts = ManualClock(), FakeCounts()
    await Throttle(clock, counts).spend(Limit("kept", 1, 60, windows=2), "anna")
    clock.advance(60)
    assert await Throttle(clock, counts).seen(Limit("kept", 1, 60, windows=2), "anna")


async def test_what_this_node_knows_is_seen_while_the_shared_counts_are_silent() -> None:
    counts = FakeCounts()
    counts.down = True
    throttle = Throttle(ManualClock(), counts)
    await throttle.spend(KEPT, "anna")
    assert await throttle.seen(KEPT, "anna")


# ---------------------------------------------------------------- several nodes


async def test_two_nodes_share_a_limit() -> None:
    clock, counts = ManualClock(), FakeCounts()
    here, there = Throttle(clock, counts), Throttle(clock, counts)
    await admitted(here, 10)
    assert await admitted(there, 10) <= 1


@given(st.lists(st.integers(0, 2), max_size=80))
async def test_nodes_together_admit_no_more_than_the_limit_and_their_unasked_shares(turns: list[int]) -> None:
    clock, counts = ManualClock(), FakeCounts()
    nodes = [Throttle(clock, counts) for _ in range(3)]
    passed = sum([await nodes[turn].spend(LIMIT, "anna") is None for turn in turns])
    assert min(len(turns), LIMIT.amount) <= passed <= LIMIT.amount * (1 + len(nodes) * room.SHARED_FROM)


async def test_who_does_little_costs_the_others_nothing() -> None:
    counts = FakeCounts()
    await admitted(Throttle(ManualClock(), counts), 100, Limit("wide", 1_000, 60))
    assert counts.calls == 0


async def test_a_flood_beyond_the_limit_stays_on_its_node() -> None:
    counts = FakeCounts()
    throttle = Throttle(ManualClock(), counts)
    await admitted(throttle, 1_000)
    assert counts.calls <= LIMIT.amount + 1


async def test_what_is_given_back_is_given_back_for_all() -> None:
    clock, counts = ManualClock(), FakeCounts()
    here, there = Throttle(clock, counts), Throttle(clock, counts)
    await admitted(here, 10)
    for _ in range(5):
        await here.give_back(LIMIT, "anna")
    assert await admitted(there, 20) in (5, 6)


# ---------------------------------------------------------------- without the shared counts


async def test_without_the_shared_counts_a_node_keeps_the_limit_alone() -> None:
    counts = FakeCounts()
    counts.down = True
    assert await admitted(Throttle(ManualClock(), counts), 25) == 10


async def test_hanging_counts_delay_one_request_and_no_more() -> None:
    counts = FakeCounts()
    counts.hung = True
    async with asyncio.timeout(10):
        assert await admitted(Throttle(ManualClock(), counts), 25) == 10
    assert counts.calls <= 2


async def test_decisions_made_alone_are_counted() -> None:
    counts, alone = FakeCounts(), list[int]()
    counts.down = True
    throttle = Throttle(ManualClock(), counts, on_alone=lambda: alone.append(1))
    await admitted(throttle, 5)
    assert len(alone) == 4  # the first is below the share from which others are asked


async def test_what_was_counted_alone_is_told_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "RETRY_AFTER_S", 0.0)
    counts = FakeCounts()
    throttle = Throttle(ManualClock(), counts)
    counts.down = True
    await admitted(throttle, 6)
    counts.down = False
    await throttle.spend(LIMIT, "anna")
    assert list(counts.counts.values()) == [7]
