"""The shipped examples run: servers that know nothing of us, described by TOML alone."""

import re
import shutil
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from loadtest.bench.system import NODE_DIR, node_trouble
from simulator.processes import PIPE, Program
from simulator.progress import Silent
from simulator.result import Result
from simulator.run.runner import RunOptions, run
from simulator.scenario.loader import build, load, read
from simulator.socketio_client import Endpoint
from simulator.target.http_client import RestClient
from tests.support.simulator.planted import GENEROUS

EXAMPLES = Path(__file__).parents[3] / "simulator" / "examples"
SMALL = {"clients": 40, "duration_s": 4, "honesty": GENEROUS}
CALM = {"fanout_p99_ms": 20_000}
"""The machine is not judged here."""


@asynccontextmanager
async def serving(*command: str) -> AsyncIterator[str]:
    """The URL of an example server that lives as long as the block. The bench has its Node modules."""
    env = {"NODE_PATH": str(NODE_DIR / "node_modules")}
    async with Program([*command, "--port", "0"], env=env, stdout=PIPE).spawned() as child:
        yield (await child.facts(30))["url"]


def node_server() -> tuple[str, ...]:
    """The command of the Node example; fails with the reason when Node is not there."""
    trouble = node_trouble()
    assert trouble is None, trouble
    return (shutil.which("node") or "node", str(EXAMPLES / "node" / "server.js"))


def python_server() -> tuple[str, ...]:
    return (sys.executable, str(EXAMPLES / "python" / "server.py"))


async def measured(file: str, url: str, **changes: Any) -> Result:
    """A small run of an example's scenario."""
    scenario = load(str(EXAMPLES / file)).model_dump(mode="json")
    slo = scenario["slo"] | (CALM if "fanout_p99_ms" in scenario["slo"] else {})
    return await run(RunOptions(build(scenario | SMALL | changes | {"slo": slo}), url=url), Silent())


async def counts_of(url: str) -> dict[str, int]:
    client = RestClient(Endpoint.parse(url))
    try:
        counts: dict[str, int] = (await client.request("GET", "/counts")).json()
    finally:
        await client.close()
    return counts


def test_the_faults_of_the_guide_are_a_scenario() -> None:
    text = re.search(r"```toml\n(.*?)```", (EXAMPLES / "README.md").read_text(), re.DOTALL)
    assert text is not None
    assert len(read(text[1], "guide").faults) == 4


async def test_socketio_on_node_passes() -> None:
    async with serving(*node_server()) as url:
        result = await measured("node/chat.toml", url)
    assert (result.verdict, result.reasons, result.ledger.lost) == ("PASS", [], 0)


async def test_what_node_says_it_sent_is_what_came_in() -> None:
    async with serving(*node_server()) as url:
        result = await measured("node/chat.toml", url)
        counts = await counts_of(url)
    assert result.ledger.received == counts["sent"] == result.ledger.expected == counts["owed"]


@pytest.mark.parametrize("file", ["python/chat.toml", "python/echo.toml"])
async def test_stock_python_socketio_passes(file: str) -> None:
    async with serving(*python_server()) as url:
        result = await measured(file, url)
    assert (result.verdict, result.reasons, result.ledger.lost) == ("PASS", [], 0)
    assert result.ledger.received > 0


async def test_a_server_that_carries_only_a_number_is_measured_as_well() -> None:
    publish = {"via": "socket", "event": "say", "args": [{"room": "{room}", "id": "{n}", "stamp": 0}]}
    server = load(str(EXAMPLES / "python/chat.toml")).model_dump(mode="json")["server"]
    async with serving(*python_server()) as url:
        result = await measured("python/chat.toml", url, server=server | {"publish": publish})
    assert (result.verdict, result.reasons, result.ledger.lost) == ("PASS", [], 0)


async def test_node_without_recovery_loses_in_a_storm_what_it_says_it_did_not_send() -> None:
    """Both count by themselves. Only messages that the server wrote to a connection already gone, before it
    was told so, are sent for the one and lost for the other; the server counts how many those can be."""
    async with serving(*node_server()) as url:
        result = await measured("node/storm.toml", url, duration_s=6, publish={"rate_per_s": 40})
        counts = await counts_of(url)
    unsent = counts["owed"] - counts["sent"]
    assert (result.verdict, result.ledger.expected) == ("FAIL", counts["owed"])
    assert result.ledger.lost + result.ledger.unverified > 0
    assert unsent <= result.ledger.lost <= unsent + counts["in_doubt"], (result.ledger, counts)
