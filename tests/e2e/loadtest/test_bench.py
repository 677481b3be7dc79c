"""The benchmark as it is called: a small run leaves its files, an interrupted one what it has so far."""

import json
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from simulator.host import family
from simulator.processes import DEVNULL, Child, Program
from tests.support.waiting import wait_until

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[3]
SMALL = ["--only", "fanout,connect", "--sizes", "50", "--contestants", "ours,floor"]
DEADLINE_S = 120.0


def start(*arguments: str) -> Child:
    words = [sys.executable, "-m", "loadtest.bench", *arguments]
    return Program(words, cwd=ROOT, stdout=DEVNULL, stderr=DEVNULL).start()


@pytest.fixture(scope="module")
def small_run(tmp_path_factory: pytest.TempPathFactory) -> Any:
    path = tmp_path_factory.mktemp("bench") / "bench.json"
    process = start(*SMALL, "--repetitions", "1", "--json", str(path))
    assert process.wait(DEADLINE_S) == 0
    return json.loads(path.read_text())


@pytest.mark.parametrize("metric", ["fanout@50", "connect@50"])
def test_both_contestants_have_a_figure(small_run: dict[str, Any], metric: str) -> None:
    found = small_run["details"].get(metric, {})
    assert {name: spread["n"] for name, spread in found.items()} == {"ours": 1, "floor": 1}


def test_the_command_stands_beside_the_figure(small_run: dict[str, Any]) -> None:
    assert "--sizes 50" in small_run["sources"]["fanout@50"]["command"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_keeps_what_it_has_and_leaves_no_children(
    tmp_path: Path, number: signal.Signals
) -> None:
    path = tmp_path / "bench.json"
    process = start(*SMALL, "--repetitions", "100", "--json", str(path))
    try:
        wait_until(
            lambda: path.exists() and len(family(process.pid)) > 1, "a trial and the next one", DEADLINE_S
        )
        children = family(process.pid)[1:]
        process.send(number)
        assert process.wait(DEADLINE_S) == 130
    finally:
        process.kill()
    assert json.loads(path.read_text())["sources"]["fanout@50"]["stopped"] == "interrupted"
    wait_until(lambda: not any(child.is_running() for child in children), "the children are gone", DEADLINE_S)
