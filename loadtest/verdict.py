"""The end of a load test: findings of all processes -> the simulator's verdict -> result file and exit code.

Lives in the process that leads: the only one, or the master. Locust's own exit code would say nothing about
latency or lost messages.
"""

import logging
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from pydantic import BaseModel, ConfigDict

from simulator import host, result
from simulator.histogram import Histogram
from simulator.result import Findings, Latency, Phase, Result, to_json
from simulator.run.collect import versions
from simulator.verdict import Honesty, judge

from .ledger import Totals
from .options import LoadOptions

KINDS = {"validation_count_update": "snapshot", "new_notification": "durable"}
"""Event name -> the simulator's name of its latencies; `fanout` is all of them together."""


class Part(BaseModel):
    """What one process counted. histograms: name -> encoded counts in us; totals: by kind of message.

    Of several, counts are summed and histograms merged; percentiles are never averaged.
    """

    model_config = ConfigDict(extra="forbid")

    connections: result.Connections = result.Connections()
    publishes: result.Publishes = result.Publishes()
    totals: dict[str, dict[str, int]] = {}
    histograms: dict[str, str] = {}
    unmeasured: dict[str, int] = {}
    drops: int = 0
    reconnected: int = 0
    full: int = 0
    reloaded: int = 0
    silent_holes: int = 0
    handler_errors: int = 0
    cpu_s: float = 0.0
    wall_s: float = 0.0
    rss_bytes: int = 0
    clock_error_ns: int = 0
    notes: list[str] = []


def merge(parts: Sequence[Part], facts: Mapping[str, Any]) -> Findings:
    """The findings of a run. facts: the fields of `Findings` that the master knows: scenario, target ..."""
    histograms = _histograms(parts)
    kinds = _kinds(parts)
    ledger = _ledger(_sum_totals(list(kinds.values())))
    latencies = {KINDS.get(name, name): histogram for name, histogram in histograms.items()}
    latencies["fanout"] = _fanout(histograms)
    latencies.pop("loop_lag", None)
    known = dict(facts)
    notes = [*known.pop("notes", []), *_notes(parts)]
    return Findings(
        **known,
        connections=_connections(parts),
        publishes=_publishes(parts),
        ledger=ledger,
        ledger_by_kind={kind: _ledger(totals) for kind, totals in kinds.items()},
        latency_ms={name: histogram.latency() for name, histogram in latencies.items()},
        reconnect=_reconnect(parts, histograms),
        generator=_generator(parts, histograms, ledger.received),
        notes=notes,
    )


def _histograms(parts: Sequence[Part]) -> dict[str, Histogram]:
    merged: dict[str, Histogram] = {}
    for part in parts:
        for name, text in part.histograms.items():
            merged.setdefault(name, Histogram()).merge(Histogram.decode(text))
    return merged


def _fanout(histograms: Mapping[str, Histogram]) -> Histogram:
    merged = Histogram()
    for name in KINDS:
        if name in histograms:
            merged.merge(histograms[name])
    return merged


def _kinds(parts: Sequence[Part]) -> dict[str, Totals]:
    kinds: dict[str, Totals] = {}
    for part in parts:
        for kind, counts in part.totals.items():
            kinds.setdefault(kind, Totals()).add(Totals(**counts))
    return kinds


def _sum_totals(totals: Sequence[Totals]) -> Totals:
    summed = Totals()
    for item in totals:
        summed.add(item)
    return summed


def _ledger(counts: Totals) -> result.Ledger:
    owed = (
        counts.live
        + counts.replayed
        + counts.superseded
        + counts.out_of_order
        + counts.lost
        + counts.unverified
    )
    had = counts.live + counts.replayed + counts.out_of_order + counts.duplicate + counts.misrouted
    return result.Ledger(
        expected=counts.expected,
        live=counts.live,
        replayed=counts.replayed,
        superseded=counts.superseded,
        out_of_order=counts.out_of_order,
        lost=counts.lost,
        unverified=counts.unverified,
        duplicate=counts.duplicate,
        misrouted=counts.misrouted,
        received=counts.received,
        balanced=owed == counts.expected and had == counts.received,
    )


def _connections(parts: Sequence[Part]) -> result.Connections:
    rows = [part.connections for part in parts]
    return result.Connections(
        attempted=sum(row.attempted for row in rows),
        established=sum(row.established for row in rows),
        failed=sum(row.failed for row in rows),
        peak=sum(row.peak for row in rows),
        refused=sum(row.refused for row in rows),
        failures=_sum_counts([row.failures for row in rows]),
    )


def _publishes(parts: Sequence[Part]) -> result.Publishes:
    rows = [part.publishes for part in parts]
    names = ("scheduled", "sent", "accepted", "refused", "failed", "dropped", "late")
    return result.Publishes(
        **{name: sum(getattr(row, name) for row in rows) for name in names},
        refusals=_sum_counts([row.refusals for row in rows]),
        failures=_sum_counts([row.failures for row in rows]),
    )


def _sum_counts(tables: Sequence[Mapping[str, int]]) -> dict[str, int]:
    summed: dict[str, int] = {}
    for table in tables:
        for key, count in table.items():
            summed[key] = summed.get(key, 0) + count
    return summed


def _reconnect(parts: Sequence[Part], histograms: Mapping[str, Histogram]) -> result.Reconnect:
    drops, back = sum(part.drops for part in parts), sum(part.reconnected for part in parts)
    return result.Reconnect(
        drops=drops,
        reconnected=back,
        censored=max(0, drops - back),
        time_to_reconnect=_latency(histograms, "reconnect"),
        time_to_caught_up=_latency(histograms, "replay"),
        recovery=result.Recovery(
            full=sum(part.full for part in parts),
            reloaded=sum(part.reloaded for part in parts),
            silent_hole=sum(part.silent_holes for part in parts),
        ),
    )


def _generator(parts: Sequence[Part], histograms: Mapping[str, Histogram], received: int) -> result.Generator:
    cpu_s = sum(part.cpu_s for part in parts)
    wall_s = max((part.wall_s for part in parts), default=0.0)
    return result.Generator(
        processes=max(1, len(parts)),
        loop_lag_ms=_latency(histograms, "loop_lag"),
        late_publishes=sum(part.publishes.late for part in parts),
        cpu_share=cpu_s / wall_s if wall_s else 0.0,
        cpu_us_per_receipt=cpu_s * 1e6 / received if received else 0.0,
        rss_bytes=sum(part.rss_bytes for part in parts),
        handler_errors=sum(part.handler_errors for part in parts),
    )


def _latency(histograms: Mapping[str, Histogram], name: str) -> Latency:
    histogram = histograms.get(name)
    return histogram.latency() if histogram is not None else Latency()


def _notes(parts: Sequence[Part]) -> list[str]:
    notes = [note for part in parts for note in part.notes]
    for name, count in sorted(_sum_counts([part.unmeasured for part in parts]).items()):
        notes.append(f"{count} pushes {name!r} were received without a latency: not published by this run.")
    error_ns = max((part.clock_error_ns for part in parts), default=0)
    if error_ns:
        notes.append(f"Clocks of the machines were compared to within {error_ns / 1e6:.1f} ms.")
    return notes


log = logging.getLogger(__name__)


class Judge:
    """begin -> verdict. result: of the test that ended last."""

    def __init__(self) -> None:
        self.result: Result | None = None
        self.interrupted = False
        """Set by whoever knows that the test ends before its time."""
        self._options = LoadOptions()
        self._facts: dict[str, Any] = {}
        self._started_s = 0.0

    def begin(self, options: LoadOptions, facts: dict[str, Any]) -> None:
        """A test begins. facts: name, host, users, run_time_s, processes."""
        self._options, self._facts = options, facts
        self._started_s = time.monotonic()
        self._started_at = datetime.now(UTC).isoformat()
        self.result = None
        self.interrupted = False

    @property
    def running(self) -> bool:
        """Whether a test has begun and has no verdict yet."""
        return bool(self._started_s) and self.result is None

    def verdict(self, parts: Sequence[Part], silent: Sequence[str] = ()) -> Result:
        """Judge, write the result file, and say it. silent: workers that did not tell what they counted."""
        lasted_s = time.monotonic() - self._started_s
        wanted_s = self._facts.get("run_time_s") or 0
        findings = merge(
            parts,
            {
                "scenario": {
                    "name": "locust",
                    "clients": self._facts.get("users", 0),
                    "duration_s": wanted_s or round(lasted_s, 1),
                    "think_s": self._options.think_s,
                    "quorum": self._options.quorum,
                    "live": self._options.live,
                },
                "seed": self._options.seed,
                "target": str(self._facts.get("host", "")),
                "versions": versions(),
                "host": host.describe(),
                "started_at": self._started_at,
                "duration_s": round(lasted_s, 3),
                "interrupted": self.interrupted,
                "phases": [Phase(name="load", started_s=0.0, ended_s=round(lasted_s, 3))],
                "notes": [f"The worker {name} told nothing of what it counted." for name in silent],
            },
        )
        self.result = judge(findings, self._options.slo, Honesty())
        if silent:
            self.result = _invalid(self.result, silent)
        if self._options.result is not None:
            self._options.result.parent.mkdir(parents=True, exist_ok=True)
            self._options.result.write_text(to_json(self.result))
        log.info("verdict: %s", " ".join([self.result.verdict, *self.result.reasons]))
        return self.result


def _invalid(found: Result, silent: Sequence[str]) -> Result:
    """Figures without those of a worker are not the figures of the run."""
    reasons = [f"{len(silent)} workers told nothing of what they counted.", *found.reasons]
    return found.model_copy(update={"verdict": "INVALID", "exit_code": 4, "reasons": reasons})
