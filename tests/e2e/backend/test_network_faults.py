"""Order and completeness under adversity: two nodes, a bus and connections that break at random, by seed.

Each seed is a world of its own - people, their clients, a proxy in front of each node - and breaks it in its
own way while events flow: resets, stalls, half-closed and thin connections, clients that stop reading, and,
for all worlds at once, a bus that is cut and stalls. Then everything heals, and the accounts are judged: what
each client took is what the store holds, each once and in order.
"""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from simulator.faults.proxy import FlakyProxy
from tests.support.backend.node import LOOPBACK, Node
from tests.support.backend.readers import Reader
from tests.support.backend.rest import Account, Rest
from tests.support.backend.traffic import NEVER
from tests.support.backend.two_nodes import running_pair
from tests.support.services import Valkey, running_valkey
from tests.support.waiting import until

pytestmark = pytest.mark.services

SEEDS_AT_ONCE = 25
OWNERS, READERS_EACH, VALIDATORS = 2, 2, 4
HEAL_DEADLINE_S = 40.0


@dataclass
class World:
    """One seed: whose bells ring, and who listens by which proxies."""

    seed: int
    rng: random.Random
    owners: list[Account]
    claims: list[tuple[Account, str]]
    proxies: list[FlakyProxy]
    readers: list[tuple[Account, Reader]]


@contextlib.asynccontextmanager
async def stage(directory: Path) -> AsyncIterator[tuple[tuple[Node, Node], FlakyProxy]]:
    """Two nodes whose bus goes through a proxy."""
    with contextlib.ExitStack() as stack:
        valkey: Valkey = await asyncio.to_thread(stack.enter_context, running_valkey())
        async with FlakyProxy(LOOPBACK, LOOPBACK, valkey.port, random.Random(0)) as bus:
            url = f"redis://{LOOPBACK}:{bus.port}/0"
            pair = running_pair(directory, url, ping_interval_s=1, ping_timeout_s=1, slow_abort_s=3)
            try:
                yield await asyncio.to_thread(stack.enter_context, pair), bus
            finally:
                await asyncio.to_thread(stack.close)


@asynccontextmanager
async def world(
    seed: int, nodes: Sequence[Node], rest: Rest, validators: list[Account]
) -> AsyncIterator[World]:
    """People with a few claims each, and their clients."""
    rng = random.Random(seed)
    owners = await rest.accounts(OWNERS)
    claims = [
        (owner, await rest.claim(owner, quorum=NEVER, title="x" * 150)) for owner in owners for _ in "abcd"
    ]
    async with contextlib.AsyncExitStack() as stack:
        proxies = [
            await stack.enter_async_context(FlakyProxy(LOOPBACK, LOOPBACK, node.port, rng)) for node in nodes
        ]
        ports = [proxy.port for proxy in proxies]
        readers = [
            (owner, Reader(owner.token, ports, random.Random(rng.random())))
            for owner in owners
            for _ in range(READERS_EACH)
        ]
        for _, reader in readers:
            reader.start()
            stack.push_async_callback(reader.stop)
        yield World(seed, rng, owners, claims, proxies, readers)


# ---------------------------------------------------------------- what breaks


async def fault(place: World) -> None:
    """One fault of the world's connections, for a while."""
    rng, proxy = place.rng, place.rng.choice(place.proxies)
    faults: dict[str, Callable[[], contextlib.AbstractContextManager[None]]] = {
        "cut": proxy.cut,
        "stall": proxy.stall,
        "half_close": proxy.half_close,
        "thin": lambda: proxy.bandwidth(rng.choice([3_000, 20_000])),
        "far": lambda: proxy.delay(rng.uniform(1, 40), 20),
        "reset": lambda: proxy.reset_after(rng.randrange(200, 6_000)),
        "deaf": lambda: not_reading(rng.choice(place.readers)[1]),
    }
    with faults[rng.choice(list(faults))]():
        await asyncio.sleep(rng.uniform(0.05, 0.6))


@contextlib.contextmanager
def not_reading(reader: Reader) -> Iterator[None]:
    """The client takes nothing from its connection."""
    reader.reading.clear()
    try:
        yield
    finally:
        reader.reading.set()


async def break_world(place: World, rounds: int) -> None:
    for _ in range(rounds):
        await fault(place)
        await asyncio.sleep(place.rng.uniform(0.0, 0.2))


async def break_bus(
    bus: FlakyProxy, rng: random.Random, while_running: Sequence["asyncio.Task[None]"]
) -> None:
    while not all(task.done() for task in while_running):
        with rng.choice([bus.cut, bus.stall])():
            await asyncio.sleep(rng.uniform(0.05, 0.7))
        await asyncio.sleep(rng.uniform(0.1, 0.8))


async def ring(place: World, rests: Sequence[Rest], validators: list[Account], rounds: int) -> None:
    """Events, on either node, spread over the time in which things break."""
    pairs = [(claim_id, who) for _, claim_id in place.claims for who in validators]
    place.rng.shuffle(pairs)
    for claim_id, who in pairs:
        await place.rng.choice(rests).vouch(who, claim_id)
        await asyncio.sleep(place.rng.uniform(0.0, rounds * 0.9 / len(pairs)))


# ---------------------------------------------------------------- the judgement


async def judge(place: World, rest: Rest) -> list[str]:
    """What is wrong in this world once it has healed; empty if nothing is."""
    wrong = []
    for owner, reader in place.readers:
        stored = [(row["seq"], row["id"]) for row in await rest.bell(owner)]
        account = reader.account
        with contextlib.suppress(AssertionError):
            await until(lambda a=account, s=stored: len(a.taken) >= len(s), timeout_s=HEAL_DEADLINE_S)  # type: ignore[misc]
        name = f"seed {place.seed}, {account.connections} connections, {account.upgrades} upgrades"
        if account.holes:
            wrong.append(f"{name}: out of order or lost at {account.holes[:3]}")
        if account.taken != stored[: len(account.taken)]:
            wrong.append(f"{name}: took what is not its own")
        if len(account.taken) < len(stored):
            wrong.append(f"{name}: {len(stored) - len(account.taken)} of {len(stored)} lost")
        if account.early:
            wrong.append(f"{name}: heard {account.early[:3]} before it was let in")
        if account.unrecovered:
            wrong.append(f"{name}: told that it cannot be caught up, and it can")
    return wrong


@dataclass
class Outcome:
    """What was wrong, and that something was tried."""

    wrong: list[str]
    connections: int = 0
    upgrades: int = 0
    repeated: int = 0


async def run_seeds(directory: Path, seeds: Sequence[int], rounds: int) -> Outcome:
    outcome = Outcome([])
    async with stage(directory) as (nodes, bus), Rest(nodes[0].url) as one, Rest(nodes[1].url) as two:
        validators = await one.accounts(VALIDATORS)
        for start in range(0, len(seeds), SEEDS_AT_ONCE):
            async with contextlib.AsyncExitStack() as stack:
                places = [
                    await stack.enter_async_context(world(seed, nodes, one, validators))
                    for seed in seeds[start : start + SEEDS_AT_ONCE]
                ]
                breaking = [asyncio.create_task(break_world(place, rounds)) for place in places]
                ringing = [
                    asyncio.create_task(ring(place, (one, two), validators, rounds)) for place in places
                ]
                await break_bus(bus, random.Random(start), [*breaking, *ringing])
                await asyncio.gather(*breaking, *ringing)
                for found in await asyncio.gather(*(judge(place, one) for place in places)):
                    outcome.wrong += found
                accounts = [reader.account for place in places for _, reader in place.readers]
                outcome.connections += sum(account.connections for account in accounts)
                outcome.upgrades += sum(account.upgrades for account in accounts)
                outcome.repeated += sum(account.repeated for account in accounts)
        for node in nodes:
            before, traceback, after = node.log().partition("Traceback")
            if traceback:
                outcome.wrong.append(
                    f"{node.settings['node']} logged: {before[-300:]}{traceback}{after[:3_000]}"
                )
    return outcome


@pytest.mark.timeout(200)
async def test_fifty_ways_to_break_lose_repeat_and_mix_up_nothing(tmp_path: Path) -> None:
    outcome = await run_seeds(tmp_path, range(50), rounds=3)
    assert outcome.wrong == []
    # Every client was thrown out, and many were upgraded while events flowed.
    assert outcome.connections > 50 * OWNERS * READERS_EACH
    assert outcome.upgrades > 50


@pytest.mark.slow
@pytest.mark.timeout(900)
async def test_a_hundred_ways_to_break_for_longer(tmp_path: Path) -> None:
    outcome = await run_seeds(tmp_path, range(1_000, 1_100), rounds=8)
    assert outcome.wrong == []
