"""The simulator against the real service: the main job end to end, and what happens when it breaks."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from simulator.errors import SetupError
from simulator.processes import free_port
from simulator.progress import Silent
from simulator.result import Result
from simulator.run.phases import LoadRun
from simulator.run.runner import RunOptions, run
from simulator.scenario.loader import build, load, override
from simulator.scenario.models import Scenario
from simulator.target.server import Commands
from tests.support.backend.node import QUICK, ROOT, Node, environment, running_node
from tests.support.simulator.planted import GENEROUS, Once, judged

LOOSE = {"fanout_p99_ms": 60_000, "caught_up_p99_ms": 60_000, "durable_p99_ms": 60_000}
PHASES = {"warmup_s": 0.5, "drain_s": 2.5}


def small(name: str, **changes: Any) -> Scenario:
    """A built-in scenario, a few seconds and clients of it; times are not asserted."""
    wanted = {"clients": 24, "duration_s": 4, "rate_per_s": 12} | changes
    scenario = override(load(name), **wanted, slo={k: v for k, v in LOOSE.items() if k in load(name).slo})
    data = scenario.model_dump() | {"honesty": GENEROUS, "phases": scenario.phases.model_dump() | PHASES}
    return build(data)


def commands() -> Commands:
    """Seed and serve in a directory of the run's own."""
    ours, where = [sys.executable, str(ROOT / "cli.py")], ["--data-dir", "{data_dir}/data"]
    sizes = ["--users", "{users}", "--claims", "{claims}", "--quorum", "{quorum}", "--seed", "{seed}"]
    files = ["--tokens", "{tokens_file}", "--claims-file", "{rooms_file}"]
    env = {name: value for name, value in environment(QUICK).items() if name.startswith("VOUCHSTORM_")}
    return Commands(
        [*ours, "serve", "--port", "0", *where, "--log-level", "warning"],
        [*ours, "seed", *sizes, *files, *where],
        env,
    )


@pytest.fixture(scope="module")
def demo() -> Result:
    """One small demo run that several tests look at."""
    return asyncio.run(run(RunOptions(small("demo"), commands=commands()), Silent()))


def test_the_demo_passes(demo: Result) -> None:
    assert (demo.verdict, demo.reasons) == ("PASS", [])


def test_the_demo_connects_everybody(demo: Result) -> None:
    assert demo.connections.established == 24


def test_the_demo_loses_repeats_and_leaks_nothing(demo: Result) -> None:
    ledger = demo.ledger
    assert (ledger.lost, ledger.duplicate, ledger.misrouted, ledger.out_of_order) == (0, 0, 0, 0)


def test_the_demo_replays_what_the_dropped_missed(demo: Result) -> None:
    assert demo.ledger.replayed > 0
    assert demo.reconnect.recovery.full == demo.reconnect.drops == 7


def test_the_demo_checks_the_conservation_laws(demo: Result) -> None:
    assert (demo.conservation.violation_count, demo.conservation.checked > 100) == (0, True)


def test_the_demo_measures_every_latency(demo: Result) -> None:
    assert {"fanout", "snapshot", "durable", "http", "schedule_lag"} <= demo.latency_ms.keys()


def test_the_demo_knows_what_the_server_cost(demo: Result) -> None:
    assert demo.server.managed
    assert demo.server.rss_bytes > 0
    assert demo.server.metrics


async def test_clients_that_watch_only_some_claims_pass_as_well() -> None:
    scenario = small("bell", clients=18)
    result = await run(RunOptions(scenario, commands=commands()), Silent())
    assert (result.verdict, result.reasons) == ("PASS", [])


async def test_a_storm_of_watchers_is_caught_up_by_watching_again() -> None:
    data = small("demo", duration_s=6).model_dump() | {
        "live": {"scope": "watched", "watches": 4},
        "faults": [{"kind": "drop", "at_s": 2.0, "fraction": 1.0, "away_s": (0.5, 1.0)}],
    }
    result = await run(RunOptions(build(data), commands=commands()), Silent())
    assert (result.reconnect.reconnected, result.ledger.lost) == (24, 0)
    assert result.verdict == "PASS", result.reasons


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Node]:
    """A node that a test may kill."""
    with running_node(tmp_path) as started:
        yield started


async def test_a_server_without_seed_gets_its_users_over_rest(node: Node) -> None:
    result = await run(RunOptions(small("demo", clients=6), url=node.url), Silent())
    assert (result.verdict, result.reasons) == ("PASS", [])


async def test_a_server_of_ours_that_dies_mid_run_fails_and_says_so() -> None:
    scenario = small("demo", duration_s=30)
    ui = Once(lambda: os.kill(course.server.pid if course.server else 0, signal.SIGKILL))
    course = LoadRun(RunOptions(scenario, commands=commands()), ui)
    result = await judged(course, scenario)
    assert (result.verdict, "SIGKILL" in result.reasons[0]) == ("FAIL", True)


async def test_a_foreign_server_that_dies_mid_run_fails_and_says_so(node: Node) -> None:
    ui = Once(lambda: os.kill(node.pid, signal.SIGKILL))
    result = await run(RunOptions(small("demo", clients=6), url=node.url), ui)
    assert (result.verdict, "could not be reached" in result.reasons[0]) == ("FAIL", True)


async def test_ctrl_c_ends_the_run_with_a_partial_result(node: Node) -> None:
    ui = Once(lambda: os.kill(os.getpid(), signal.SIGINT))
    result = await run(RunOptions(small("demo", clients=6, duration_s=30), url=node.url), ui)
    assert (result.verdict, result.exit_code) == ("INTERRUPTED", 130)
    assert result.publishes.accepted > 0


async def test_nothing_listening_is_a_failed_set_up() -> None:
    with pytest.raises(SetupError, match="cannot connect"):
        await run(RunOptions(small("demo"), url=f"http://127.0.0.1:{free_port()}"), Silent())


async def test_a_server_that_cannot_start_is_a_failed_set_up() -> None:
    broken = Commands([sys.executable, "-c", "import sys; sys.exit('no such port')"])
    with pytest.raises(SetupError, match="status 1 before it was ready"):
        await run(RunOptions(small("demo"), commands=broken), Silent())


async def test_a_seeding_that_fails_is_a_failed_set_up() -> None:
    broken = Commands(["true"], [sys.executable, "-c", "import sys; sys.exit('disk full')"])
    with pytest.raises(SetupError, match="Seeding failed with status 1: disk full"):
        await run(RunOptions(small("demo"), commands=broken), Silent())


async def test_tokens_of_another_server_are_refused_in_one_sentence(node: Node, tmp_path: Path) -> None:
    tokens = tmp_path / "tokens.jsonl"
    tokens.write_text('{"user_id": "u", "username": "u", "token": "x"}\n' * 24)
    with pytest.raises(SetupError, match="does not accept the tokens"):
        await run(RunOptions(small("demo"), url=node.url, tokens_file=tokens), Silent())


async def test_too_few_tokens_are_told(node: Node, tmp_path: Path) -> None:
    tokens = tmp_path / "tokens.jsonl"
    tokens.write_text('{"user_id": "u", "username": "u", "token": "x"}\n')
    with pytest.raises(SetupError, match="holds 1 users with a token, the scenario needs 24"):
        await run(RunOptions(small("demo"), url=node.url, tokens_file=tokens), Silent())
