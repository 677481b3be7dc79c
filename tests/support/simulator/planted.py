"""Runs of the simulator against the lying server: a bug is planted and looked for in the ledger."""

import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from simulator.processes import PIPE, Program
from simulator.progress import Live, Silent
from simulator.result import Result
from simulator.run.collect import findings_of
from simulator.run.phases import LoadRun
from simulator.run.runner import RunOptions, run
from simulator.scenario.loader import build
from simulator.scenario.models import Scenario
from simulator.socketio_client import Endpoint
from simulator.target.http_client import RestClient
from simulator.verdict import Honesty, judge
from tests.support.backend.node import ROOT

SERVER = {
    "join": [{"event": "join", "args": [{"room": "{room}"}]}],
    "rooms": {"count": 2, "durable": True},
    "publish": {
        "via": "http",
        "path": "/publish",
        "body": {"room": "{room}", "id": "{id}", "stamp": "{stamp}"},
    },
    "receive": {"event": "message", "id": "/0/id", "seq": "/0/seq"},
    "recover": {"auth_key": "last_seq", "event": "recovery"},
}
GENEROUS = {
    "loop_lag_p90_ms": 5_000,
    "loop_lag_p99_ms": 5_000,
    "late_share": 1,
    "dropped_share": 1,
    "cpu_share": 4,
}
"""The tests judge the ledger, not the machine they run on."""
DROPS = [{"kind": "drop", "at_share": 0.3, "fraction": 0.5, "away_s": [0.3, 0.6]}]


class Once(Silent):
    """Does something as soon as the load has published. ticks: all that it was told."""

    def __init__(self, action: Callable[[], object] = lambda: None) -> None:
        self.action = action
        self.done = False
        self.ticks: list[Live] = []

    def tick(self, live: Live) -> None:
        self.ticks.append(live)
        if live.phase == "load" and live.published > 0 and not self.done:
            self.done = True
            self.action()


@dataclass(frozen=True, slots=True)
class Planted:
    """A run, and the server's own count of what it did."""

    result: Result
    counts: dict[str, int]


def scenario(**changes: Any) -> Scenario:
    """A short run of few clients through the generic profile."""
    base: dict[str, Any] = {
        "name": "planted",
        "profile": "generic",
        "clients": 12,
        "duration_s": 1.5,
        "publish": {"rate_per_s": 40},
        "phases": {"warmup_s": 0.2, "drain_s": 1.5},
        "windows": {"late_ms": 30_000, "grace_ms": 500},
        "honesty": GENEROUS,
        "server": SERVER,
    }
    return build(base | changes)


@asynccontextmanager
async def server(program: str, *options: str) -> AsyncIterator[int]:
    """The port of a test server (a program in this folder) that lives as long as the block."""
    words = [sys.executable, "-m", f"tests.support.simulator.{program}", *options]
    async with Program(words, cwd=ROOT, stdin=PIPE, stdout=PIPE).spawned() as child:
        yield (await child.facts(30))["port"]


async def planted(lies: Sequence[str], spec: Scenario) -> Planted:
    """Run a scenario against a server that lies so."""
    async with server("lying_server", *lies) as port:
        result = await run(RunOptions(spec, url=f"http://127.0.0.1:{port}"), Silent())
        return Planted(result, await counts_of(port))


async def judged(course: LoadRun, spec: Scenario) -> Result:
    """What comes of a run that the test itself holds, to break something in it."""
    return judge(findings_of(await course.run()), spec.slo, Honesty(**spec.honesty.model_dump()))


async def counts_of(port: int) -> dict[str, int]:
    """What the server really put on the wire."""
    client = RestClient(Endpoint.parse(f"http://127.0.0.1:{port}"))
    try:
        counts: dict[str, int] = (await client.request("GET", "/counts")).json()
        return counts
    finally:
        await client.close()
