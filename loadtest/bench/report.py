"""The result of one or several runs as JSON and as Markdown tables, and JSON read back. Pure."""

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from .plan import (
    CONTESTANTS,
    EVERYBODY,
    GENERATORS,
    HEADLINE_SIZE,
    HEADLINES,
    METRICS,
    PUSHES_PER_S,
)
from .samples import Sample, Series
from .thresholds import TARGETS, headline_metrics, sizes_of

SCHEMA_VERSION = 3
_TITLES = {
    "fanout": "fan-out, {} sockets, us per message",
    "burst": "burst, {} sockets, us per message",
    "connect": "connect, {} there already, us each",
    "idle_rss": "idle socket of {}, KiB resident",
    "idle_private": "idle socket of {}, KiB private",
    "bus": "bus, {} nodes, ms for what is not for this node",
    "metrics_on": "fan-out, {} sockets, metrics on, us per message",
    "metrics_off": "fan-out, {} sockets, metrics off, us per message",
    "scrape": "one scrape, {} sockets, ms",
}


@dataclass(frozen=True, slots=True)
class Source:
    """One run of the program. stopped: why it ended early, None when it did not."""

    command: str
    commit: str
    started_at: str
    plan: str
    repetitions: int
    load_average: tuple[float, ...] = ()
    stopped: str | None = None


@dataclass(slots=True)
class Report:
    """Everything measured, and which run each metric is from."""

    series: Series = field(default_factory=Series)
    sources: dict[str, Source] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)
    versions: dict[str, dict[str, str]] = field(default_factory=dict)
    host: dict[str, Any] = field(default_factory=dict)

    def with_run(self, series: Series, source: Source) -> "Report":
        """This report with another run in it; what that run measured takes the place of what was there."""
        measured = series.metrics()
        kept = [sample for sample in self.series.samples if sample.metric not in measured]
        sources = {metric: known for metric, known in self.sources.items() if metric not in measured}
        return Report(
            Series(kept + series.samples),
            sources | dict.fromkeys(measured, source),
            self.absent,
            self.versions,
            self.host,
        )


def document(report: Report) -> dict[str, Any]:
    """The JSON document: headlines by metric and contestant, then everything they come from."""
    series = report.series
    headlines = {
        name: _rounded({who: us for who, us in series.medians(metric).items() if who in HEADLINES})
        for name, metric in headline_metrics(series).items()
    }
    figures = {target.name: target.measure(series) for target in TARGETS}
    return {
        "schema_version": SCHEMA_VERSION,
        **headlines,
        "bus": _by_nodes(series),
        "ratios": {name: round(figure, 3) for name, figure in figures.items() if figure is not None},
        "targets": {target.name: target.wanted for target in TARGETS},
        "clients": {
            name: _rounded(series.medians(f"generators_{aspect}@{HEADLINE_SIZE}"))
            for aspect, name in (("cpu", "cpu_us_per_message"), ("kib", "kib_per_connection"))
        },
        "details": {
            metric: {name: spread for name in EVERYBODY if (spread := series.spread(metric, name))}
            for metric in ordered(series.metrics())
        },
        "invalid": [asdict(sample) for sample in series.invalid()],
        "absent": report.absent,
        "sources": {metric: asdict(source) for metric, source in report.sources.items()},
        "versions": report.versions,
        "host": report.host,
    }


def read(found: Mapping[str, Any]) -> Report:
    """The report that a document holds. Raises ValueError for a document of another program or version."""
    if found.get("schema_version") != SCHEMA_VERSION or "details" not in found:
        raise ValueError(f"it is no result of this benchmark (schema version {SCHEMA_VERSION})")
    reasons = {(row["metric"], row["contestant"]): row["reason"] for row in found["invalid"]}
    samples = [
        Sample(metric, name, value, reasons.get((metric, name), "") if value is None else "")
        for metric, contestants in found["details"].items()
        for name, spread in contestants.items()
        for value in spread["values"]
    ]
    sources = {
        metric: Source(**{**row, "load_average": tuple(row["load_average"])})
        for metric, row in found["sources"].items()
    }
    return Report(Series(samples), sources, found["absent"], found["versions"], found["host"])


def ordered(metrics: Iterable[str]) -> list[str]:
    """Metrics in the order of a table: by kind, then by size."""

    def place(metric: str) -> tuple[int, str, int]:
        aspect, _, size = metric.partition("@")
        return METRICS.index(aspect.partition("_")[0]), aspect, int(size)

    return sorted(metrics, key=place)


def _by_nodes(series: Series) -> dict[str, dict[str, float]]:
    """Contestant -> number of nodes -> CPU ms."""
    found: dict[str, dict[str, float]] = {}
    for metric in ordered(series.metrics()):
        name, _, nodes = metric.partition("@")
        if name == "bus":
            for contestant, value in _rounded(series.medians(metric)).items():
                found.setdefault(contestant, {})[nodes] = value
    return found


def _rounded(figures: Mapping[str, float]) -> dict[str, float]:
    return {name: round(value, 3) for name, value in figures.items()}


# ------------------------------------------------------------------ Markdown


def markdown(report: Report) -> str:
    """The tables for a terminal or a document."""
    lines = [*_figures(report.series), *_generators(report.series), *_held_against_targets(report.series)]
    lines += [f"\nNot measured: {name}: {reason}." for name, reason in report.absent.items()]
    lines += [
        f"\nInvalid: {sample.metric} of {sample.contestant}: {sample.reason}."
        for sample in report.series.invalid()
    ]
    lines += _commands(report.sources)
    return "\n".join(lines) if lines else "Nothing was measured."


def _figures(series: Series) -> list[str]:
    metrics = [metric for metric in ordered(series.metrics()) if not metric.startswith("generators")]
    names = [name for name in CONTESTANTS if any(series.spread(metric, name) for metric in metrics)]
    if not names:
        return []
    lines = [
        "Medians of alternating repetitions (in brackets: smallest to largest).",
        "",
        "| server CPU or memory | " + " | ".join(names) + " |",
        "|---|" + "---:|" * len(names),
    ]
    for metric in metrics:
        cells = [_cell(series, metric, name) for name in names]
        lines.append(f"| {_title(metric)} | " + " | ".join(cells) + " |")
    return lines


def _generators(series: Series) -> list[str]:
    lines = []
    pushes = f"{PUSHES_PER_S} pushes a second to each"
    for size in sizes_of(series, "generators_cpu"):
        lines += [
            "",
            f"Clients: {size:,} connections, {pushes}, medians of alternating repetitions.",
            "",
            "| client | CPU us per received message | KiB per connection |",
            "|---|---:|---:|",
        ]
        cpu_us, kib = (series.medians(f"generators_{aspect}@{size}") for aspect in ("cpu", "kib"))
        for name, title in GENERATORS.items():
            if name in cpu_us:
                grown = f"{kib[name]:.1f}" if name in kib else ""
                lines.append(f"| {title} | {cpu_us[name]:.1f} | {grown} |")
    return lines


def _held_against_targets(series: Series) -> list[str]:
    lines = ["", "| target | wanted | measured | |", "|---|---:|---:|---|"]
    for target in TARGETS:
        figure = target.measure(series)
        if figure is not None:
            met = "met" if target.met(figure) else "missed"
            lines.append(f"| {target.title} | {target.wanted} | {figure:.2f} | {met} |")
    return lines if len(lines) > 3 else []


def _commands(sources: Mapping[str, Source]) -> list[str]:
    lines = [""] if sources else []
    for source in dict.fromkeys(sources.values()):
        measured = ", ".join(metric for metric in ordered(sources) if sources[metric] == source)
        ended = f" Stopped early: {source.stopped}." if source.stopped else ""
        lines.append(f"- `{source.command}` ({source.commit}, {source.started_at}): {measured}.{ended}")
    return lines


def _title(metric: str) -> str:
    name, _, size = metric.partition("@")
    return _TITLES.get(name, name).format(f"{int(size):,}")


def _cell(series: Series, metric: str, name: str) -> str:
    values = series.values(metric, name)
    if not values:
        return ""
    digits = 0 if metric.startswith("connect") else 2
    return f"{series.median(metric, name):.{digits}f} ({min(values):.{digits}f}-{max(values):.{digits}f})"


class Record:
    """A JSON file and, beside it, the same as Markdown, written after each trial. None keeps nothing."""

    def __init__(self, path: Path | None) -> None:
        self.path = path

    def load(self) -> Report:
        """What the file holds; an empty report when there is none. Raises OSError when it cannot be used."""
        if self.path is None or not self.path.exists():
            return Report()
        try:
            return read(json.loads(self.path.read_text()))
        except (ValueError, KeyError, TypeError) as error:
            raise OSError(f"{self.path} cannot be added to: {error}") from error

    def keep(self, report: Report) -> None:
        """Write both files, each whole or not at all."""
        if self.path is None:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        _replace(self.path, json.dumps(document(report), indent=2))
        _replace(self.path.with_suffix(".md"), markdown(report))


def _replace(path: Path, text: str) -> None:
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.write_text(text + "\n")
    partial.replace(path)
