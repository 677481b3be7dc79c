"""What a long run lets go of: messages that everybody has, or that somebody misses for good, are judged
early, so that memory does not grow.

Their counts, latencies and seconds are kept added up, as those of another process would be. Refuses short
runs, where nothing is gained. Called by the shards, once in a while and at the end.
"""

from .generator.worker_report import Books
from .ledger.broadcast_audit import Bounds
from .ledger.ledger import Ledger
from .pace import MAX_SECONDS, Pace
from .scenario.loader import Scenario

NS = 1_000_000_000
WORTH_S = 120.0
"""Of load: what a shorter run holds fits into memory."""
EVERY_S = 2.0
AT_ONCE = 200
MARGIN_S = 15.0
GIVEN_UP_S = 120.0
"""No recovery takes so long after the margin: what is missed then is lost, as it would be at the end."""
MAX_CELLS_WAITING = 1_000_000


class Retirement:
    """The settled past of one ledger. books, pace: what it came to, up to now."""

    def __init__(self, ledger: Ledger, scenario: Scenario, load_start_ns: int) -> None:
        self._ledger = ledger
        self._windows = scenario.windows
        self._age_ns = round((MARGIN_S + scenario.publish.timeout_s) * NS + self._windows.late_ms * 1e6)
        self._start_ns = load_start_ns
        self.books: Books | None = None
        self._paces: list[Pace] = []

    def retire(self, now_ns: int) -> None:
        """Let go of what is settled, a bounded number of messages at a time."""
        grace_ns, late_ns = round(self._windows.grace_ms * 1e6), round(self._windows.late_ms * 1e6)
        before_ns = now_ns - self._age_ns
        bounds = Bounds(now_ns, grace_ns, late_ns, self._start_ns)
        account = self._ledger.retire(bounds, before_ns, before_ns - round(GIVEN_UP_S * NS), AT_ONCE)
        if not account.total.expected and not account.total.received:
            return
        account.overflow = 0  # counted by the ledger at its end
        if self.books is None:
            self.books = Books.of(account)
        else:
            self.books.add(Books.of(account))
        self._paces.append(Pace.of(account, self._start_ns, MAX_SECONDS))
        if sum(pace.cells.size for pace in self._paces) > MAX_CELLS_WAITING or len(self._paces) > AT_ONCE:
            self._paces = [self._pace()]

    def _pace(self) -> Pace:
        first, *others = self._paces
        for other in others:
            first.add(other)
        return first

    def add_to(self, books: Books, pace: Pace) -> None:
        """Add the past to what was left at the end."""
        if self.books is None:
            return
        books.add(self.books)
        pace.add(self._pace().first(pace.delivered.size))
