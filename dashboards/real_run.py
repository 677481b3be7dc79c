"""A real run to look at: two nodes with Redis and MongoDB, a simulator and Locust on them, all of it scraped.

What the check and the pictures are made from. Everything it starts it stops. Blocks.
"""

import contextlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loadtest.locust_command import LoadtestOptions, command
from simulator.errors import InterruptedRunError, SimulatorError
from simulator.progress import Ui, Watchers
from simulator.report.prometheus import MetricsPage
from simulator.run.runner import RunOptions, run_scenario
from simulator.scenario.loader import Scenario, build

from .processes import running
from .prometheus_server import Prometheus, free_port

START_TIMEOUT_S = 90.0
STOP_TIMEOUT_S = 30.0
USERS = 80
LOCUST_USERS = 30
CLIENTS = 50
INTERVAL_S = 1.0


class RunError(Exception):
    """The run could not be made; says why."""


@dataclass(frozen=True, slots=True)
class Window:
    """What to look at: Prometheus and a stretch of time in epoch seconds, the end of the load in it."""

    prometheus: Prometheus
    start_s: float
    load_end_s: float
    end_s: float


@contextlib.contextmanager
def real_run(seconds: float, ui: Ui) -> Iterator[Window]:
    """Run for so long, then hand over the window. Raises RunError, MissingPrometheusError, SimulatorError."""
    with contextlib.ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="vouchstorm-watch-")))
        stack_facts = stack.enter_context(_stack(home))
        nodes = [node["url"].removeprefix("http://") for node in stack_facts["nodes"]]
        scenario = _scenario(seconds)
        page = stack.enter_context(MetricsPage(scenario))
        locust_port = free_port()
        targets = {
            "nodes": nodes,
            "simulator": [f"127.0.0.1:{page.port}"],
            "locust": [f"127.0.0.1:{locust_port}"],
        }
        prometheus = stack.enter_context(Prometheus(home / "prometheus", targets, interval_s=INTERVAL_S))
        prometheus.wait_scraped()  # before there is anything to count
        start_s = time.time()
        with _locust(home, str(stack_facts["url"]), locust_port, seconds):
            _simulate(home, str(stack_facts["url"]), scenario, Watchers(page, ui))
            prometheus.wait_scraped()
        yield Window(prometheus, start_s, start_s + seconds, time.time())


@contextlib.contextmanager
def _stack(home: Path) -> Iterator[dict[str, Any]]:
    """`vouchstorm up` with two nodes; its ready line."""
    words = [sys.executable, "-m", "cli", "up", "--stack", "full", "--nodes", "2", "--port", "0"]
    words += ["--data-dir", str(home / "stack"), "--seed-users", str(USERS), "--seed-claims", "20"]
    words += ["--seed-quorum", "6", "--tokens", str(home / "tokens"), "--claims-file", str(home / "claims")]
    with (
        (home / "up.log").open("wb") as log,
        running(words, log, STOP_TIMEOUT_S, stdout=subprocess.PIPE) as up,
    ):
        line = up.stdout.readline() if up.stdout is not None else b""
        try:
            facts = json.loads(line)
        except ValueError as error:
            raise RunError(f"The stack did not start: {(home / 'up.log').read_text()[-600:]}") from error
        yield facts


@contextlib.contextmanager
def _locust(home: Path, url: str, port: int, seconds: float) -> Iterator[None]:
    """A small load test beside the simulator, for as long as the block lasts."""
    options = LoadtestOptions(
        users=LOCUST_USERS,
        duration_s=seconds,
        think_s=0.8,
        drop_every_s=4.0,
        metrics_port=port,
        extra=("--only-summary",),
    )
    words = command(options, url, home / "tokens", home / "locust.json")
    with (home / "locust.log").open("wb") as log, running(words, log, STOP_TIMEOUT_S):
        yield


def _scenario(seconds: float) -> Scenario:
    return build(
        {
            "name": "watching",
            "clients": CLIENTS,
            "duration_s": seconds,
            "claims": {"quorum": 6},
            "publish": {"rate_per_s": 8},
            "faults": [{"kind": "drop", "at_share": 0.4, "fraction": 0.5, "away_s": [1.0, 3.0]}],
        }
    )


def _simulate(home: Path, url: str, scenario: Scenario, ui: Ui) -> None:
    options = RunOptions(scenario, url=url, tokens_file=home / "tokens", claims_file=home / "claims")
    try:
        result = run_scenario(options, ui)
    except InterruptedRunError:
        raise KeyboardInterrupt from None
    except SimulatorError as error:
        raise RunError(f"The simulator could not run: {error}") from error
    if result.verdict == "INTERRUPTED":
        raise KeyboardInterrupt
