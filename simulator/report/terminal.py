"""What a person sees in the terminal: progress while it runs, a table when it is over.

Everything goes to stderr, so that `--json -` has stdout for itself; live lines only where stderr is a
terminal. Called by the command line.
"""

from collections import deque

from rich.console import Console, Group
from rich.live import Live as LiveView
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn
from rich.table import Table
from rich.text import Text

from ..progress import Live
from ..result import Latency, Result

SPARKS = "▁▂▃▄▅▆▇█"
HISTORY = 40
TONES = {"PASS": "bold white on green", "FAIL": "bold white on red"}
BAD_ROWS = ("lost", "duplicate", "misrouted", "out_of_order", "late")
LEDGER_ROWS = ("expected", "live", "replayed", "superseded", "unverified", *BAD_ROWS)
OTHER_TONE = "bold black on yellow"
WORDS = {
    "setup": "Setting up users, claims and server",
    "connect": "Connecting clients",
    "warmup": "Warming up",
    "load": "Load",
    "drain": "Watching what still arrives",
    "reconcile": "Reading the truth back",
}


class TerminalUi:
    """Live view of a run: `with TerminalUi(console) as ui:`. Without a terminal, one line per phase."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._progress = Progress(
            TextColumn("  {task.description}"), BarColumn(), MofNCompleteColumn(), console=console
        )
        self._task: TaskID | None = None
        self._what = ""
        self._live: LiveView | None = None
        self._history: deque[float] = deque(maxlen=HISTORY)

    def __enter__(self) -> "TerminalUi":
        if self._console.is_terminal:
            self._live = LiveView(Text(""), console=self._console, refresh_per_second=8, transient=True)
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    def phase(self, name: str) -> None:
        """A phase begins."""
        self._clear()
        self._console.print(Text(f"· {WORDS.get(name, name)}", style="dim"))

    def progress(self, what: str, done: int, total: int) -> None:
        """So much of a countable work is done."""
        if self._live is None:
            return
        if self._task is None or what != self._what:
            self._clear()
            self._what, self._task = what, self._progress.add_task(what, total=total)
        self._progress.update(self._task, completed=done, total=total)
        self._live.update(self._progress.get_renderable())

    def tick(self, live: Live) -> None:
        """Once a second."""
        self._history.append(live.p99_ms)
        if self._live is not None:
            self._live.update(live_view(live, list(self._history)))

    def note(self, text: str) -> None:
        """Something a person should know."""
        self._console.print(Text(f"  {text}", style="yellow"))

    def _clear(self) -> None:
        if self._task is not None:
            self._progress.remove_task(self._task)
            self._task = None
        if self._live is not None:
            self._live.update(Text(""))


def live_view(live: Live, history: list[float]) -> Group:
    """The state of a run in three lines."""
    bar = int(20 * min(1.0, live.elapsed_s / live.total_s)) if live.total_s else 0
    away = f"  [yellow]{live.reconnecting} away[/]" if live.reconnecting else ""
    failed = f"  [red]{live.failed} failed[/]" if live.failed else ""
    return Group(
        Text.from_markup(
            f"  {'█' * bar}{'░' * (20 - bar)} {live.elapsed_s:4.0f} / {live.total_s:.0f} s   {live.phase}"
        ),
        Text.from_markup(
            f"  clients [bold]{live.connected}[/] / {live.clients}{away}   published {live.published}{failed}"
            f"   events/s [bold]{live.events_per_s:,.0f}[/]"
        ),
        Text.from_markup(
            f"  fan-out p50 [bold]{live.p50_ms:.1f}[/] ms   p99 [bold]{live.p99_ms:.1f}[/] ms   "
            f"[cyan]{sparkline(history)}[/]"
        ),
    )


def sparkline(values: list[float]) -> str:
    """A row of bars, the highest value full."""
    top = max(values, default=0.0) or 1.0
    return "".join(SPARKS[min(7, int(value / top * 7.999))] for value in values)


def print_result(result: Result, console: Console) -> None:
    """Verdict, reasons, and the tables of a result."""
    name = str(result.scenario.get("name", "run"))
    console.print()
    console.print(_latency_table(result))
    console.print(_ledger_table(result))
    console.print(_facts_table(result))
    console.print(
        Text.assemble(
            (f" {result.verdict} ", TONES.get(result.verdict, OTHER_TONE)),
            f" {name}, seed {result.seed}, {result.duration_s:.0f} s against {result.target}",
        )
    )
    for reason in result.reasons:
        console.print(Text(f"  · {reason}"))


def _latency_table(result: Result) -> Table:
    table = Table(title="Latency, ms", title_justify="left", title_style="bold", box=None, padding=(0, 2))
    table.add_column("from the intended time")
    for column in ("count", "p50", "p90", "p99", "p99.9", "max"):
        table.add_column(column, justify="right")
    named = dict(result.latency_ms)
    if result.reconnect.drops:
        named["reconnect"] = result.reconnect.time_to_reconnect
        named["caught up"] = result.reconnect.time_to_caught_up
    for name, latency in named.items():
        if latency.count:
            table.add_row(name, *_figures(latency))
    return table


def _figures(latency: Latency) -> list[str]:
    values = (latency.p50, latency.p90, latency.p99, latency.p999, latency.max)
    return [f"{latency.count:,}", *(f"{value:,.1f}" for value in values)]


def _ledger_table(result: Result) -> Table:
    table = Table(title="Ledger", title_justify="left", title_style="bold", box=None, padding=(0, 2))
    table.add_column("owed to clients, and how it ended")
    parts = {"all": result.ledger, **result.ledger_by_kind}
    for name in parts:
        table.add_column(name, justify="right")
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


def _facts_table(result: Result) -> Table:
    connections, publishes, storm = result.connections, result.publishes, result.reconnect
    laws, generator, server = result.conservation, result.generator, result.server
    table = Table(box=None, show_header=False, padding=(0, 2))
    table.add_column(style="bold")
    table.add_column()
    table.add_row("clients", f"{connections.established:,} of {connections.attempted:,} connected")
    table.add_row(
        "publishes",
        f"{publishes.accepted:,} accepted, {publishes.refused:,} refused, {publishes.failed:,} failed, "
        f"{publishes.dropped:,} dropped, {publishes.late:,} late, of {publishes.scheduled:,}",
    )
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
