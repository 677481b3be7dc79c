"""The HTML report: one file, no script, no request; light and dark; everything a colleague needs to
believe it.

Called by the command line with a result, fresh or read back.
"""

import json
from collections.abc import Iterable, Sequence
from html import escape
from importlib import resources

from ..result import Ledger, Level, Result
from . import charts
from .charts import short

CLASSES = (
    ("expected", "owed"),
    ("live", "live"),
    ("late", "late"),
    ("replayed", "replayed"),
    ("superseded", "superseded"),
    ("out_of_order", "out of order"),
    ("unverified", "unverified"),
    ("lost", "lost"),
    ("received", "received"),
    ("duplicate", "duplicate"),
    ("misrouted", "misrouted"),
    ("unowed", "unowed"),
)
BAD = frozenset(("late", "out_of_order", "lost", "duplicate", "misrouted"))
MEANINGS = (
    ("owed", "a message that a client, in the room when it was published, or whose user it is for, must get"),
    ("live", "came while the client was connected"),
    ("late", "came live, but later than the scenario allows"),
    ("replayed", "came when the client was back from an absence, or had asked for it"),
    ("superseded", "a count that was overtaken: the client holds a newer one, which is all a count is for"),
    ("out of order", "came behind a newer one of the same stream"),
    ("unverified", "nobody can say: the client was provably away, or the observation ended"),
    ("lost", "owed, the client was there or came back, and it never came"),
    ("duplicate", "came again"),
    ("misrouted", "came to a client that was never entitled to it"),
    ("unowed", "came to a client that was entitled to it, but just before or after it was owed"),
)
NAMES = {
    "fanout": "fan-out, all messages",
    "snapshot": "fan-out, counts",
    "event": "fan-out, events",
    "durable": "fan-out, notifications",
    "replay": "replayed, from the intended time",
    "schedule_lag": "schedule lag (generator)",
    "http": "publishing request",
}
COLUMNS = ("count", "min", "p50", "p90", "p95", "p99", "p999", "max")


def render_html(result: Result) -> str:
    """The whole page."""
    style = resources.files(__package__).joinpath("style.css").read_text("utf-8")
    name = str(result.scenario.get("name", "run"))
    body = "".join(
        (
            _header(result, name),
            _tiles(result),
            _levels(result.slo),
            charts.percentile_curve(result),
            charts.timeline(result),
            charts.reconnect_curve(result),
            _ledger(result),
            _latencies(result),
            _facts(result),
            _environment(result),
        )
    )
    return (
        "<!doctype html><html lang='en'><head><meta charset='utf-8'>"
        "<meta name='viewport' content='width=device-width, initial-scale=1'>"
        f"<title>{escape(result.verdict)} · {escape(name)} · Vouchstorm</title><style>{style}</style></head>"
        f"<body><main>{body}{_footer()}</main></body></html>\n"
    )


def _header(result: Result, name: str) -> str:
    question = str(result.scenario.get("question") or "")
    reasons = "".join(f"<li>{escape(reason)}</li>" for reason in result.reasons)
    facts = " · ".join(
        escape(text)
        for text in (
            f"{result.target}",
            f"{result.started_at}",
            f"{result.duration_s:.0f} s in all",
            f"seed {result.seed}",
        )
    )
    return (
        f"<header class='{result.verdict.lower()}'><p class='brand'>Vouchstorm run report</p>"
        f"<h1>{escape(name)} <span class='verdict'>{escape(result.verdict)}</span></h1>"
        f"<p class='question'>{escape(question)}</p><p class='facts'>{facts}</p>"
        f"{f'<ul class=reasons>{reasons}</ul>' if reasons else ''}</header>"
    )


def _tiles(result: Result) -> str:
    fanout, storm = result.latency_ms.get("fanout"), result.reconnect
    tiles = [
        ("clients", f"{result.connections.established:,}", f"of {result.connections.attempted:,} wanted"),
        ("received", short(result.ledger.received), f"from {result.publishes.accepted:,} publishes"),
    ]
    if fanout is not None:
        tiles.append(("fan-out p50", milliseconds(fanout.p50), "from the intended time"))
        tiles.append(("fan-out p99", milliseconds(fanout.p99), f"worst {milliseconds(fanout.max)}"))
    tiles.append(("lost", f"{result.ledger.lost:,}", f"of {result.ledger.expected:,} owed"))
    if storm.drops:
        caught_up = storm.time_to_caught_up
        tiles.append(("dropped", f"{storm.drops:,}", f"{storm.censored:,} not back in the window"))
        tiles.append(("caught up p99", milliseconds(caught_up.p99), f"{result.ledger.replayed:,} replayed"))
    laws = result.conservation
    tiles.append(("violations", f"{laws.violation_count:,}", f"of {laws.checked:,} facts checked"))
    cells = "".join(
        f"<div class='tile'><b>{escape(value)}</b><span>{escape(label)}</span>"
        f"<small>{escape(note)}</small></div>"
        for label, value, note in tiles
    )
    return f"<section class='tiles'>{cells}</section>"


def _levels(levels: Sequence[Level]) -> str:
    rows = []
    for level in levels:
        bound = "≤" if level.at_most else "≥"
        unit = f" {level.unit}" if level.unit else ""
        measured = "-" if level.measured is None else f"{level.measured:,.4g}{unit}"
        mark = "<td class='good'>held</td>" if level.held else "<td class='bad'>broken</td>"
        rows.append(
            f"<tr><td><code>{escape(level.name)}</code><small>{escape(level.meaning)}</small></td>"
            f"<td class='number'>{measured}</td>"
            f"<td class='number'>{bound} {level.limit:,.4g}{unit}</td>{mark}</tr>"
        )
    head = "<th>level</th><th>measured</th><th>asked for</th><th></th>"
    return section("Service levels", scroll(head, "".join(rows)))


def _ledger(result: Result) -> str:
    rows = [("all", result.ledger), *result.ledger_by_kind.items()]
    head = "<th>messages</th>" + "".join(f"<th>{label}</th>" for _, label in CLASSES)
    body = "".join(f"<tr><td>{escape(name)}</td>{_classes(part)}</tr>" for name, part in rows)
    balance = (
        "<p class='note'>Both sums hold: owed = live + late + replayed + superseded + out of order + "
        "unverified + lost, and received = live + late + replayed + out of order + duplicate + misrouted + "
        "unowed.</p>"
        if result.ledger.balanced
        else "<p class='note bad'>The ledger does not balance: do not believe this run.</p>"
    )
    words = "".join(f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in MEANINGS)
    glossary = f"<details><summary>What the columns mean</summary><dl class='words'>{words}</dl></details>"
    return section("Ledger: every message, every client", f"{scroll(head, body)}{balance}{glossary}")


def _classes(part: Ledger) -> str:
    cells = []
    for name, _ in CLASSES:
        value: int = getattr(part, name)
        tone = " bad" if name in BAD and value else (" faint" if not value else "")
        cells.append(f"<td class='number{tone}'>{value:,}</td>")
    return "".join(cells)


def _latencies(result: Result) -> str:
    named = dict(result.latency_ms)
    storm = result.reconnect
    if storm.drops:
        named |= {
            "time to reconnect": storm.time_to_reconnect,
            "time to first event": storm.time_to_first_event,
            "time to caught up": storm.time_to_caught_up,
            "whole outage": storm.outage,
        }
    named["generator loop lag"] = result.generator.loop_lag_ms
    head = "<th>distribution (ms)</th>" + "".join(f"<th>{name}</th>" for name in COLUMNS)
    body = "".join(
        f"<tr><td>{escape(NAMES.get(name, name))}</td><td class='number'>{latency.count:,}</td>"
        + "".join(f"<td class='number'>{getattr(latency, column):,.2f}</td>" for column in COLUMNS[1:])
        + "</tr>"
        for name, latency in named.items()
        if latency.count
    )
    return section("Latencies", scroll(head, body))


def _facts(result: Result) -> str:
    publishes, generator, server = result.publishes, result.generator, result.server
    recovery = result.reconnect.recovery
    groups = {
        "Publishes": {
            name: f"{getattr(publishes, name):,}"
            for name in ("scheduled", "sent", "accepted", "refused", "failed", "dropped", "late")
        },
        "Recovery": {
            "full replay": f"{recovery.full:,}",
            "honest reload": f"{recovery.reloaded:,}",
            "silent hole": f"{recovery.silent_hole:,}",
        },
        "Generator": {
            "CPU share": f"{generator.cpu_share:.1%} of a core",
            "CPU per event": f"{generator.cpu_us_per_receipt:.1f} µs",
            "memory": megabytes(generator.rss_bytes),
            "loop lag p99": milliseconds(generator.loop_lag_ms.p99),
        },
        "Server": {
            "CPU share": f"{server.cpu_share:.1%} of a core",
            "CPU per event": f"{server.cpu_us_per_delivery:.1f} µs",
            "memory (peak)": megabytes(server.rss_bytes),
            "memory growth": megabytes(server.rss_growth_bytes),
        }
        if server.managed
        else {"started by the run": "no"},
    }
    if result.hostile.inputs:
        groups["Strangers"] = {
            name.replace("_", " "): f"{value:,}" for name, value in result.hostile.model_dump().items()
        }
    cards = "".join(card(title, rows.items()) for title, rows in groups.items())
    violations = "".join(f"<li>{escape(text)}</li>" for text in result.conservation.violations[:20])
    notes = "".join(f"<li>{escape(text)}</li>" for text in result.notes)
    return section(
        "What else was counted",
        f"<div class='cards'>{cards}</div>{_processes(result)}"
        + (f"<h3>Broken laws</h3><ul class='reasons'>{violations}</ul>" if violations else "")
        + (f"<h3>Notes</h3><ul>{notes}</ul>" if notes else ""),
    )


def _processes(result: Result) -> str:
    """The harness process by process, where there are several."""
    if len(result.generator.by_process) < 2:
        return ""
    head = "<th>process of the generator</th>" + "".join(
        f"<th>{name}</th>" for name in ("clients", "CPU share", "loop lag p90", "loop lag p99", "memory")
    )
    body = "".join(
        f"<tr><td>{escape(each.name)}</td><td class='number'>{each.clients:,}</td>"
        f"<td class='number'>{each.cpu_share:.1%}</td>"
        f"<td class='number'>{milliseconds(each.loop_lag_ms.p90)}</td>"
        f"<td class='number'>{milliseconds(each.loop_lag_ms.p99)}</td>"
        f"<td class='number'>{megabytes(each.rss_bytes)}</td></tr>"
        for each in result.generator.by_process
    )
    return scroll(head, body)


def _environment(result: Result) -> str:
    host = result.host
    limits = {f"limit: {name}": f"{value:,}" for name, value in host.limits.items()}
    machine = {
        "processors": str(host.cpus),
        "memory": megabytes(host.memory_bytes),
        "kernel": host.kernel,
        "load at the start": f"{host.load_average:g}",
    } | limits
    phases = {phase.name: f"{phase.ended_s - phase.started_s:.1f} s" for phase in result.phases}
    cards = (
        card("Machine", machine.items())
        + card("Versions", result.versions.items())
        + card("Phases", phases.items())
    )
    metrics = "".join(
        f"<tr><td><code>{escape(name)}</code></td><td class='number'>{value:,.6g}</td></tr>"
        for name, value in result.server.metrics.items()
    )
    grown = (
        f"<details><summary>Server counters that grew</summary><table>{metrics}</table></details>"
        if metrics
        else ""
    )
    scenario = escape(json.dumps(result.scenario, indent=2))
    return section(
        "Environment",
        f"<div class='cards'>{cards}</div>{grown}"
        f"<details><summary>Scenario as it ran</summary><pre>{scenario}</pre></details>",
    )


def _footer() -> str:
    return (
        "<footer>Latencies count from the <em>intended</em> time of an open schedule, so a slow server "
        "cannot hide by slowing the generator down. Every message is followed to every client that was owed "
        "it. INVALID means that the harness could not keep up and the figures must not be believed.</footer>"
    )


def section(title: str, content: str) -> str:
    """A titled part of the page."""
    return f"<section><h2>{escape(title)}</h2>{content}</section>"


def scroll(head: str, body: str) -> str:
    """A table that scrolls sideways on a narrow screen."""
    return f"<div class='scroll'><table><tr>{head}</tr>{body}</table></div>"


def card(title: str, rows: Iterable[tuple[str, str]]) -> str:
    """A small table of names and values."""
    cells = "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in rows)
    return f"<div class='card'><h3>{escape(title)}</h3><dl>{cells}</dl></div>"


def milliseconds(value: float) -> str:
    """Milliseconds in few characters."""
    return f"{value / 1000:.2f} s" if value >= 1000 else f"{value:.3g} ms"


def megabytes(value: int) -> str:
    """Bytes as MiB, or as GiB when they are many."""
    return f"{value / 2**30:,.1f} GiB" if value >= 10 * 2**30 else f"{value / 2**20:,.1f} MiB"
