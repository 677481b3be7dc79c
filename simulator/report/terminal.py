"""What a person sees in the terminal while a run goes on, and when it is over.

In a terminal a view of five lines, drawn anew once a second: no more often, for the generator's event loop
draws it. Elsewhere a line per phase and one every ten seconds. Everything goes to stderr, so that `--json -`
has stdout for itself. The tables at the end fit 80 columns.
"""

import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence

from rich.console import Console, Group, RenderableType
from rich.live import Live as LiveView
from rich.markdown import Markdown
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from ..progress import Live
from ..result import Latency, Result

SPARKS = "▁▂▃▄▅▆▇█"
HISTORY = 200
NARROW, SPARE = 24, 55
"""Columns: the shortest sparkline, and what the rest of its line takes."""
BAR = 28
PLAIN_EVERY_S = 10.0
REDRAW_S = 0.1
WORDS = {
    "setup": "Setting up users, rooms and server",
    "connect": "Connecting clients",
    "warmup": "Warming up",
    "load": "Load",
    "drain": "Watching what still arrives",
    "reconcile": "Reading the truth back",
}


class TerminalUi:
    """Live view of a run: `with TerminalUi(console) as ui:`. clock: seconds, only ever forward.

    many: one of many runs, so that what each leaves on the screen is what is `said`, and no line per phase.
    """

    def __init__(
        self, console: Console, clock: Callable[[], float] = time.monotonic, *, many: bool = False
    ) -> None:
        self._console = console
        self._many = many
        self._clock = clock
        self._view: LiveView | None = None
        self._drawn_s = float("-inf")
        self._plain_s = clock()
        self._history: deque[Live] = deque(maxlen=HISTORY)

    def __enter__(self) -> "TerminalUi":
        if self._console.is_terminal and not self._console.is_dumb_terminal:  # that one cannot draw anew
            self._view = LiveView(
                Text(""),
                console=self._console,
                auto_refresh=False,
                transient=True,
                redirect_stdout=False,  # it belongs to `--json -`
            )
            self._view.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Take the view off the screen; what follows is for others to print."""
        if self._view is not None:
            self._view.stop()
            self._view = None

    def phase(self, name: str) -> None:
        """A phase begins."""
        if name == "setup":
            self._history.clear()
        line = Text(f"· {WORDS.get(name, name)}", style="dim")
        if self._many:
            self._draw(line)
            return
        self._draw(Text(""))
        self._console.print(line)

    def progress(self, what: str, done: int, total: int) -> None:
        """So much of a countable work is done; drawn ten times a second at most."""
        now_s = self._clock()
        if done < total and now_s < self._drawn_s + REDRAW_S:
            return
        self._drawn_s = now_s
        grid = Table.grid(padding=(0, 1))
        grid.add_row(f"  {what}", ProgressBar(total, done, width=BAR), f"{done:,} of {total:,}")
        self._draw(grid)

    def tick(self, live: Live) -> None:
        """Once a second."""
        self._history.append(live)
        if self._view is not None:
            self._draw(live_view(self._history, self._console.width))
        elif not self._many and self._clock() >= self._plain_s + PLAIN_EVERY_S:
            self._plain_s = self._clock()
            self._console.print(Text(plain_line(live)), soft_wrap=True)

    def say(self, text: str) -> None:
        """A line that stays."""
        self._console.print(Text(text), soft_wrap=True)

    def note(self, text: str) -> None:
        """Something a person should know."""
        self._console.print(Text(f"  {text}", style="yellow"))

    def _draw(self, content: RenderableType) -> None:
        if self._view is not None:
            self._view.update(content, refresh=True)


def plain_line(live: Live) -> str:
    """The state of a run in one line, for logs."""
    faults = f", {', '.join(live.faults)}" if live.faults else ""
    return (
        f"  {live.elapsed_s:.0f}/{live.total_s:.0f} s {live.phase}{faults}: "
        f"{live.connected:,}/{live.clients:,} connected, {live.reconnecting:,} reconnecting, "
        f"{live.events_per_s:,.0f} events/s, p50 {live.p50_ms:.1f} ms, p99 {live.p99_ms:.1f} ms, "
        f"{live.overdue:,} missing, {live.failed:,} publishes failed"
    )


def live_view(history: Sequence[Live], columns: int) -> RenderableType:
    """The state of a run in five lines; its newest second is last in `history`."""
    live = history[-1]
    room = max(NARROW, min(HISTORY, columns - SPARE))
    grid = Table.grid(padding=(0, 2))
    for style, width in (("dim", 10), ("", 18), ("", 20), ("cyan", room)):
        grid.add_column(style=style, width=width, no_wrap=True)
    grid.add_row(
        "  clients",
        Text.assemble((f"{live.connected:,}", "bold"), f" of {live.clients:,}"),
        _count(live.reconnecting, "reconnecting", "yellow"),
        sparkline([second.connected for second in history], room),
    )
    grid.add_row(
        "  events/s",
        Text(f"{live.events_per_s:,.0f}", "bold"),
        f"{live.published:,} published",
        sparkline([second.events_per_s for second in history], room),
    )
    grid.add_row(
        "  fan-out",
        f"p50 {live.p50_ms:,.1f} ms",
        Text.assemble("p99 ", (f"{live.p99_ms:,.1f}", "bold"), " ms"),
        sparkline([second.p99_ms for second in history], room),
    )
    grid.add_row(
        "  trouble",
        _count(live.overdue, "missing", "bold red"),
        _count(live.failed, "publishes failed", "bold red"),
        Text(f"harness lag {live.lag_ms:.1f} ms", "dim"),
    )
    return Group(_headline(live), grid)


def _headline(live: Live) -> RenderableType:
    line = Table.grid(padding=(0, 2))
    elapsed_s = min(live.elapsed_s, live.total_s)
    line.add_row(
        f"  {live.phase:8}",
        ProgressBar(max(live.total_s, 1.0), elapsed_s, width=BAR),
        f"{live.elapsed_s:.0f} of {live.total_s:.0f} s",
        Text(", ".join(live.faults), "bold yellow"),
    )
    return line


def _count(value: int, what: str, tone: str) -> Text:
    """A number that is only worth a colour when it is not zero."""
    return Text(f"{value:,} {what}", tone if value else "dim")


def sparkline(values: Sequence[float], room: int = HISTORY) -> str:
    """A row of bars of the newest values, the highest of them full."""
    shown = values[-room:]
    top = max(shown, default=0.0) or 1.0
    return "".join(SPARKS[min(7, int(value / top * 7.999))] for value in shown)


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
            cells = [_marked(value, bad=column in BAD_ROWS) for value in values]
            table.add_row(column.replace("_", " "), *cells)
    return table


def _marked(value: int, *, bad: bool) -> str:
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
