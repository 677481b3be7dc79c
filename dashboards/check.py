"""Do the dashboards show the truth? A real Prometheus scrapes a real run, and every query is asked.

    python -m dashboards.check                       exit 0 green, 1 red, 3 something needed is missing
    python -m dashboards.check --names               only names: no run, at once
    python -m dashboards.check --pictures docs/images

The run: two nodes with Redis and MongoDB, a simulator and Locust on them, all of it scraped; what is started
is stopped. Names come from the code that serves them, never from a list kept by hand: a metric that is
renamed there is unknown here at once.

Red is: a panel without data, a query that Prometheus refuses, a metric that nobody serves, a metric that is
served and neither shown nor excused.
"""

import argparse
import contextlib
import math
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from backend.app import __version__
from backend.app.observability.metrics import Metrics
from loadtest import exporter
from loadtest.run import LoadtestOptions, command
from simulator import interrupts
from simulator.errors import InterruptedRunError, SimulatorError
from simulator.processes import PIPE, ProcessError, Program, free_port
from simulator.progress import Silent, Ui, Watchers
from simulator.report import prometheus
from simulator.report.prometheus import MetricsPage
from simulator.run.runner import RunOptions, run_scenario
from simulator.scenario.loader import build
from simulator.scenario.models import Scenario

from .boards import BOARDS
from .model import Board, Panel, Query
from .picture import Curve, render
from .prometheus_server import MissingPrometheusError, Prometheus, PrometheusError, Series
from .promql import families_of, metrics_of, resolved

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
    with Program(words, log=home / "up.log", stdout=PIPE).running(STOP_TIMEOUT_S) as up:
        try:
            facts = up.facts(START_TIMEOUT_S)
        except ProcessError as error:
            raise RunError(f"The stack did not start: {error}") from error
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
    with Program(words, log=home / "locust.log").running(STOP_TIMEOUT_S):
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
    options = RunOptions(scenario, url=url, tokens_file=home / "tokens", rooms_file=home / "claims")
    try:
        result = run_scenario(options, ui)
    except InterruptedRunError:
        raise KeyboardInterrupt from None
    except SimulatorError as error:
        raise RunError(f"The simulator could not run: {error}") from error
    if result.verdict == "INTERRUPTED":
        raise KeyboardInterrupt


RULES = Path(__file__).with_name("rules")
OF_PROMETHEUS = frozenset(("up", "scrape_duration_seconds"))
"""Made by Prometheus for every target."""

SUFFIXES: Mapping[str, tuple[str, ...]] = {
    "counter": ("_total",),
    "histogram": ("_bucket", "_sum", "_count"),
    "gauge": ("",),
}

NOT_SHOWN: Mapping[str, str] = {
    "process_virtual_memory_bytes": "resident memory says what matters",
    "python_info": "the interpreter's version; vouchstorm_build_info is shown",
    "python_gc_objects_collected_total": "for debugging memory, by hand",
    "python_gc_objects_uncollectable_total": "for debugging memory, by hand",
    "python_gc_collections_total": "for debugging pauses, by hand; event loop lag shows their effect",
    "simulator_run_info": "names the run of the other series, for joins by hand",
}
"""Metric -> why no board and no rule uses it."""


@dataclass(frozen=True, slots=True)
class Use:
    """One query and where it is: a panel, a mark or a rule."""

    where: str
    expr: str


def node_series() -> set[str]:
    """What a node serves."""
    registry = Metrics(__version__, "vocabulary").registry
    return {
        f"{family.name}{suffix}"
        for family in registry.collect()
        for suffix in SUFFIXES.get(family.type, ("",))
    }


def recorded_series() -> set[str]:
    """What the recording rules make."""
    return {rule["record"] for rule in _rules() if "record" in rule}


def known_series() -> set[str]:
    """Every series that a query may read."""
    return served_series() | recorded_series() | OF_PROMETHEUS


def served_series() -> set[str]:
    """What nodes, simulator and Locust serve."""
    return node_series() | set(prometheus.SERIES) | set(exporter.SERIES)


def alerts() -> list[dict[str, Any]]:
    """The alert rules as they are written."""
    return [rule for rule in _rules() if "alert" in rule]


def _rules() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for path in sorted(RULES.glob("*.yml")):
        for group in yaml.safe_load(path.read_text(encoding="utf-8"))["groups"]:
            found += group["rules"]
    return found


def uses() -> list[Use]:
    """Every query there is."""
    found: list[Use] = []
    for board in BOARDS:
        found += [Use(f"{board.title}: {p.title}", query.expr) for p in board.panels for query in p.queries]
        found += [Use(f"{board.title}: mark {mark.name}", mark.expr) for mark in board.marks]
    found += [Use(f"rule {rule.get('alert') or rule['record']}", rule["expr"]) for rule in _rules()]
    return found


def unknown(found: Iterable[Use], known: set[str]) -> list[tuple[Use, str]]:
    """Queries that read a series which nobody serves, with its name."""
    return [(use, name) for use in found for name in sorted(metrics_of(use.expr) - known)]


def unused(found: Iterable[Use], served: set[str]) -> list[str]:
    """Metrics that are served, that no query reads, and that have no reason for it."""
    read = families_of(name for use in found for name in metrics_of(use.expr))
    return sorted(families_of(served) - read - families_of(NOT_SHOWN))


SECONDS = 25.0
STEP_S = 1.0
RATE_WINDOW = "10s"
EXIT_GREEN, EXIT_RED, EXIT_MISSING = 0, 1, 3


@dataclass(frozen=True, slots=True)
class Answer:
    """What one query of a panel gave. trouble: empty when there was data."""

    board: Board
    panel: Panel
    query: Query
    series: Sequence[Series]
    trouble: str = ""


def ask_all(window: Window) -> list[Answer]:
    """Every query of every panel over the window."""
    return [
        _ask(window, board, panel, query)
        for board in BOARDS
        for panel in board.panels
        for query in panel.queries
    ]


def _ask(window: Window, board: Board, panel: Panel, query: Query) -> Answer:
    expr = resolved(query.expr, window=RATE_WINDOW)
    try:
        series = window.prometheus.query_range(expr, window.start_s, window.end_s, STEP_S)
    except PrometheusError as error:
        return Answer(board, panel, query, (), f"refused: {error}")
    return Answer(board, panel, query, series, "" if any(map(_has_data, series)) else "no data")


def _has_data(series: Series) -> bool:
    return any(not math.isnan(float(value)) for _, value in series["values"])


def name_troubles() -> list[str]:
    """What is wrong with the names alone, one sentence each."""
    found = uses()
    troubles = [f"{use.where}: nobody serves {name}" for use, name in unknown(found, known_series())]
    troubles += [
        f"{name} is served and not shown: use it, or say why not in dashboards/check.py"
        for name in unused(found, served_series())
    ]
    return troubles


def data_troubles(answers: Iterable[Answer]) -> list[str]:
    """Panels that did not show anything, one sentence each."""
    return [
        f"{answer.board.title}: {answer.panel.title}: {answer.trouble}: {answer.query.expr}"
        for answer in answers
        if answer.trouble
    ]


def draw(answers: Sequence[Answer], directory: Path, until_s: float) -> list[Path]:
    """One picture per board, as its panels would show this run until then."""
    directory.mkdir(parents=True, exist_ok=True)
    written: list[Path] = []
    for board in BOARDS:
        curves: dict[str, list[Curve]] = {}
        for answer in answers:
            if answer.board is board:
                curves.setdefault(answer.panel.title, []).extend(
                    Curve.of(answer.query, series).until(until_s) for series in answer.series
                )
        path = directory / f"{board.uid.removeprefix('vouchstorm-')}.svg"
        path.write_text(render(board, curves), encoding="utf-8")
        written.append(path)
    return written


class _Stderr(Silent):
    """Says which phase of the run it is."""

    def phase(self, name: str) -> None:
        print(f"simulator: {name}", file=sys.stderr)  # noqa: T201


def main(arguments: Sequence[str] | None = None, ui: Ui | None = None) -> int:
    """Check; the exit code."""
    options = _options(arguments)
    troubles = name_troubles()
    if not options.names:
        try:
            with interrupts.cleaning_up(), real_run(options.seconds, ui or _Stderr()) as window:
                answers = ask_all(window)
        except (MissingPrometheusError, RunError, PrometheusError) as error:
            print(f"dashboards: {error}", file=sys.stderr)  # noqa: T201
            return EXIT_MISSING
        troubles += data_troubles(answers)
        if options.pictures is not None:
            for path in draw(answers, options.pictures, window.load_end_s):
                print(f"drew {path}", file=sys.stderr)  # noqa: T201
    for trouble in troubles:
        print(trouble)  # noqa: T201
    panels = sum(1 for board in BOARDS for _ in board.panels)
    print(f"{panels} panels, {len(uses())} queries: {'red' if troubles else 'green'}", file=sys.stderr)  # noqa: T201
    return EXIT_RED if troubles else EXIT_GREEN


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="dashboards.check", description="Do the dashboards show the truth?")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="How long the real run lasts.")
    parser.add_argument("--names", action="store_true", help="Check names only, without a run.")
    parser.add_argument(
        "--pictures", type=Path, default=None, help="Draw the boards of the run here, as SVG."
    )
    return parser.parse_args(arguments)


if __name__ == "__main__":
    interrupts.program(main, "dashboards")
