"""Results in Markdown, for a job summary or a pull request: one run, a comparison, a capacity search.

Pure. Every text from outside is escaped, so that no cell can break its table.
"""

import re
from collections.abc import Iterable, Sequence

from ..capacity.scalability import Curve, Point
from ..capacity.search import Capacity, Step
from ..compare import Comparison, FaultRow, Row, Side
from ..result import Latency, Level, Result

LEDGER = (
    "expected",
    "live",
    "replayed",
    "late",
    "out_of_order",
    "lost",
    "duplicate",
    "misrouted",
    "unverified",
)
MARKS = {"PASS": "✅", "FAIL": "❌", "INVALID": "⚠️", "INTERRUPTED": "⏹️"}
CHANGES = {"worse": "❌ worse", "better": "✅ better", "no change": "no change"}
OUTCOMES = {"pass": "✅ held", "fail": "❌ gave way", "generator": "⚠️ generator"}


def result_markdown(result: Result) -> str:
    """One run: verdict, reasons, service levels, latency, ledger."""
    name = _text(str(result.scenario.get("name", "run")))
    parts = [
        f"## {MARKS[result.verdict]} {name}: {result.verdict}",
        _facts(result),
        "\n".join(f"- {_text(reason)}" for reason in result.reasons),
        _table(("Service level", "Measured", "Limit", ""), map(_level_cells, result.slo)),
        _latency_table(result),
        _ledger_table(result),
        _storm_sentence(result),
    ]
    return _joined(parts)


def comparison_markdown(comparison: Comparison) -> str:
    """Two sets of runs: what changed, the figures, and what to beware of."""
    head = ("Metric", "Baseline", "Candidate", "Change", "Interval", "p", "Verdict")
    shown = [row for row in comparison.faults if row.baseline or row.candidate]
    quiet = [row.name for row in comparison.faults if not (row.baseline or row.candidate)]
    parts = [
        f"## {_headline(comparison)}",
        f"{_text(comparison.scenario)}: {_side(comparison.baseline)} → {_side(comparison.candidate)}.",
        _table(
            head, [_metric_cells(row) for row in comparison.metrics] + [_fault_cells(row) for row in shown]
        ),
        f"None on either side: {', '.join(quiet).replace('_', ' ')}." if quiet else "",
        "\n".join(f"> ⚠️ {_text(warning)}" for warning in comparison.warnings),
        _legend(comparison),
    ]
    return _joined(parts)


def capacity_markdown(capacity: Capacity) -> str:
    """A capacity search: the answer, what was saturated, and every run."""
    rows = [_step_cells(step) for step in sorted(capacity.steps, key=lambda step: step.load)]
    saturated = "; ".join(capacity.saturated)
    parts = [
        f"## {_text(capacity.scenario or 'Capacity')}: {_text(capacity.sentence())}",
        f"Located within {capacity.tolerance:.0%}, each run held for {capacity.hold_s:g} s.",
        f"Saturated: {_text(saturated)}." if saturated else "Nothing that was watched was saturated.",
        _table(("Load", "Outcome", "First signal", "Server CPU", "Server loop lag", "Generator CPU"), rows),
    ]
    return _joined(parts)


def curve_markdown(curve: Curve) -> str:
    """The capacity of several node counts: the law, a row for each, and every search."""
    rows = [
        (
            str(point.nodes),
            f"{point.capacity.passing:,g}" if point.capacity.passing is not None else "none",
            _text(point.capacity.signal) or "-",
            _text("; ".join(point.capacity.saturated)) or "-",
        )
        for point in curve.points
    ]
    parts = [
        f"## {_text(curve.scenario or 'Capacity')} by nodes: {_text(curve.sentence())}",
        _table(("Nodes", f"Largest passing load ({curve.quantity})", "First signal", "Saturated"), rows),
    ]
    return _joined([*parts, *(_point_part(point) for point in curve.points)])


def _point_part(point: Point) -> str:
    """The search of one node count, under a heading of its own."""
    search = capacity_markdown(point.capacity).removeprefix("## ")
    return f"### {point.nodes} node{'s' if point.nodes > 1 else ''}: {search}"


def _facts(result: Result) -> str:
    clients = result.connections
    return (
        f"Seed {result.seed}, {clients.established:,} of {clients.attempted:,} clients, "
        f"{result.duration_s:.0f} s against {_text(result.target)}."
    )


def _legend(comparison: Comparison) -> str:
    return (
        "Medians; ± is half of (largest - smallest). A change counts when the Mann-Whitney test (Holm, "
        f"{comparison.alpha:g}) and the bootstrap interval agree and it is at least "
        f"{comparison.min_effect:.0%}."
    )


def _headline(comparison: Comparison) -> str:
    if comparison.worse:
        return f"❌ Worse: {', '.join(comparison.worse)}"
    if comparison.better:
        return f"✅ Better: {', '.join(comparison.better)}"
    return "✅ No change found"


def _side(side: Side) -> str:
    left_out = [
        f"{count} {word}"
        for count, word in ((side.invalid, "invalid"), (side.interrupted, "interrupted"))
        if count
    ]
    return f"{side.runs} runs" + (f" ({' and '.join(left_out)} left out)" if left_out else "")


def _metric_cells(row: Row) -> tuple[str, ...]:
    return (
        f"`{row.name}`",
        f"{_figure(row.baseline, row.unit)} ± {row.spread[0] / 2:.0%}",
        f"{_figure(row.candidate, row.unit)} ± {row.spread[1] / 2:.0%}",
        f"{row.ratio - 1:+.1%}",
        f"{row.low - 1:+.1%} … {row.high - 1:+.1%}",
        f"{row.p:.3f}",
        CHANGES[row.change],
    )


def _fault_cells(row: FaultRow) -> tuple[str, ...]:
    return (f"`{row.name}`", f"{row.baseline:,}", f"{row.candidate:,}", "", "", "", CHANGES[row.change])


def _level_cells(level: Level) -> tuple[str, ...]:
    unit = f" {level.unit}" if level.unit else ""
    measured = "nothing" if level.measured is None else f"{level.measured:,.6g}{unit}"
    bound = "≤" if level.at_most else "≥"
    return f"`{level.name}`", measured, f"{bound} {level.limit:g}{unit}", "✅" if level.held else "❌"


def step_line(step: Step, quantity: str) -> str:
    """One run of a search, for those who watch it."""
    unit = "clients" if quantity == "clients" else "publishes/s"
    why = f": {step.signal}" if step.signal else ""
    cpu = step.pressure.server_cpu_share
    server = "" if cpu is None else f", server {cpu:.0%} of a core"
    return (
        f"  {step.load:>9,g} {unit}  {OUTCOMES[step.outcome]}{why}{server}, generator "
        f"{step.pressure.generator_cpu_share:.0%}"
    )


def _step_cells(step: Step) -> tuple[str, ...]:
    pressure = step.pressure
    cpu, lag = pressure.server_cpu_share, pressure.server_loop_lag_ms
    return (
        f"{step.load:,g}",
        OUTCOMES[step.outcome],
        _text(step.signal),
        "" if cpu is None else f"{cpu:.0%}",
        "" if lag is None else f"{lag:.1f} ms",
        f"{pressure.generator_cpu_share:.0%}",
    )


def _latency_table(result: Result) -> str:
    named: dict[str, Latency] = dict(result.latency_ms)
    if result.reconnect.drops:
        named |= {
            "reconnect": result.reconnect.time_to_reconnect,
            "caught up": result.reconnect.time_to_caught_up,
        }
    rows = [
        (
            _text(name),
            f"{item.count:,}",
            *(f"{value:,.1f}" for value in (item.p50, item.p95, item.p99, item.max)),
        )
        for name, item in named.items()
        if item.count
    ]
    return _table(("Latency, ms", "Count", "p50", "p95", "p99", "max"), rows)


def _ledger_table(result: Result) -> str:
    names = [name for name in LEDGER if name in ("expected", "lost") or getattr(result.ledger, name)]
    counts = [f"{getattr(result.ledger, name):,}" for name in names]
    return _table([name.replace("_", " ") for name in names], [counts])


def _storm_sentence(result: Result) -> str:
    storm = result.reconnect
    if not storm.drops:
        return ""
    ways = storm.recovery
    return (
        f"{storm.drops:,} drops, {storm.reconnected:,} back, {storm.censored:,} not caught up in the window; "
        f"{ways.full:,} in full, {ways.reloaded:,} reloaded, {ways.silent_hole:,} silent holes."
    )


def _figure(value: float, unit: str) -> str:
    if unit == "bytes":
        return f"{value / 2**20:,.1f} MiB"
    return f"{value:,.4g} {unit}".rstrip()


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table whose first column is to the left and the others to the right; empty without rows."""
    body = [f"| {' | '.join(cells)} |" for cells in rows]
    if not body:
        return ""
    ruler = "|".join([":---", *["---:"] * (len(head) - 1)])
    return "\n".join([f"| {' | '.join(head)} |", f"|{ruler}|", *body])


def _text(text: str) -> str:
    """Foreign text on one line, with nothing in it that Markdown or HTML would act on."""
    return re.sub(r"([\\`*_\[\]<>|#~])", r"\\\1", " ".join(text.split()))


def _joined(parts: Iterable[str]) -> str:
    return "\n\n".join(part for part in parts if part) + "\n"
