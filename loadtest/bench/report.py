"""The result of a run as JSON and as Markdown tables. Pure."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from .plan import Plan
from .series import Series
from .targets import headline_metrics, targets

SCHEMA_VERSION = 1
_TITLES = {
    "fanout": "fan-out, {} sockets, us per message",
    "burst": "burst, {} sockets, us per message",
    "connect": "connect, {} there already, us each",
    "idle_rss": "idle socket, KiB resident",
    "idle_private": "idle socket, KiB private",
    "bus": "bus, {} nodes, ms for what is not for this node",
}


@dataclass(frozen=True, slots=True)
class Run:
    """Everything about a finished run."""

    plan: Plan
    series: Series
    absent: Mapping[str, str]
    versions: Mapping[str, Mapping[str, str]]
    host: Mapping[str, Any]


def document(run: Run) -> dict[str, Any]:
    """The JSON document: headlines by metric and contestant, then everything they come from."""
    series, wanted = run.series, targets(run.plan)
    headlines = {
        name: _rounded(series.medians(metric)) for name, metric in headline_metrics(run.plan).items()
    }
    return {
        "schema_version": SCHEMA_VERSION,
        **headlines,
        "bus": _by_nodes(series),
        "ratios": {
            target.name: round(figure, 3)
            for target in wanted
            if (figure := target.measure(series)) is not None
        },
        "targets": {target.name: target.wanted for target in wanted},
        "details": {
            metric: {name: series.spread(metric, name) for name in series.contestants()}
            for metric in series.metrics()
        },
        "invalid": [asdict(sample) for sample in series.invalid()],
        "absent": dict(run.absent),
        "plan": {**asdict(run.plan), "only": sorted(run.plan.only)},
        "versions": {name: dict(found) for name, found in run.versions.items()},
        "host": dict(run.host),
    }


def _by_nodes(series: Series) -> dict[str, dict[str, float]]:
    """Contestant -> number of nodes -> CPU ms."""
    found: dict[str, dict[str, float]] = {}
    for metric in series.metrics():
        name, _, nodes = metric.partition("@")
        if name == "bus":
            for contestant, value in _rounded(series.medians(metric)).items():
                found.setdefault(contestant, {})[nodes] = value
    return found


def _rounded(figures: Mapping[str, float]) -> dict[str, float]:
    return {name: round(value, 3) for name, value in figures.items()}


def markdown(run: Run) -> str:
    """The tables for a terminal or a document."""
    names = run.series.contestants()
    lines = [
        f"Median of {run.plan.repetitions} alternating repetitions (in brackets: smallest to largest).",
        "",
        "| server CPU | " + " | ".join(names) + " |",
        "|---|" + "---:|" * len(names),
    ]
    for metric in run.series.metrics():
        cells = [_cell(run.series, metric, name) for name in names]
        lines.append(f"| {_title(metric)} | " + " | ".join(cells) + " |")
    lines += ["", "| target | wanted | measured | |", "|---|---:|---:|---|"]
    for target in targets(run.plan):
        figure = target.measure(run.series)
        if figure is not None:
            met = "met" if target.met(figure) else "missed"
            lines.append(f"| {target.title} | {target.wanted} | {figure:.2f} | {met} |")
    lines += [f"\nNot measured: {name}: {reason}." for name, reason in run.absent.items()]
    lines += [
        f"\nInvalid: {sample.metric} of {sample.contestant}: {sample.reason}."
        for sample in run.series.invalid()
    ]
    return "\n".join(lines)


def _title(metric: str) -> str:
    name, _, size = metric.partition("@")
    return _TITLES.get(name, name).format(f"{int(size):,}" if size.isdigit() else size)


def _cell(series: Series, metric: str, name: str) -> str:
    values = series.values(metric, name)
    if not values:
        return ""
    digits = 0 if metric.startswith("connect") else 2
    return f"{series.median(metric, name):.{digits}f} ({min(values):.{digits}f}-{max(values):.{digits}f})"
