"""From what was measured to the findings of the result. Pure; called by the runner."""

import importlib.metadata
import platform
from dataclasses import dataclass, field

from ..generator.worker_report import Books
from ..histogram import Histogram
from ..ledger.outcomes import Tally
from ..result import (
    Connections,
    Conservation,
    FaultMark,
    Findings,
    Generator,
    Host,
    Hostile,
    Latency,
    Phase,
    Publishes,
    Reconnect,
    Second,
    Server,
)
from ..result import Ledger as LedgerPart
from ..scenario.loader import Scenario

PACKAGES = ("vouchstorm", "uvloop", "numpy", "hdrhistogram")


@dataclass(slots=True)
class Measured:
    """Everything a run leaves behind, before it is judged."""

    scenario: Scenario
    target: str
    host: Host
    started_at: str
    phases: list[Phase] = field(default_factory=list)
    connections: Connections = field(default_factory=Connections)
    publishes: Publishes = field(default_factory=Publishes)
    books: Books | None = None
    schedule_lag: Histogram = field(default_factory=Histogram)
    http: Histogram = field(default_factory=Histogram)
    reconnect: Reconnect = field(default_factory=Reconnect)
    conservation: Conservation = field(default_factory=Conservation)
    generator: Generator = field(default_factory=Generator)
    server: Server = field(default_factory=Server)
    hostile: Hostile = field(default_factory=Hostile)
    faults: list[FaultMark] = field(default_factory=list)
    timeline: list[Second] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    interrupted: bool = False


def findings_of(measured: Measured) -> Findings:
    """The findings document."""
    books = measured.books
    return Findings(
        scenario=measured.scenario.model_dump(mode="json"),
        seed=measured.scenario.seed,
        target=measured.target,
        versions=versions(),
        host=measured.host,
        started_at=measured.started_at,
        duration_s=round(max((phase.ended_s for phase in measured.phases), default=0.0), 3),
        interrupted=measured.interrupted,
        phases=measured.phases,
        connections=measured.connections,
        publishes=measured.publishes,
        ledger=ledger_part(books.total, books.balanced) if books else LedgerPart(),
        ledger_by_kind=(
            {name: ledger_part(tally, tally.balanced) for name, tally in books.by_kind.items()}
            if books
            else {}
        ),
        latency_ms=latencies(measured),
        reconnect=measured.reconnect,
        conservation=measured.conservation,
        generator=measured.generator,
        server=measured.server,
        hostile=measured.hostile,
        faults=measured.faults,
        timeline=measured.timeline,
        notes=measured.notes,
    )


def ledger_part(tally: Tally, balanced: bool) -> LedgerPart:
    """A tally as the result holds it."""
    return LedgerPart(**tally.as_dict(), balanced=balanced)


def latencies(measured: Measured) -> dict[str, Latency]:
    """All distributions by name.

    fanout: intended publish time to the receipt of that message (of a snapshot: that version or a newer one),
    all kinds together; then each kind; replay: the same for what came by recovery; schedule_lag: intended to
    actual sending; http: the publishing request.
    """
    found: dict[str, Histogram] = {"fanout": Histogram()}
    if measured.books is not None:
        for name, histogram in measured.books.latency.items():
            found[name] = histogram
            found["fanout"].merge(histogram)
        if measured.books.replay.count:
            found["replay"] = measured.books.replay
    found["schedule_lag"], found["http"] = measured.schedule_lag, measured.http
    return {name: histogram.latency() for name, histogram in found.items()}


def versions() -> dict[str, str]:
    """Versions of what took part."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
