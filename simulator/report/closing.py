"""What a person reads in the terminal when a run, or a set of runs, is over.

Fits 80 columns. Called by the command line.
"""

from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.markdown import Markdown
from rich.table import Table
from rich.text import Text

from ..result import Latency, Result

TONES = {"PASS": "bold white on green", "FAIL": "bold white on red"}
MAX_REASONS = 3
MAX_NOTES = 6
OTHER_TONE = "bold black on yellow"
BAD_ROWS = ("lost", "duplicate", "misrouted", "out_of_order", "late")
LEDGER_ROWS = ("expected", "live", "replayed", "superseded", "unverified", *BAD_ROWS)


def print_markdown(text: str, console: Console) -> None:
    """A document of several runs: drawn in a terminal, as it is elsewhere."""
    if console.is_terminal:
        console.print(Markdown(text))
    else:
        console.file.write(text)


def print_result(result: Result, console: Console) -> None:
    """Verdict, reasons, and the tables of a result."""
    name = str(result.scenario.get("name", "run"))
    console.print(_latency_table(result))
    console.print(_ledger_table(result))
    console.print()
    console.print(_facts_table(result))
    console.print()
    console.print(
        Text.assemble(
            (f" {result.verdict} ", TONES.get(result.verdict, OTHER_TONE)),
            f" {name}, seed {result.seed}, {result.duration_s:.0f} s against {result.target}",
        )
    )
    console.print(_points(result.reasons, ""))
    console.print(_points(result.notes[:MAX_NOTES], "dim"))
    if len(result.notes) > MAX_NOTES:
        console.print(Text(f"  · ... and {len(result.notes) - MAX_NOTES} more notes in the result", "dim"))


def _points(texts: Sequence[str], style: str) -> Table:
    grid = Table.grid(padding=(0, 1))
    for text in texts:
        grid.add_row("  ·", Text(text, style))
    return grid


def _latency_table(result: Result) -> Table:
    table = _table("Latency in ms, from the intended time")
    table.add_column("")
    for column in ("count", "p50", "p90", "p99", "p99.9", "max"):
        table.add_column(column, justify="right", no_wrap=True)
    named = dict(result.latency_ms)
    if result.reconnect.drops:
        named["reconnect"] = result.reconnect.time_to_reconnect
        named["caught up"] = result.reconnect.time_to_caught_up
    for name, latency in named.items():
        if latency.count:
            table.add_row(name.replace("_", " "), *_figures(latency))
    return table


def _table(title: str) -> Table:
    return Table(
        title=f"\n{title}" if title else None,
        title_justify="left",
        title_style="bold",
        box=None,
        padding=(0, 1, 0, 2),
    )


def _figures(latency: Latency) -> list[str]:
    values = (latency.p50, latency.p90, latency.p99, latency.p999, latency.max)
    return [f"{latency.count:,}", *(f"{value:,.1f}" for value in values)]


def _ledger_table(result: Result) -> Table:
    table = _table("Ledger: what clients were owed")
    table.add_column("")
    parts = {"all": result.ledger, **result.ledger_by_kind}
    for name in parts:
        table.add_column(name, justify="right", no_wrap=True)
    for column in LEDGER_ROWS:
        values = [getattr(part, column) for part in parts.values()]
        if column in BAD_ROWS or any(values):
            cells = [_count(value, bad=column in BAD_ROWS) for value in values]
            table.add_row(column.replace("_", " "), *cells)
    return table


def _count(value: int, *, bad: bool) -> str:
    if value and bad:
        return f"[bold red]{value:,}[/]"
    return f"{value:,}" if value else "[dim]0[/]"


def reasons_text(reasons: Mapping[str, int]) -> str:
    """The most frequent reasons, with how often."""
    first = sorted(reasons.items(), key=lambda item: -item[1])[:MAX_REASONS]
    return "; ".join(f"{reason} ({count:,}x)" for reason, count in first)


def _facts_table(result: Result) -> Table:
    connections, publishes, storm = result.connections, result.publishes, result.reconnect
    laws, generator, server = result.conservation, result.generator, result.server
    table = _table("")
    table.show_header = False
    table.add_column(style="bold", no_wrap=True)
    table.add_column()
    table.add_row("clients", f"{connections.established:,} of {connections.attempted:,} connected")
    table.add_row(
        "publishes",
        f"{publishes.accepted:,} accepted, {publishes.refused:,} refused, {publishes.failed:,} failed, "
        f"{publishes.dropped:,} dropped, {publishes.late:,} late, of {publishes.scheduled:,}",
    )
    for title, reasons in (("not connected", connections.failures), ("not published", publishes.failures)):
        if reasons:
            table.add_row(title, reasons_text(reasons), style="red")
    if storm.drops:
        table.add_row(
            "drops",
            f"{storm.drops:,}, back {storm.reconnected:,}, not caught up in the window {storm.censored:,}; "
            f"{storm.recovery.full:,} in full, {storm.recovery.reloaded:,} reloaded, "
            f"{storm.recovery.silent_hole:,} with a silent hole",
        )
    if laws.checked:
        table.add_row("conservation", f"{laws.checked:,} facts checked, {laws.violation_count:,} violations")
    table.add_row(
        "generator",
        f"{generator.cpu_share:.0%} of a core, {generator.cpu_us_per_receipt:.1f} us per event, loop lag p99 "
        f"{generator.loop_lag_ms.p99:.1f} ms",
    )
    if server.managed:
        table.add_row(
            "server",
            f"{server.cpu_share:.0%} of a core, {server.cpu_us_per_delivery:.1f} us per event, "
            f"{server.rss_bytes / 2**20:.0f} MiB",
        )
    return table
