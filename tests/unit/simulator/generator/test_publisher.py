"""The open loop: never early, never shifted, bounded, and every end counted."""

import asyncio
import time

from simulator.generator.publisher import Dispatch, Publisher
from simulator.profiles.base import Fact, Outcome
from simulator.scenario.schedule import Publication

NS = 1_000_000_000


def items(count: int, period_s: float) -> list[Publication]:
    return [Publication(n, n * period_s, 0, 0, n >= 1) for n in range(count)]


async def accept(item: Publication, intended_ns: int) -> Outcome:
    return Outcome("accepted", http_us=5)


async def test_everything_is_sent_and_counted() -> None:
    publisher = Publisher(accept, 4, NS)
    await publisher.run(items(5, 0.001), time.monotonic_ns())
    summary = publisher.done.summary()
    assert (summary.scheduled, summary.sent, summary.accepted) == (5, 5, 5)


async def test_nothing_is_sent_before_its_time() -> None:
    early: list[int] = []

    async def note(item: Publication, intended_ns: int) -> Outcome:
        early.append(max(0, intended_ns - time.monotonic_ns()))
        return Outcome("accepted")

    await Publisher(note, 4, NS).run(items(10, 0.005), time.monotonic_ns())
    assert early == [0] * 10


async def test_a_slow_answer_does_not_shift_the_schedule() -> None:
    intended: list[int] = []
    start_ns = time.monotonic_ns()

    async def slow(item: Publication, intended_ns: int) -> Outcome:
        intended.append(intended_ns - start_ns)
        await asyncio.sleep(0.05)
        return Outcome("accepted")

    await Publisher(slow, 10, NS).run(items(5, 0.01), start_ns)
    assert intended == [n * 10_000_000 for n in range(5)]


async def turns(count: int = 100) -> None:
    """Let everything that is due run."""
    for _ in range(count):
        await asyncio.sleep(0)


async def test_what_finds_no_free_worker_is_dropped() -> None:
    free = asyncio.Event()

    async def stuck(item: Publication, intended_ns: int) -> Outcome:
        await free.wait()
        return Outcome("accepted")

    publisher = Publisher(stuck, 2, NS)
    running = asyncio.ensure_future(publisher.run(items(5, 0.0), time.monotonic_ns()))
    await turns()
    free.set()
    await running
    assert (publisher.done.summary().sent, publisher.done.summary().dropped) == (2, 3)


async def test_late_publishes_are_sent_and_counted() -> None:
    publisher = Publisher(accept, 8, NS)
    await publisher.run(items(3, 0.0), time.monotonic_ns() - 5 * NS)
    assert (publisher.done.summary().sent, publisher.done.summary().late) == (3, 3)


async def test_refusals_and_failures_keep_their_reasons() -> None:
    async def refuse(item: Publication, intended_ns: int) -> Outcome:
        return Outcome("refused", "claim_settled") if item.n else Outcome("failed", "status 500")

    publisher = Publisher(refuse, 4, NS)
    await publisher.run(items(3, 0.0), time.monotonic_ns())
    summary = publisher.done.summary()
    assert (summary.refusals, summary.failures) == ({"claim_settled": 2}, {"status 500": 1})


async def broken(item: Publication, intended_ns: int) -> Outcome:
    raise ValueError(f"no JSON in answer {item.n}")


async def test_a_publish_that_raises_has_failed_and_is_named() -> None:
    publisher = Publisher(broken, 4, NS)
    await publisher.run(items(3, 0.0), time.monotonic_ns())
    summary = publisher.done.summary()
    assert (summary.sent, summary.failed) == (3, 3)
    assert summary.failures == {"ValueError: it may have been published": 3}


async def test_a_publish_that_raises_is_a_doubt() -> None:
    """Nobody knows whether it was published, so nobody can say what is owed."""
    publisher = Publisher(broken, 4, NS)
    await publisher.run(items(3, 0.0), time.monotonic_ns())
    assert publisher.done.doubts == 3


async def test_an_accepted_publish_that_cannot_be_told_is_a_doubt() -> None:
    async def accepted(item: Publication, intended_ns: int) -> Outcome:
        return Outcome("accepted", fact=Fact(0, item.n, intended_ns, 0, 0, measured=True))

    def tell(fact: Fact) -> None:
        raise KeyError(fact.position)

    publisher = Publisher(accepted, 4, NS, tell)
    await publisher.run(items(3, 0.0), time.monotonic_ns())
    assert (publisher.done.summary().accepted, publisher.done.doubts) == (3, 3)


def test_doubts_add_up_over_processes() -> None:
    whole = Dispatch(doubts=1)
    whole.add(Dispatch(doubts=2))
    assert whole.doubts == 3


async def test_the_warm_up_is_not_timed() -> None:
    publisher = Publisher(accept, 4, NS)
    await publisher.run(items(3, 0.0), time.monotonic_ns())
    assert (publisher.done.schedule_lag.count, publisher.done.http.count) == (2, 2)


async def test_cancelling_leaves_no_publish_behind() -> None:
    async def forever(item: Publication, intended_ns: int) -> Outcome:
        await asyncio.Event().wait()
        return Outcome("accepted")

    publisher = Publisher(forever, 4, NS)
    running = asyncio.ensure_future(publisher.run(items(2, 0.0), time.monotonic_ns()))
    await turns()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert not publisher._busy


async def test_a_burst_is_begun_in_one_turn_of_the_loop() -> None:
    turns: set[int] = set()
    turn = 0

    async def count() -> None:
        nonlocal turn
        while True:
            await asyncio.sleep(0)
            turn += 1

    async def note(item: Publication, intended_ns: int) -> Outcome:
        turns.add(turn)
        return Outcome("accepted")

    counting = asyncio.ensure_future(count())
    await Publisher(note, 100, NS).run(items(100, 0), time.monotonic_ns())
    counting.cancel()
    assert len(turns) == 1
