"""`vouchstorm up --observe`: it comes up, everything is scraped, Ctrl-C leaves nothing behind."""

import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from dashboards.observe import ports
from simulator.processes import DEVNULL, PIPE, Child, Program
from tests.support.backend.node import ROOT
from tests.support.waiting import wait_until
from tests.support.watched_stack import need_prometheus

DEADLINE_S = 60.0


@pytest.fixture(scope="module", autouse=True)
def _prometheus() -> None:
    need_prometheus()


def command(data_dir: Path, *words: str) -> list[str]:
    place = ["--stack", "embedded", "--port", "0", "--data-dir", str(data_dir)]
    return [sys.executable, "cli.py", "up", *place, *words]


def processes_of(data_dir: Path) -> list[str]:
    """Command lines that name the data directory."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if str(data_dir) in words:
            found.append(words)
    return found


@dataclass(frozen=True)
class Observed:
    process: Child
    facts: dict[str, Any]
    data_dir: Path

    def ask(self, path: str) -> Any:
        url = f"{self.facts['observe']['prometheus']}/api/v1/{path}"
        with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310 - our own URL
            return json.load(answer)["data"]

    def up(self) -> set[str]:
        """Jobs of which a target answers."""
        targets = self.ask("targets?state=active")["activeTargets"]
        return {target["labels"]["job"] for target in targets if target["health"] == "up"}

    def has_data(self, expression: str) -> bool:
        return bool(self.ask(f"query?query={expression}")["result"])


@pytest.fixture(scope="module")
def observed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Observed]:
    data_dir = tmp_path_factory.mktemp("observed") / "data"
    program = Program(command(data_dir, "--observe"), cwd=ROOT, log=data_dir.with_name("log"), stdout=PIPE)
    with program.running(DEADLINE_S) as child:
        yield Observed(child, child.facts(), data_dir)


def test_nodes_and_simulator_are_scraped(observed: Observed) -> None:
    wait_until(lambda: {"vouchstorm", "simulator"} <= observed.up(), "targets up", DEADLINE_S)


def test_the_simulator_makes_something_to_look_at(observed: Observed) -> None:
    wait_until(lambda: observed.has_data("websocket_connected_users>0"), "users on the node", DEADLINE_S)


def test_the_rules_are_loaded(observed: Observed) -> None:
    names = {rule["name"] for group in observed.ask("rules")["groups"] for rule in group["rules"]}
    assert "NodeDown" in names


@pytest.mark.parametrize("name", ["prometheus", "alerts", "simulator_metrics"])
def test_the_printed_addresses_answer(observed: Observed, name: str) -> None:
    def answers() -> bool:
        with suppress(OSError), urllib.request.urlopen(observed.facts["observe"][name], timeout=10) as page:  # noqa: S310
            return bool(page.status == 200)
        return False

    wait_until(answers, name, DEADLINE_S)


def test_ctrl_c_ends_everything(observed: Observed) -> None:
    """Last in this module: nothing is observed afterwards."""
    assert processes_of(observed.data_dir)
    observed.process.send(signal.SIGINT)
    assert observed.process.wait(DEADLINE_S) == 130
    wait_until(lambda: processes_of(observed.data_dir) == [], "the end of all processes", DEADLINE_S)


def test_it_comes_up_again_on_the_same_data(observed: Observed) -> None:
    """After the one above: the users that it seeded are still there."""
    program = Program(command(observed.data_dir, "--observe"), cwd=ROOT, stdout=PIPE, stderr=DEVNULL)
    with program.running(DEADLINE_S) as child:
        facts = child.facts()
        child.send(signal.SIGINT)
        assert ("observe" in facts, child.wait(DEADLINE_S)) == (True, 130)


def test_without_prometheus_it_is_one_sentence_and_nothing_runs(tmp_path: Path) -> None:
    done = subprocess.run(
        command(tmp_path, "--observe"),
        cwd=ROOT,
        env={**os.environ, "PATH": "/nowhere"},
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    assert done.returncode == 3
    assert "apt-get install prometheus" in done.stderr
    assert processes_of(tmp_path) == []


def test_an_observer_that_is_left_behind_is_refused(tmp_path: Path) -> None:
    done = subprocess.run(
        command(tmp_path, "--observe", "--detach"),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    assert done.returncode == 2


def test_ports_belong_to_the_public_one() -> None:
    assert ports(8000) == (8090, 8091, 8092)


def test_free_ports_differ() -> None:
    assert len(set(ports(0))) == 3
