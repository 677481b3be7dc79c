"""Do the dashboards show the truth? A real Prometheus scrapes a real run, and every query is asked.

    python -m dashboards.check                       exit 0 green, 1 red, 3 something needed is missing
    python -m dashboards.check --names               only names: no run, at once
    python -m dashboards.check --pictures docs/images

Red is: a panel without data, a query that Prometheus refuses, a metric that nobody serves, a metric that is
served and neither shown nor excused.
"""

import argparse
import math
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from loadtest import metrics
from simulator import interrupts
from simulator.progress import Silent, Ui
from simulator.report import prometheus

from .boards import BOARDS
from .model import Board, Panel, Query
from .picture import Curve, render
from .prometheus_server import MissingPrometheusError, PrometheusError, Series
from .promql import resolved
from .real_run import RunError, Window, real_run
from .vocabulary import known_series, node_series, unknown, unused, uses

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


def ask_all(window: Window, boards: Iterable[Board] = BOARDS) -> list[Answer]:
    """Every query of every panel over the window."""
    return [
        _ask(window, board, panel, query)
        for board in boards
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
    served = node_series() | set(prometheus.SERIES) | set(metrics.SERIES)
    found = uses()
    troubles = [f"{use.where}: nobody serves {name}" for use, name in unknown(found, known_series())]
    troubles += [
        f"{name} is served and not shown: use it, or say why not in dashboards/vocabulary.py"
        for name in unused(found, served)
    ]
    return troubles


def data_troubles(answers: Iterable[Answer]) -> list[str]:
    """Panels that did not show anything, one sentence each."""
    return [
        f"{answer.board.title}: {answer.panel.title}: {answer.trouble}: {answer.query.expr}"
        for answer in answers
        if answer.trouble
    ]


def draw(answers: Sequence[Answer], boards: Iterable[Board], directory: Path, until_s: float) -> list[Path]:
    """One picture per board, as its panels would show this run until then."""
    directory.mkdir(parents=True, exist_ok=True)
    written: list[Path] = []
    for board in boards:
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
            for path in draw(answers, BOARDS, options.pictures, window.load_end_s):
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
