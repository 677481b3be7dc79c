"""The clients of one process of the generator: their swarm, their part of the ledger, their last word.

A run of one process has one worker in it; in a run of several, each worker lives in a process of its own.
Nothing in here knows which of the two it is.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from .. import host
from ..ledger.broadcast_audit import Bounds
from ..ledger.disconnects import Disconnects
from ..ledger.durable import Truth
from ..ledger.ledger import Ledger
from ..ledger.live import LiveCounts, Watch
from ..ledger.timeline import MAX_SECONDS, SecondCounts, seconds_between
from ..profiles.base import Profile
from ..scenario.models import Scenario
from ..scenario.schedule import Publication
from ..socketio_client import Endpoint
from .ipc import Slice
from .publisher import Fact, Publisher
from .swarm import Swarm
from .worker_report import ConnectionCounts, LedgerReport, Sample, WorkerHealth, WorkerReport

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
    """The settled past of one ledger: judged early and let go of, so that a long run's memory does not grow.

    books: what it came to up to now, added up as that of another process would be.
    """

    def __init__(self, ledger: Ledger, scenario: Scenario, load_start_ns: int) -> None:
        self._ledger = ledger
        self._windows = scenario.windows
        self._age_ns = round((MARGIN_S + scenario.publish.timeout_s) * NS + self._windows.late_ms * 1e6)
        self._start_ns = load_start_ns
        self.books: LedgerReport | None = None
        self._seconds: list[SecondCounts] = []

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
            self.books = LedgerReport.of(account)
        else:
            self.books.add(LedgerReport.of(account))
        self._seconds.append(SecondCounts.of(account, self._start_ns, MAX_SECONDS))
        if sum(each.cells.size for each in self._seconds) > MAX_CELLS_WAITING or len(self._seconds) > AT_ONCE:
            self._seconds = [self._sum()]

    def _sum(self) -> SecondCounts:
        first, *others = self._seconds
        for other in others:
            first.add(other)
        return first

    def add_to(self, books: LedgerReport, seconds: SecondCounts) -> None:
        """Add the past to what was left at the end."""
        if self.books is None:
            return
        books.add(self.books)
        seconds.add(self._sum().first(seconds.delivered.size))


@dataclass(frozen=True, slots=True)
class Closing:
    """What a worker needs to close its books. load_start_ns: where the timeline begins."""

    bounds: Bounds
    load_start_ns: int
    truth: Mapping[str, Truth] = field(default_factory=dict)


class Worker:
    """Clients `part.first` ... of the run. plan: the whole schedule, for clients that publish themselves.

    progress: told while `connect` lasts how many of the clients have tried.
    """

    def __init__(
        self,
        scenario: Scenario,
        part: Slice,
        profile: Profile,
        entrance: Endpoint,
        ledger: Ledger,
        outages: Disconnects,
        plan: Sequence[Publication],
        now_ns: Callable[[], int],
    ) -> None:
        self.part = part
        self.progress: Callable[[int], None] = lambda done: None
        self.profile = profile
        self.ledger = ledger
        self.outages = outages
        self._scenario = scenario
        self._now_ns = now_ns
        self._lag = host.LoopLag()
        self._watch = Watch(ledger, round(scenario.windows.late_ms * 1e6))
        self._tasks: set[asyncio.Task[None]] = set()
        self._publishing: asyncio.Task[None] | None = None
        self._retirement: Retirement | None = None
        self._away: set[int] = set()
        self._rss_before_bytes = host.own_rss_bytes()
        self._rss_connected_bytes = 0
        self._plan = [item for item in plan if item.user in part.users] if profile.at_clients else []
        self.publisher = Publisher(
            profile.publish, scenario.publish.workers, round(scenario.publish.late_ms * 1e6)
        )
        self.swarm = Swarm(
            scenario,
            entrance,
            [profile.member(index) for index in range(part.count)],
            outages,
            part=part,
            namespace=profile.namespace,
            headers=profile.headers,
        )

    # ---------------------------------------------------------------- while it runs

    async def connect(self) -> None:
        """Connect everybody."""
        await self.swarm.ramp(self.progress)
        self._rss_connected_bytes = host.own_rss_bytes()

    async def start(self, start_ns: int, load_start_ns: int) -> None:
        """Traffic begins at `start_ns`: keep-alives, troubles, and publishing where clients do it."""
        self.swarm.start_keepalives()
        self.swarm.start_troubles(load_start_ns)
        self._start(self._lag.run(load_start_ns, load_start_ns + round(self._scenario.duration_s * 1e9)))
        if self._scenario.duration_s > WORTH_S:
            self._retirement = Retirement(self.ledger, self._scenario, load_start_ns)
            self._start(self._retire(self._retirement))
        self._publishing = self._start(self.publisher.run(self._plan, start_ns))

    async def _retire(self, retirement: Retirement) -> None:
        """Let go of the settled past from time to time."""
        while True:
            await asyncio.sleep(EVERY_S)
            retirement.retire(self._now_ns())

    async def settled(self) -> None:
        if self._publishing is not None:
            await asyncio.wait((self._publishing,))

    def published(self, fact: Fact) -> None:
        """A message was accepted by the server: owed from now on."""
        self.profile.published(fact)

    async def sample(self, *, look: bool = False) -> Sample:
        """How it stands now; look: with what came in since the last look."""
        counts, members = self.publisher.done.counts, self.swarm.members
        return Sample(
            number=self.part.number,
            connected=sum(member.here for member in members),
            ready=sum(bool(member.ready_ns) for member in members),
            away=len(self.outages.open),
            events=sum(member.client.counters.events for member in members),
            accepted=counts["accepted"],
            failed=counts["failed"] + counts["dropped"],
            late=counts["late"],
            cpu_s=time.process_time(),
            rss_bytes=host.own_rss_bytes(),
            live=self._look() if look else LiveCounts(),
        )

    def _look(self) -> LiveCounts:
        live = self._watch.look(self._now_ns())
        live.lag_ms = self._lag.take_worst_ms()
        return live

    async def connections(self) -> ConnectionCounts:
        members = self.swarm.members
        missing = [member for member in members if not member.ready_ns]
        return ConnectionCounts(
            attempted=len(members),
            established=len(members) - len(missing),
            refused=sum(member.client.counters.refused for member in members),
            failures=Counter(member.client.last_failure or "not ready in time" for member in missing),
        )

    # ---------------------------------------------------------------- the end

    async def calm(self) -> None:
        await self.swarm.stop_troubles()

    async def nudge(self, over_s: float) -> None:
        await self.swarm.nudge(over_s)

    async def freeze(self) -> None:
        """The observation ends: who is away now counts as away."""
        self._away = self.swarm.away()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()

    async def close(self, closing: Closing) -> WorkerReport:
        """Judge everything that the clients of this process were owed."""
        bounds = replace(closing.bounds, start_ns=closing.load_start_ns)
        witness = self.profile.witness()
        truth = {**closing.truth, **witness.truth}
        account = self.ledger.close(bounds, truth, self._away)
        count = seconds_between(closing.load_start_ns, bounds.closed_ns)
        name = f"clients {self.part.first}..{self.part.first + self.part.count - 1}"
        diligence = WorkerHealth(
            self.part.number,
            name,
            len(self.swarm.members),
            self._lag.histogram,
            sum(member.client.counters.handler_errors for member in self.swarm.members),
            self._rss_before_bytes,
            self._rss_connected_bytes,
            self.swarm.source_addresses,
        )
        books = LedgerReport.of(account)
        seconds = SecondCounts.of(account, closing.load_start_ns, count)
        if self._retirement is not None:
            self._retirement.add_to(books, seconds)
        return WorkerReport(
            books=books,
            seconds=seconds,
            absences=self.outages.absences(account.holes, bounds.closed_ns),
            connections=await self.connections(),
            dispatch=self.publisher.done,
            witness=replace(witness, truth={}),
            diligence=[diligence],
        )

    async def stop(self) -> None:
        await self.freeze()
        await self.swarm.stop()

    def _start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        return task
