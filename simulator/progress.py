"""What a run tells whoever watches it. The runner calls; terminal, log, metrics page and tests implement."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Live:
    """The run at this second. Latencies in ms over about the last two seconds; 0 when nothing came.

    late: publishes that were late so far. overdue: see `LiveCounts`, so far. lag_ms: how late the generator's
    own event loop was at worst since the last tick. received: receipts so far by kind of message.
    latency_counts, latency_sum_ms: the same by latency, as in `LiveCounts`. faults: kinds now under way.
    """

    phase: str
    elapsed_s: float
    total_s: float
    clients: int
    connected: int
    reconnecting: int
    published: int
    failed: int
    events: int
    events_per_s: float
    p50_ms: float
    p99_ms: float
    late: int = 0
    overdue: int = 0
    lag_ms: float = 0.0
    received: Mapping[str, int] = field(default_factory=dict)
    latency_counts: Sequence[int] = ()
    latency_sum_ms: float = 0.0
    faults: Sequence[str] = ()


class Ui(Protocol):
    """A watcher. Called from the event loop: must return at once and not raise."""

    def phase(self, name: str) -> None:
        """A phase begins."""

    def progress(self, what: str, done: int, total: int) -> None:
        """So much of a countable work is done."""

    def tick(self, live: Live) -> None:
        """Once a second while traffic flows."""

    def note(self, text: str) -> None:
        """Something a person should know."""


class Silent:
    """Watches nothing."""

    def phase(self, name: str) -> None:
        """Nothing."""

    def progress(self, what: str, done: int, total: int) -> None:
        """Nothing."""

    def tick(self, live: Live) -> None:
        """Nothing."""

    def note(self, text: str) -> None:
        """Nothing."""


class Watchers:
    """Several watchers as one, told in their order."""

    def __init__(self, *watchers: Ui) -> None:
        self._watchers = watchers

    def phase(self, name: str) -> None:
        """A phase begins."""
        for watcher in self._watchers:
            watcher.phase(name)

    def progress(self, what: str, done: int, total: int) -> None:
        """So much of a countable work is done."""
        for watcher in self._watchers:
            watcher.progress(what, done, total)

    def tick(self, live: Live) -> None:
        """Once a second while traffic flows."""
        for watcher in self._watchers:
            watcher.tick(live)

    def note(self, text: str) -> None:
        """Something a person should know."""
        for watcher in self._watchers:
            watcher.note(text)
