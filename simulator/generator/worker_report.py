"""What one process of the generator says of its clients, while a run goes on and when it is over.

Everything adds up: counts are added, latencies are histograms and bucket counts that are merged, percentiles
come from the merged ones only.
"""

from collections import Counter
from dataclasses import dataclass, field, fields

from ..histogram import Histogram
from ..ledger.disconnects import Absences
from ..ledger.ledger import Account
from ..ledger.live import LiveCounts
from ..ledger.outcomes import OutcomeCounts
from ..ledger.timeline import SecondCounts
from ..profiles.base import ClientFindings
from ..result import Connections
from .publisher import Dispatch

MAX_NAMED = 20
MAX_REASONS = 5


@dataclass(slots=True)
class Sample:
    """One process at this moment, or several added up. cpu_s: used so far. live: since it was last asked for.

    number: of its slice of the clients.
    """

    number: int = 0
    connected: int = 0
    ready: int = 0
    away: int = 0
    events: int = 0
    accepted: int = 0
    failed: int = 0
    late: int = 0
    cpu_s: float = 0.0
    rss_bytes: int = 0
    live: LiveCounts = field(default_factory=LiveCounts)

    def add(self, other: "Sample") -> None:
        for each in fields(self):
            if each.name not in ("number", "live"):
                setattr(self, each.name, getattr(self, each.name) + getattr(other, each.name))
        self.live.add(other.live)


@dataclass(slots=True)
class ConnectionCounts:
    """What became of the connections of a process; adds up. failures: reasons of those that failed."""

    attempted: int = 0
    established: int = 0
    refused: int = 0
    failures: Counter[str] = field(default_factory=Counter)

    def add(self, other: "ConnectionCounts") -> None:
        self.attempted += other.attempted
        self.established += other.established
        self.refused += other.refused
        self.failures += other.failures

    def figures(self, peak: int) -> Connections:
        return Connections(
            attempted=self.attempted,
            established=self.established,
            failed=self.attempted - self.established,
            peak=peak,
            refused=self.refused,
            failures=dict(self.failures.most_common(MAX_REASONS)),
        )


@dataclass(slots=True)
class LedgerReport:
    """The closed ledger of one process, or of several added up."""

    total: OutcomeCounts
    by_kind: dict[str, OutcomeCounts]
    latency: dict[str, Histogram]
    replay: Histogram
    lost: list[str]
    overflow: int

    @classmethod
    def of(cls, account: Account) -> "LedgerReport":
        """From one process's account."""
        latency: dict[str, Histogram] = {}
        for name, samples in account.samples.items():
            latency[name] = Histogram()
            latency[name].record_many(samples.latency_us)
        replay = Histogram()
        replay.record_many(account.replay_us)
        return cls(
            account.total, account.by_kind, latency, replay, account.lost[:MAX_NAMED], account.overflow
        )

    def add(self, other: "LedgerReport") -> None:
        self.total.add(other.total)
        for name, tally in other.by_kind.items():
            self.by_kind.setdefault(name, OutcomeCounts()).add(tally)
        for name, histogram in other.latency.items():
            self.latency.setdefault(name, Histogram()).merge(histogram)
        self.replay.merge(other.replay)
        self.lost = (self.lost + other.lost)[:MAX_NAMED]
        self.overflow += other.overflow

    @property
    def balanced(self) -> bool:
        """Whether the sums hold for the total and for each kind, and nothing was left out."""
        return self.overflow == 0 and all(tally.balanced for tally in (self.total, *self.by_kind.values()))


@dataclass(slots=True)
class WorkerHealth:
    """How well one process kept up during the traffic. rss_before_bytes: before its clients were made;
    rss_connected_bytes: once they were connected."""

    number: int
    name: str
    clients: int
    lag: Histogram
    handler_errors: int = 0
    rss_before_bytes: int = 0
    rss_connected_bytes: int = 0
    source_addresses: int = 1


@dataclass(slots=True)
class WorkerReport:
    """All that a process knows when the run is over. diligence: one for each process."""

    books: LedgerReport
    seconds: SecondCounts
    absences: Absences
    connections: ConnectionCounts
    dispatch: Dispatch
    witness: ClientFindings
    diligence: list[WorkerHealth]

    def add(self, other: "WorkerReport") -> None:
        self.books.add(other.books)
        self.seconds.add(other.seconds)
        self.absences.add(other.absences)
        self.connections.add(other.connections)
        self.dispatch.add(other.dispatch)
        self.witness.add(other.witness)
        self.diligence += other.diligence
