"""The result of one or several runs as JSON and as Markdown tables, and JSON read back. Pure."""

import json
import os
import statistics
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from .plan import CONTESTANTS, HEADLINES, METRICS
from .samples import Sample, Series
from .thresholds import TARGETS, Bound, headline_metrics

# The figures of the client bench: medians, ratios, targets, Markdown. Pure.

Results = dict[str, list[dict[str, Any]]]
"""Client -> its repetitions, each with its figures or with the reason why it is `invalid`."""
TITLES = {
    "floor": "floor: one read, no client",
    "lean": "ours, without ledger",
    "ledger": "ours, with ledger",
    "picows": "picows, Socket.IO by hand",
    "asyncclient": "socketio.AsyncClient",
    "locust_ours": "our Locust user",
    "locust_own": "Locust's SocketIOUser",
    "artillery": "Artillery",
}
CLIENT_TARGETS = (
    Bound("ledger_cpu_us", "ours with ledger, us per message", 7),
    Bound("ledger_kib", "ours with ledger, KiB per connection", 20),
    Bound("locust_own_over_ours", "Locust's SocketIOUser / our Locust user", 5, True),
)


def summary(results: Results) -> dict[str, dict[str, float]]:
    """Client -> figure -> median of the valid repetitions."""
    figures = {}
    for name, found in results.items():
        valid = [result for result in found if "invalid" not in result]
        if valid:
            figures[name] = {
                key: round(statistics.median(result[key] for result in valid), 2)
                for key in ("cpu_us_per_message", "kib_per_connection")
            }
    return figures


def ratios(figures: dict[str, dict[str, float]]) -> dict[str, float]:
    """What the targets are about, as far as it was measured."""
    found = {}
    if "ledger" in figures:
        found["ledger_cpu_us"] = figures["ledger"]["cpu_us_per_message"]
        found["ledger_kib"] = figures["ledger"]["kib_per_connection"]
    if "locust_own" in figures and "locust_ours" in figures:
        own, ours = (figures[name]["cpu_us_per_message"] for name in ("locust_own", "locust_ours"))
        found["locust_own_over_ours"] = round(own / ours, 2)
    return found


def table(clients: Mapping[str, Any]) -> list[str]:
    """The Markdown of that part; no lines when clients were not measured."""
    if not clients:
        return []
    plan = clients["plan"]
    pushes = f"{plan['clients']:,} connections, {plan['per_s']:g} pushes a second to each"
    lines = [
        "",
        f"Clients: {pushes}, medians of {plan['repetitions']} alternating repetitions.",
        "",
        "| client | CPU us per received message | KiB per connection |",
        "|---|---:|---:|",
    ]
    for name, figure in clients["figures"].items():
        cpu_us, kib = figure["cpu_us_per_message"], figure["kib_per_connection"]
        lines.append(f"| {TITLES[name]} | {cpu_us:.1f} | {kib:.1f} |")
    lines += ["", "| target | wanted | measured | |", "|---|---:|---:|---|"]
    for target in CLIENT_TARGETS:
        figure = clients["ratios"].get(target.name)
        if figure is not None:
            met = "met" if target.met(figure) else "missed"
            lines.append(f"| {target.title} | {target.wanted} | {figure:.2f} | {met} |")
    lines += [f"\nNot measured: {name}: {reason}." for name, reason in clients["absent"].items()]
    source = clients.get("source")
    if source is not None:
        lines += ["", f"- `{source['command']}` ({source['commit']}, {source['started_at']})."]
    return lines


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


# The files of a run: written after each trial, so that an interrupted run leaves what it measured.


class Record:
    """A JSON file and, beside it, the same as Markdown. path: None keeps nothing."""

    def __init__(self, path: Path | None) -> None:
        self.path = path

    @property
    def markdown_path(self) -> Path | None:
        return None if self.path is None else self.path.with_suffix(".md")

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
        if self.path is None or self.markdown_path is None:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        _replace(self.path, json.dumps(document(report), indent=2))
        _replace(self.markdown_path, markdown(report))


def _replace(path: Path, text: str) -> None:
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.write_text(text + "\n")
    partial.replace(path)
