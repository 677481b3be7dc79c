"""The clients of one process of the generator: their swarm, their part of the ledger, their last word.

A run of one process has one shard and calls it directly; in a run of several, each shard lives in a process
of its own and is called through `shard_process`. Nothing in here knows which of the two it is.
"""

import asyncio
import os
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from .. import host
from ..ledger.broadcast_audit import Bounds
from ..ledger.disconnects import Outages
from ..ledger.durable import Truth
from ..ledger.ledger import Ledger
from ..ledger.live import Beat, Watch
from ..ledger.timeline import MAX_SECONDS, Pace, seconds_between
from ..profiles.base import Profile
from ..scenario.models import Scenario
from ..scenario.schedule import Publication, narrow_buffers, transports, troubles
from ..socketio_client import Endpoint
from .ipc import Slice
from .publisher import Fact, Publisher
from .swarm import Swarm
from .worker_report import Books, Diligence, Roll, Sample, Statement

# What a long run lets go of: messages that everybody has, or that somebody misses for good, are
# judged
# early, so that memory does not grow.
#
# Their counts, latencies and seconds are kept added up, as those of another process would be. Refuses
# short
# runs, where nothing is gained. Called by the shards, once in a while and at the end.

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


@dataclass(frozen=True, slots=True)
class Closing:
    """What a shard needs to close its books. load_start_ns: where the timeline begins."""

    bounds: Bounds
    load_start_ns: int
    truth: Mapping[str, Truth] = field(default_factory=dict)


class Shard:
    """Clients `part.first` ... of the run. plan: the whole schedule, for clients that publish themselves."""

    def __init__(
        self,
        scenario: Scenario,
        part: Slice,
        profile: Profile,
        entrance: Endpoint,
        ledger: Ledger,
        outages: Outages,
        plan: Sequence[Publication],
        now_ns: Callable[[], int],
    ) -> None:
        self.part = part
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
        self._rss_before_bytes = host.rss_of(os.getpid())
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
            transports=transports(scenario)[part.first : part.first + part.count],
            namespace=profile.namespace,
            headers=profile.headers,
        )

        first, buffers = part.first, narrow_buffers(scenario)
        self.swarm.narrow({client - first: size for client, size in buffers.items() if client in part})

    # ---------------------------------------------------------------- while it runs

    async def connect(self, progress: Callable[[int], None]) -> None:
        """Connect everybody; told how many are done."""
        await self.swarm.ramp(progress)
        self._rss_connected_bytes = host.rss_of(os.getpid())

    async def start(self, start_ns: int, load_start_ns: int) -> None:
        """Traffic begins at `start_ns`: keep-alives, troubles, and publishing where clients do it."""
        mine = [trouble for trouble in troubles(self._scenario) if trouble.client in self.part]
        first = self.part.first
        self.swarm.start_keepalives()
        self.swarm.start_troubles([replace(each, client=each.client - first) for each in mine], load_start_ns)
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
        """Wait until what clients publish themselves is answered."""
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
            connected=self.swarm.count(),
            ready=sum(bool(member.ready_ns) for member in members),
            away=len(self.outages.open),
            events=self.swarm.events(),
            accepted=counts["accepted"],
            failed=counts["failed"] + counts["dropped"],
            late=counts["late"],
            cpu_s=host.own_cpu_s(),
            rss_bytes=host.rss_of(os.getpid()),
            beat=self._look() if look else Beat(),
        )

    def _look(self) -> Beat:
        beat = self._watch.look(self._now_ns())
        beat.lag_ms = self._lag.take_worst_ms()
        return beat

    async def roll(self) -> Roll:
        """What became of the connections so far."""
        members = self.swarm.members
        missing = [member for member in members if not member.ready_ns]
        return Roll(
            attempted=len(members),
            established=len(members) - len(missing),
            refused=sum(member.client.counters.refused for member in members),
            failures=Counter(member.client.last_failure or "not ready in time" for member in missing),
        )

    # ---------------------------------------------------------------- the end

    async def calm(self) -> None:
        """No more troubles; clients that do not read hear again."""
        await self.swarm.stop_troubles()

    async def nudge(self, over_s: float) -> None:
        """Let every client ping once."""
        await self.swarm.nudge(over_s)

    async def freeze(self) -> None:
        """The observation ends: who is away now counts as away."""
        self._away = self.swarm.away()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()

    async def close(self, closing: Closing) -> Statement:
        """Judge everything that the clients of this process were owed."""
        bounds = replace(closing.bounds, start_ns=closing.load_start_ns)
        witness = self.profile.witness()
        truth = {**closing.truth, **witness.truth}
        account = self.ledger.close(bounds, truth, self._away)
        count = seconds_between(closing.load_start_ns, bounds.closed_ns)
        name = f"clients {self.part.first}..{self.part.first + self.part.count - 1}"
        diligence = Diligence(
            self.part.number,
            name,
            len(self.swarm.members),
            self._lag.histogram,
            self.swarm.handler_errors(),
            self._rss_before_bytes,
            self._rss_connected_bytes,
            self.swarm.source_addresses,
        )
        books, pace = Books.of(account), Pace.of(account, closing.load_start_ns, count)
        if self._retirement is not None:
            self._retirement.add_to(books, pace)
        return Statement(
            books=books,
            pace=pace,
            absences=self.outages.absences(account.holes, bounds.closed_ns),
            roll=await self.roll(),
            dispatch=self.publisher.done,
            witness=replace(witness, truth={}),
            diligence=[diligence],
        )

    async def stop(self) -> None:
        """Let everybody leave."""
        await self.freeze()
        await self.swarm.stop()

    def _start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        return task
