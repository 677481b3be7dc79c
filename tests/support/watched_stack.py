"""Two nodes under a real Prometheus whose rules run twenty times as fast: for tests of alerts."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from dashboards.prometheus_server import MissingPrometheusError, Prometheus, find_program
from loadtest.run import LoadtestOptions, command
from tests.support.backend.node import ROOT, Node
from tests.support.services import Valkey, running_valkey

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


def until(condition: Callable[[], bool], what: str, deadline_s: float = DEADLINE_S) -> None:
    end_s = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < end_s, f"not within {deadline_s} s: {what}"
        time.sleep(0.1)


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
            until(all_seen, ", ".join(alerts), deadline_s)
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


def load(node: Node, home: Path, seconds: int) -> "subprocess.Popen[bytes]":
    """A small load test against one node, users registered on the way."""
    options = LoadtestOptions(users=20, duration_s=seconds, think_s=0.3, extra=("--only-summary",))
    return program(home / "locust.log", command(options, node.url, None, home / "locust.json")[1:])


def program(log: Path, words: list[str]) -> "subprocess.Popen[bytes]":
    """Python with our modules; what it says goes to `log`."""
    with log.open("wb") as file:
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        return subprocess.Popen([sys.executable, *words], cwd=ROOT, stdout=file, stderr=file, env=environment)


@contextmanager
def running(log: Path, words: list[str]) -> Iterator["subprocess.Popen[bytes]"]:
    """The same, killed at the end."""
    process = program(log, words)
    try:
        yield process
    finally:
        process.kill()
        process.wait()
