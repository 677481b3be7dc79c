"""Which metrics there are, and what the boards and rules make of them.

Names come from the code that serves them, never from a list kept by hand: a metric that is renamed there is
unknown here at once. What is served and not shown needs a reason below. Pure but for reading the rule files.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from backend.app import __version__
from backend.app.aggregate import GroupFacts, group_page
from backend.app.observability.metrics import Metrics
from loadtest import metrics
from simulator.report import prometheus

from .boards import BOARDS
from .model import Board
from .promql import families_of, metrics_of

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
    "supervisor_workers": "the alert looks at those that do not answer",
}
"""Metric -> why no board and no rule uses it."""


@dataclass(frozen=True, slots=True)
class Use:
    """One query and where it is: a panel, a mark or a rule."""

    where: str
    expr: str


def node_series() -> set[str]:
    """What a node serves, one worker or many."""
    registry = Metrics(__version__, "vocabulary").registry
    served = {
        f"{family.name}{suffix}"
        for family in registry.collect()
        for suffix in SUFFIXES.get(family.type, ("",))
    }
    return served | _series_of_text(group_page(GroupFacts(), 0, 0))


def _series_of_text(page: str) -> set[str]:
    return {line.split("{")[0].split(" ")[0] for line in page.splitlines() if not line.startswith("#")}


def recorded_series(rules: Path = RULES) -> set[str]:
    """What the recording rules make."""
    return {rule["record"] for rule in _rules(rules) if "record" in rule}


def known_series(rules: Path = RULES) -> set[str]:
    """Every series that a query may read."""
    return (
        node_series() | set(prometheus.SERIES) | set(metrics.SERIES) | recorded_series(rules) | OF_PROMETHEUS
    )


def alerts(rules: Path = RULES) -> list[dict[str, Any]]:
    """The alert rules as they are written."""
    return [rule for rule in _rules(rules) if "alert" in rule]


def _rules(directory: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for path in sorted(directory.glob("*.yml")):
        for group in yaml.safe_load(path.read_text(encoding="utf-8"))["groups"]:
            found += group["rules"]
    return found


def uses(boards: Iterable[Board] = BOARDS, rules: Path = RULES) -> list[Use]:
    """Every query there is."""
    found: list[Use] = []
    for board in boards:
        found += [Use(f"{board.title}: {p.title}", query.expr) for p in board.panels for query in p.queries]
        found += [Use(f"{board.title}: mark {mark.name}", mark.expr) for mark in board.marks]
    found += [Use(f"rule {rule.get('alert') or rule['record']}", rule["expr"]) for rule in _rules(rules)]
    return found


def unknown(found: Iterable[Use], known: set[str]) -> list[tuple[Use, str]]:
    """Queries that read a series which nobody serves, with its name."""
    return [(use, name) for use in found for name in sorted(metrics_of(use.expr) - known)]


def unused(found: Iterable[Use], served: set[str]) -> list[str]:
    """Metrics that are served, that no query reads, and that have no reason for it."""
    read = families_of(name for use in found for name in metrics_of(use.expr))
    return sorted(families_of(served) - read - families_of(NOT_SHOWN))
