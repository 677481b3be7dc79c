"""Malformed inputs by the thousand, over REST and sockets, while an honest neighbour goes on living.

The fast form sends hundreds; `make fuzz` sends more than ten thousand and prints what it did.
"""

import asyncio
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.fuzz.attack import Tally, attack
from tests.fuzz.conftest import UNLIMITED
from tests.support.backend.node import Node, running_node
from tests.support.backend.rest import Rest
from tests.support.backend.sockets import Witness, connected
from tests.support.waiting import until, until_async

ROUNDS = 5
ROUND_INPUTS = 2_600
FAST_INPUTS = 600
SEED = 20_260_417
SPARE_DESCRIPTORS = 8
SPARE_TASKS = 8
GROWTH_PER_INPUT_BYTES = 1_000
"""More than this for each malformed input, after the first round, is a leak."""


@dataclass
class Level:
    """What a node holds."""

    rss_bytes: float
    descriptors: float
    sockets: float
    tasks: float


@pytest.fixture
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    with running_node(tmp_path_factory.mktemp("hostile"), auth_deadline_s=2, **UNLIMITED) as started:
        yield started


def level(node: Node) -> Level:
    metrics = node.metrics()
    sockets = [value for name, value in metrics.items() if name.startswith("websocket_connected_sockets")]
    return Level(
        metrics["process_resident_memory_bytes"],
        metrics["process_open_fds"],
        sum(sockets),
        metrics["event_loop_tasks"],
    )


async def base_line(node: Node) -> Level:
    """The level with the neighbour alone; the node counts its sockets once a second."""

    async def alone() -> bool:
        return (await asyncio.to_thread(level, node)).sockets == 1

    await until_async(alone, "the neighbour is counted")
    return await asyncio.to_thread(level, node)


async def settled(node: Node, before: Level) -> Level:
    """The level once all that the strangers opened is closed again."""
    now = await asyncio.to_thread(level, node)

    async def at_base() -> bool:
        nonlocal now
        now = await asyncio.to_thread(level, node)
        return (
            now.sockets == before.sockets
            and now.descriptors <= before.descriptors + SPARE_DESCRIPTORS
            and now.tasks <= before.tasks + SPARE_TASKS
        )

    try:
        await until_async(at_base, "sockets, descriptors and tasks are back where they were", timeout_s=30)
    except AssertionError as error:
        raise AssertionError(f"not back: {now}, before: {before}") from error
    return now


class Neighbour:
    """An honest user: a socket, a trickle of notifications, and how long a ping took."""

    def __init__(self, rest: Rest, socket: Witness, claim_ids: list[str]) -> None:
        self._rest = rest
        self._socket = socket
        self._claims = claim_ids
        self.pings_s: list[float] = []
        self.vouched = 0

    async def live(self) -> None:
        """Ping and be notified, until cancelled."""
        validator = await self._rest.account()
        for claim_id in self._claims:
            started_s = time.monotonic()
            await self._socket.settle()
            self.pings_s.append(time.monotonic() - started_s)
            await self._rest.vouch(validator, claim_id)
            self.vouched += 1
            await asyncio.sleep(0.05)

    def undisturbed(self) -> None:
        """Everything that happened was heard, once and in order."""
        assert not self._socket.gone
        assert self._socket.seqs == list(range(1, self.vouched + 1))


async def hostile_rounds(node: Node, rounds: int, inputs: int) -> tuple[Tally, list[Level]]:
    """The attack beside a neighbour; what was sent and answered, and the level after each round."""
    total = Tally()
    async with Rest(node.url) as rest:
        ann, stranger = await rest.accounts(2)
        claims = [await rest.claim(ann, quorum=100_000) for _ in range(300)]
        async with connected(node.url, ann) as socket:
            neighbour = Neighbour(rest, socket, claims)
            before = await base_line(node)
            life = asyncio.create_task(neighbour.live())
            levels = []
            for number in range(rounds):
                tally = await attack(node.address, stranger.token, inputs, random.Random(SEED + number))
                total.inputs += tally.inputs
                total.statuses += tally.statuses
                total.tracebacks += tally.tracebacks
                levels.append(await settled(node, before))
            life.cancel()
            await asyncio.gather(life, return_exceptions=True)
            await until(lambda: len(socket.seqs) >= neighbour.vouched, "the neighbour's notifications")
            await socket.settle()
            neighbour.undisturbed()
            assert neighbour.vouched
    return total, levels


def judged(node: Node, total: Tally) -> None:
    """No 5xx, no traceback: neither to a client nor in the log."""
    assert {status: number for status, number in total.statuses.items() if status >= 500} == {}
    assert total.tracebacks == []
    assert "Traceback" not in node.log()


async def test_hundreds_of_malformed_inputs_break_nothing(node: Node) -> None:
    total, _ = await hostile_rounds(node, 1, FAST_INPUTS)
    judged(node, total)
    assert total.total > FAST_INPUTS * 0.8


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_more_than_ten_thousand_malformed_inputs_break_nothing(node: Node) -> None:
    started_s = time.monotonic()
    total, levels = await hostile_rounds(node, ROUNDS, ROUND_INPUTS)
    growth = (levels[-1].rss_bytes - levels[0].rss_bytes) / (ROUND_INPUTS * (ROUNDS - 1))
    took_s = time.monotonic() - started_s
    print(
        f"\nhostile: {total.total} malformed inputs ({dict(total.inputs)}) in {took_s:.0f} s; "
        f"HTTP answers {dict(sorted(total.statuses.items()))}; "
        f"RSS after each round {[round(at.rss_bytes / 2**20, 1) for at in levels]} MiB, "
        f"{growth:.0f} bytes an input after the first; descriptors {[int(at.descriptors) for at in levels]}; "
        f"tasks {[int(at.tasks) for at in levels]}; "
        f"log {len(node.log())} bytes"
    )
    judged(node, total)
    assert total.total > 10_000
    assert growth < GROWTH_PER_INPUT_BYTES
