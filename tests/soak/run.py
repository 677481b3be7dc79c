"""One soak: a node, churn to warm it up, a base line, churn, and the same node at rest again.

Samples go on meanwhile. Called by the soak itself (minutes) and by the tests of planted leaks (seconds).
"""

import asyncio
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import httpx

from tests.soak.churn import LIMITS, Churn, Tally, sample, seed
from tests.soak.judge import BLOCKS, Growth, Sample, growth, is_at_rest, leaks
from tests.support.backend.node import ROOT, Node

REST_DEADLINE_S = 40.0
SAMPLE_S = 1.0
SCRIPT = Path(__file__).with_name("node.py")


class SoakedNode(Node):
    """A node that counts exactly; see `soak_node.py`. leaky: with planted leaks."""

    def __init__(self, data_dir: Path, *, leaky: bool, **settings: object) -> None:
        super().__init__(data_dir, **settings)
        self._kind = "leaky" if leaky else "healthy"

    def command(self) -> list[str]:
        where = ["--port", str(self.port), "--data-dir", str(self.data_dir)]
        return [sys.executable, str(SCRIPT), str(ROOT), self._kind, "serve", *where]


@dataclass(frozen=True)
class Soaked:
    """What came of it. leaks: sentences; none is as it must be."""

    tally: Tally
    growth: Growth
    leaks: list[str]


async def soak(data_dir: Path, *, warm_s: float, churn_s: float, places: int, leaky: bool = False) -> Soaked:
    """Run one. leaky: with a node that forgets nothing."""
    people = await seed(data_dir)
    node = SoakedNode(data_dir, leaky=leaky, **LIMITS)
    await asyncio.to_thread(node.start)
    try:
        async with httpx.AsyncClient(timeout=10) as http:
            await Churn(node.url, people, 1, places).run(warm_s)
            base = await _at_rest(node, http)
            churn = Churn(node.url, people, 2, places)
            series: list[tuple[float, Sample]] = []
            sampling = asyncio.create_task(_sample(node, http, series))
            await churn.run(churn_s)
            sampling.cancel()
            end = await _at_rest(node, http)
    finally:
        await asyncio.to_thread(node.stop)
    connections = churn.tally.connects + churn.tally.drops
    return Soaked(churn.tally, growth(base, end, series, connections), leaks(base, end, connections))


async def _sample(node: Node, http: httpx.AsyncClient, series: list[tuple[float, Sample]]) -> None:
    began_s = time.monotonic()
    while True:
        series.append((time.monotonic() - began_s, await sample(node, http)))
        await asyncio.sleep(SAMPLE_S)


async def _at_rest(node: Node, http: httpx.AsyncClient) -> Sample:
    """The smallest that was seen once everybody had left, until nothing shrinks any more."""
    deadline_s = time.monotonic() + REST_DEADLINE_S
    best: Sample | None = None
    unchanged = 0
    while unchanged < 6:
        assert time.monotonic() < deadline_s, "the node did not come to rest"
        found = await sample(node, http)
        if is_at_rest(found) and (best is None or _less(found, best)):
            best, unchanged = found, 0
        elif is_at_rest(found):
            unchanged += 1
        await asyncio.sleep(0.5)
    assert best is not None
    return best


def _less(found: Sample, best: Sample) -> bool:
    sizes = ("event_loop_tasks", "process_open_fds", "websocket_rooms")
    shrunk = any(found[name] < best[name] for name in sizes)
    return shrunk or found[BLOCKS] < best[BLOCKS] - 500
