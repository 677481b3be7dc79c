"""The service levels a run can be held to, by name, and how a findings document answers each.

Pure. Refuses unknown names with the list of known ones.
"""

import difflib
import math
import statistics
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from .errors import ScenarioError
from .histogram import Histogram
from .result import Findings, Latency

PER_CENT = {"p50": 50, "p95": 95, "p99": 99}
Reading = float | None
"""What was measured; None: nothing to measure came about; inf: too many never came back."""


@dataclass(frozen=True, slots=True)
class Slo:
    """One service level. `at_most`: the limit is an upper bound, else a lower one."""

    name: str
    unit: str
    meaning: str
    read: Callable[[Findings], Reading]
    at_most: bool = True

    def holds(self, measured: float, limit: float) -> bool:
        """Whether a measured value keeps the limit; the limit itself is still allowed."""
        return measured <= limit if self.at_most else measured >= limit


def _latency(key: str, percentile: str) -> Callable[[Findings], Reading]:
    def read(findings: Findings) -> Reading:
        return _percentile(findings.latency_ms.get(key), percentile)

    return read


def _percentile(latency: Latency | None, percentile: str) -> Reading:
    if latency is None or latency.count == 0:
        return None
    value: float = getattr(latency, percentile)
    return value


def _storm(key: str, percentile: str) -> Callable[[Findings], Reading]:
    """A reconnect percentile of all who were dropped: the censored took longer than anybody who came back."""

    def read(findings: Findings) -> Reading:
        storm = findings.reconnect
        if storm.drops == 0:
            return None
        latency: Latency = getattr(storm, key)
        if latency.count >= storm.drops:
            return _percentile(latency, percentile)
        rank = -(-PER_CENT[percentile] * storm.drops // 100)
        return _at_rank(latency, rank) if rank <= latency.count else math.inf

    return read


def _at_rank(latency: Latency, rank: int) -> float:
    """What the `rank` fastest did not exceed, in ms; the longest of all where the counts are not told."""
    if not latency.hdr:
        return latency.max
    back = Histogram.decode(latency.hdr)
    return min(back.value_at(100 * rank / back.count) / 1000, latency.max)


def _field(name: str) -> Callable[[Findings], Reading]:
    return lambda findings: float(getattr(findings.ledger, name))


def _established(findings: Findings) -> Reading:
    connections = findings.connections
    return connections.established / connections.attempted if connections.attempted else None


def _reconnected(findings: Findings) -> Reading:
    storm = findings.reconnect
    return storm.reconnected / storm.drops if storm.drops else None


def _accepted(findings: Findings) -> Reading:
    publishes = findings.publishes
    answered = publishes.accepted + publishes.failed
    return publishes.failed / answered if answered else None


def _server_errors(findings: Findings) -> Reading:
    hostile = findings.hostile
    return float(hostile.server_errors) if hostile.inputs else None


def _hostile_slowdown(findings: Findings) -> Reading:
    """Medians of the seconds' medians, with strangers and without any fault, on the same machine."""
    told = [second for second in findings.timeline if second.p50_ms > 0]
    beside = [second.p50_ms for second in told if "hostile" in second.faults]
    alone = [second.p50_ms for second in told if not second.faults]
    return statistics.median(beside) / statistics.median(alone) if beside and alone else None


def _durable_duplicates(findings: Findings) -> Reading:
    part = findings.ledger_by_kind.get("durable")
    return None if part is None else float(part.duplicate)


_PERCENTILES = ("p50", "p95", "p99", "p999", "max")

_ALL = (
    *(
        Slo(f"fanout_{p}_ms", "ms", f"{p} of intended publish time to receipt", _latency("fanout", p))
        for p in _PERCENTILES
    ),
    *(
        Slo(f"durable_{p}_ms", "ms", f"{p} of intended publish time to the bell", _latency("durable", p))
        for p in _PERCENTILES
    ),
    *(
        Slo(f"http_{p}_ms", "ms", f"{p} of the publishing request", _latency("http", p))
        for p in ("p50", "p95", "p99")
    ),
    *(
        Slo(
            f"reconnect_{p}_ms",
            "ms",
            f"{p} from being allowed back to being connected",
            _storm("time_to_reconnect", p),
        )
        for p in ("p50", "p95", "p99")
    ),
    *(
        Slo(
            f"caught_up_{p}_ms",
            "ms",
            f"{p} from being allowed back to holding everything missed",
            _storm("time_to_caught_up", p),
        )
        for p in ("p50", "p95", "p99")
    ),
    Slo("lost", "", "owed messages that a client never got", _field("lost")),
    Slo("misrouted", "", "receipts by clients that nobody owed them to", _field("misrouted")),
    Slo("duplicate", "", "repeated receipts", _field("duplicate")),
    Slo("duplicate_durable", "", "repeated receipts of notifications", _durable_duplicates),
    Slo("out_of_order", "", "receipts behind a newer one", _field("out_of_order")),
    Slo("late", "", "live receipts after the late bound", _field("late")),
    Slo("unverified", "", "owed messages of clients that were away", _field("unverified")),
    Slo(
        "violations",
        "",
        "broken conservation laws",
        lambda findings: float(findings.conservation.violation_count),
    ),
    Slo(
        "silent_holes", "", "gaps a client was not told of", lambda f: float(f.reconnect.recovery.silent_hole)
    ),
    Slo("drops", "", "connections that broke or were cut", lambda f: float(f.reconnect.drops)),
    Slo("censored", "", "dropped clients not back in the window", lambda f: float(f.reconnect.censored)),
    Slo("server_errors", "", "answers to strangers that blame the server", _server_errors),
    Slo("hostile_slowdown", "x", "fan-out p50 beside strangers, of that without", _hostile_slowdown),
    Slo("failed_publish_ratio", "", "publishes that failed, of those answered", _accepted),
    Slo("established_ratio", "", "connected clients of those wanted", _established, at_most=False),
    Slo("reconnected_ratio", "", "drops that came back in the window", _reconnected, at_most=False),
)

KNOWN: Mapping[str, Slo] = {slo.name: slo for slo in _ALL}

ALWAYS: Mapping[str, float] = {
    "lost": 0,
    "misrouted": 0,
    "duplicate": 0,
    "out_of_order": 0,
    "silent_holes": 0,
    "violations": 0,
    "censored": 0,
}
"""Held in every run unless the scenario names another limit: a load test that loses data, or clients, has
not passed. Who means some to stay away (`reconnect.policy = "never"`) says how many, as `slo.censored`."""


def problems(table: Mapping[str, float]) -> list[str]:
    """One sentence per unknown name or unusable limit; empty when all is well."""
    found = [unknown(name) for name in table if name not in KNOWN]
    found += [
        f"slo.{name}: the limit must be a number of at least 0 (got {limit})."
        for name, limit in table.items()
        if name in KNOWN and not (limit >= 0 and math.isfinite(limit))
    ]
    return found


def unknown(name: str) -> str:
    """The sentence for a name that is not known, with the nearest and all known ones."""
    near = difflib.get_close_matches(name, KNOWN, n=1)
    hint = f" Did you mean {near[0]}?" if near else ""
    return f"slo.{name}: unknown service level.{hint} Known are: {', '.join(sorted(KNOWN))}."


def parse(texts: Iterable[str]) -> dict[str, float]:
    """Limits from `key=value` texts; each text may hold several, separated by commas.

    Raises:
        ScenarioError: naming every text that does not parse and every unknown key.
    """
    table: dict[str, float] = {}
    wrong: list[str] = []
    for part in (piece.strip() for text in texts for piece in text.split(",") if piece.strip()):
        name, _, value = part.partition("=")
        try:
            table[name.strip()] = float(value)
        except ValueError:
            wrong.append(f"--slo {part}: write key=number, for example --slo fanout_p99_ms=250,lost=0.")
    wrong += problems(table)
    if wrong:
        raise ScenarioError(wrong)
    return table
