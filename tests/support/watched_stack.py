"""Two nodes under a real Prometheus whose rules run twenty times as fast: for tests of alerts."""

import os
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from dashboards.prometheus_server import MissingPrometheusError, Prometheus, find_program
from loadtest.run import LoadtestOptions, command
from simulator.processes import Child, Program
from tests.support.backend.node import ROOT, Node
from tests.support.services import Valkey, running_valkey
from tests.support.waiting import wait_until

DEADLINE_S = 40.0
FASTER = 20
"""How much faster time runs in the rules of these tests: an hour is three minutes."""
INTERVAL_S = 1.0


def need_prometheus(*programs: str) -> None:
    """Skip where it, or one of its programs, is missing; in CI that is a failure."""
    try:
        for program in programs or ("prometheus",):
            find_program(program)
    except MissingPrometheusError as error:
        if os.environ.get("CI") == "true":
            pytest.fail(str(error))
        pytest.skip(str(error))


def hasten(text: str) -> str:
    """Rules with all durations shortened; a second stays a second at least."""

    def shorter(found: re.Match[str]) -> str:
        seconds = int(found[2]) * {"s": 1, "m": 60, "h": 3600}[found[3]] / FASTER
        return f"{found[1]}{max(1000, round(seconds * 1000))}ms"

    return re.sub(r"(\[|for: )(\d+)([smh])", shorter, text)


@dataclass(frozen=True)
class Stack:
    nodes: list[Node]
    valkey: Valkey
    prometheus: Prometheus

    def fires(self, alert: str) -> bool:
        return alert in self.prometheus.firing()

    def must_fire(self, *alerts: str, deadline_s: float = DEADLINE_S) -> None:
        """Wait until each of them has fired."""
        missing = set(alerts)

        def all_seen() -> bool:
            missing.difference_update(self.prometheus.firing())
            return not missing

        try:
            wait_until(all_seen, ", ".join(alerts), deadline_s)
        except AssertionError as error:
            raise AssertionError(f"{error}; never fired: {missing}") from error


@contextmanager
def hasty_prometheus(home: Path, targets: list[str]) -> Iterator[Prometheus]:
    """Scrapes every INTERVAL_S, which is its patience as well."""
    server = Prometheus(home, {"nodes": targets}, interval_s=INTERVAL_S)
    for path in (home / "rules").glob("*.yml"):
        path.write_text(hasten(path.read_text()))
    with server:
        yield server


@contextmanager
def watched_stack(home: Path, store_url: str | None = None, **settings: object) -> Iterator[Stack]:
    """Two nodes on one store (None: SQLite) and one bus."""
    data_dir = home / "data"
    with ExitStack() as stack:
        valkey = stack.enter_context(running_valkey())
        shared: Mapping[str, object] = {
            "bus_url": valkey.url(),
            "store_url": store_url or f"sqlite:///{data_dir / 'shared.db'}",
            "slow_abort_s": 60,
            **settings,
        }
        nodes = [stack.enter_context(Node(data_dir / name, node=name, **shared)) for name in ("a", "b")]
        targets = [node.url.removeprefix("http://") for node in nodes]
        prometheus = stack.enter_context(hasty_prometheus(home / "prometheus", targets))
        yield Stack(nodes, valkey, prometheus)


def load(node: Node, home: Path, seconds: int) -> AbstractContextManager[Child]:
    """A small load test against one node, users registered on the way, killed at the end of the block."""
    options = LoadtestOptions(users=20, duration_s=seconds, think_s=0.3, extra=("--only-summary",))
    words = command(options, node.url, None, home / "locust.json")[1:]
    return python(home / "locust.log", words).running(grace_s=0)


def python(log: Path, words: list[str]) -> Program:
    """Python with our modules; what it says goes to `log`."""
    return Program([sys.executable, *words], cwd=ROOT, env={"PYTHONPATH": str(ROOT)}, log=log)
