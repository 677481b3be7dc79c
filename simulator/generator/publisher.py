"""Publishes on time: an open loop that never waits for answers and never shifts its schedule.

Each publish starts at its intended time if a worker is free, else it is dropped and counted; one that starts
late is sent all the same and counted late. What publishing means is the profile's business.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from ..histogram import Histogram
from ..profiles.base import Fact, Outcome
from ..result import Publishes
from ..scenario.schedule import Publication

NS = 1_000_000_000
AT_ONCE = 256
"""So many publishes that are due at once are begun in one turn of the event loop."""


Publish = Callable[[Publication, int], Awaitable[Outcome]]
"""Publish one item; the second argument is its intended time in monotonic nanoseconds. One that raises has
failed, and left a doubt."""


@dataclass(slots=True)
class Dispatch:
    """What became of a schedule; adds up over processes.

    doubts: publishes that ended so that the harness does not know what is owed.
    """

    counts: Counter[str] = field(default_factory=Counter)
    refusals: Counter[str] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)
    schedule_lag: Histogram = field(default_factory=Histogram)
    http: Histogram = field(default_factory=Histogram)
    sent_ns: list[int] = field(default_factory=list)
    doubts: int = 0

    def add(self, other: "Dispatch") -> None:
        self.counts += other.counts
        self.refusals += other.refusals
        self.failures += other.failures
        self.schedule_lag.merge(other.schedule_lag)
        self.http.merge(other.http)
        self.sent_ns += other.sent_ns
        self.doubts += other.doubts

    def summary(self) -> Publishes:
        """The figures of the result."""
        names = ("scheduled", "sent", "accepted", "refused", "failed", "dropped", "late")
        return Publishes(
            **{name: self.counts[name] for name in names},
            refusals=dict(self.refusals.most_common(10)),
            failures=dict(self.failures.most_common(10)),
        )


@dataclass(slots=True)
class Publisher:
    """workers: publishes under way at once at most. late_ns: later than this, a publish counts as late.

    tell: hears of each accepted publish at once.
    """

    publish: Publish
    workers: int
    late_ns: int
    tell: Callable[[Fact], None] = lambda fact: None
    done: Dispatch = field(default_factory=Dispatch)
    _busy: set[asyncio.Task[None]] = field(default_factory=set)

    async def run(self, items: Sequence[Publication], start_ns: int) -> None:
        """Send everything at `start_ns + at_s`, then wait for the answers under way."""
        self.done.counts["scheduled"] = len(items)
        loop = asyncio.get_running_loop()
        try:
            for number, item in enumerate(items):
                intended_ns = start_ns + round(item.at_s * NS)
                await _until(intended_ns, number % AT_ONCE == 0)
                if len(self._busy) >= self.workers:
                    self.done.counts["dropped"] += 1
                    continue
                task = loop.create_task(self._one(item, intended_ns))
                self._busy.add(task)
                task.add_done_callback(self._busy.discard)
            if self._busy:
                await asyncio.wait(self._busy)
        finally:
            await self._cancel()

    async def _cancel(self) -> None:
        for task in list(self._busy):
            task.cancel()
        await asyncio.gather(*self._busy, return_exceptions=True)

    async def _one(self, item: Publication, intended_ns: int) -> None:
        done, sent_ns = self.done, time.monotonic_ns()
        lag_ns = sent_ns - intended_ns
        done.counts["sent"] += 1
        done.sent_ns.append(sent_ns)
        if lag_ns > self.late_ns:
            done.counts["late"] += 1
        if item.measured:
            done.schedule_lag.record(max(0, lag_ns) // 1000)
        self._take(item, await self._outcome(item, intended_ns))

    async def _outcome(self, item: Publication, intended_ns: int) -> Outcome:
        try:
            return await self.publish(item, intended_ns)
        except Exception as error:  # noqa: BLE001 - whatever it is, the publish must not vanish from the counts
            self.done.doubts += 1
            return Outcome("failed", f"{type(error).__name__}: it may have been published")

    def _take(self, item: Publication, outcome: Outcome) -> None:
        done = self.done
        done.counts[outcome.kind] += 1
        if outcome.kind == "refused":
            done.refusals[outcome.code] += 1
        elif outcome.kind == "failed":
            done.failures[outcome.code] += 1
        if item.measured and outcome.http_us:
            done.http.record(outcome.http_us)
        if outcome.fact is not None:
            try:
                self.tell(outcome.fact)
            except Exception as error:  # noqa: BLE001 - published, and the ledger does not know it
                done.doubts += 1
                done.failures[f"{type(error).__name__}: accepted, not entered"] += 1


async def _until(due_ns: int, let_others: bool) -> None:
    """Wait, but never less: timers of the event loop may fire up to a millisecond early.

    What is due already waits for nobody, for a turn of a busy loop takes longer than a burst may; unless
    `let_others`.
    """
    left_ns = due_ns - time.monotonic_ns()
    if left_ns > 0 or let_others:
        await asyncio.sleep(max(0, left_ns) / NS)
    if time.monotonic_ns() < due_ns:
        await asyncio.sleep(0.001)
