"""The result of one or several runs as JSON and as Markdown tables, and JSON read back. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from .client_table import table
from .plan import CONTESTANTS, HEADLINES, METRICS
from .samples import Sample, Series
from .thresholds import TARGETS, headline_metrics

SCHEMA_VERSION = 2
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
    clients: dict[str, Any] = field(default_factory=dict)
    """The client bench, as it reported itself."""

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
            self.clients,
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
        "clients": report.clients,
        "details": {
            metric: {name: spread for name in CONTESTANTS if (spread := series.spread(metric, name))}
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
    return Report(
        Series(samples), sources, found["absent"], found["versions"], found["host"], found["clients"]
    )


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
    lines = [*_figures(report.series), *_held_against_targets(report.series), *table(report.clients)]
    lines += [f"\nNot measured: {name}: {reason}." for name, reason in report.absent.items()]
    lines += [
        f"\nInvalid: {sample.metric} of {sample.contestant}: {sample.reason}."
        for sample in report.series.invalid()
    ]
    lines += _commands(report.sources)
    return "\n".join(lines) if lines else "Nothing was measured."


def _figures(series: Series) -> list[str]:
    names = [name for name in CONTESTANTS if name in series.contestants()]
    if not names:
        return []
    lines = [
        "Medians of alternating repetitions (in brackets: smallest to largest).",
        "",
        "| server CPU or memory | " + " | ".join(names) + " |",
        "|---|" + "---:|" * len(names),
    ]
    for metric in ordered(series.metrics()):
        cells = [_cell(series, metric, name) for name in names]
        lines.append(f"| {_title(metric)} | " + " | ".join(cells) + " |")
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
