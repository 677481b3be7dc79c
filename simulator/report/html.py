"""The HTML report: one file, no script, no request; light and dark; all that a colleague needs to believe it.

What is shown is said here; how, in `page.html` (Jinja2, escaping) and `style.css`.
"""

import json
from collections.abc import Iterator
from importlib import resources

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from ..result import Result
from . import charts
from .charts import short

Rows = dict[str, str]
MAX_VIOLATIONS = 20

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
    page, style = (
        resources.files(__package__).joinpath(name).read_text("utf-8") for name in ("page.html", "style.css")
    )
    # S701: everything is escaped but the style sheet and the drawings, which are made here.
    jinja = Environment(autoescape=True, undefined=StrictUndefined)
    drawn = (charts.percentile_curve(result), charts.timeline(result), charts.reconnect_curve(result))
    return jinja.from_string(
        page
    ).render(
        result=result,
        name=str(result.scenario.get("name", "run")),
        style=Markup(style),  # noqa: S704 - ours
        charts=Markup("".join(drawn)),  # noqa: S704 - escaped where it is drawn
        tiles=list(_tiles(result)),
        classes=CLASSES,
        bad=BAD,
        ledgers=[("all", result.ledger), *result.ledger_by_kind.items()],
        meanings=MEANINGS,
        columns=list(COLUMNS),
        latencies=list(_latencies(result)),
        counted=_counted(result),
        processes=list(_processes(result)),
        violations=result.conservation.violations[:MAX_VIOLATIONS],
        environment=_environment(result),
        scenario=json.dumps(result.scenario, indent=2),
    )


def _tiles(result: Result) -> Iterator[tuple[str, str, str]]:
    """Name, figure, what it is out of."""
    fanout, storm, laws = result.latency_ms.get("fanout"), result.reconnect, result.conservation
    yield "clients", f"{result.connections.established:,}", f"of {result.connections.attempted:,} wanted"
    yield "received", short(result.ledger.received), f"from {result.publishes.accepted:,} publishes"
    if fanout is not None:
        yield "fan-out p50", milliseconds(fanout.p50), "from the intended time"
        yield "fan-out p99", milliseconds(fanout.p99), f"worst {milliseconds(fanout.max)}"
    yield "lost", f"{result.ledger.lost:,}", f"of {result.ledger.expected:,} owed"
    if storm.drops:
        yield "dropped", f"{storm.drops:,}", f"{storm.censored:,} not back in the window"
        caught_up = milliseconds(storm.time_to_caught_up.p99)
        yield "caught up p99", caught_up, f"{result.ledger.replayed:,} replayed"
    yield "violations", f"{laws.violation_count:,}", f"of {laws.checked:,} facts checked"


def _latencies(result: Result) -> Iterator[tuple[str, list[str]]]:
    named, storm = dict(result.latency_ms), result.reconnect
    if storm.drops:
        named |= {
            "time to reconnect": storm.time_to_reconnect,
            "time to first event": storm.time_to_first_event,
            "time to caught up": storm.time_to_caught_up,
            "whole outage": storm.outage,
        }
    named["generator loop lag"] = result.generator.loop_lag_ms
    for name, latency in named.items():
        if latency.count:
            figures = (f"{getattr(latency, column):,.2f}" for column in COLUMNS[1:])
            yield NAMES.get(name, name), [f"{latency.count:,}", *figures]


def _counted(result: Result) -> dict[str, Rows]:
    publishes, generator, server = result.publishes, result.generator, result.server
    recovery = result.reconnect.recovery
    counted: dict[str, Rows] = {
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
        counted["Hostile clients"] = {
            name.replace("_", " "): f"{value:,}" for name, value in result.hostile.model_dump().items()
        }
    return counted


def _processes(result: Result) -> Iterator[tuple[str, list[str]]]:
    """The harness process by process, where there are several."""
    if len(result.generator.by_process) < 2:
        return
    for each in result.generator.by_process:
        lags = (milliseconds(each.loop_lag_ms.p90), milliseconds(each.loop_lag_ms.p99))
        yield each.name, [f"{each.clients:,}", f"{each.cpu_share:.1%}", *lags, megabytes(each.rss_bytes)]


def _environment(result: Result) -> dict[str, Rows]:
    host = result.host
    machine = {
        "processors": str(host.cpus),
        "memory": megabytes(host.memory_bytes),
        "kernel": host.kernel,
        "load at the start": f"{host.load_average:g}",
    }
    return {
        "Machine": machine | {f"limit: {name}": f"{value:,}" for name, value in host.limits.items()},
        "Versions": result.versions,
        "Phases": {phase.name: f"{phase.ended_s - phase.started_s:.1f} s" for phase in result.phases},
    }


def milliseconds(value: float) -> str:
    """Milliseconds in few characters."""
    return f"{value / 1000:.2f} s" if value >= 1000 else f"{value:.3g} ms"


def megabytes(value: int) -> str:
    """Bytes as MiB, or as GiB when they are many."""
    return f"{value / 2**30:,.1f} GiB" if value >= 10 * 2**30 else f"{value / 2**20:,.1f} MiB"
