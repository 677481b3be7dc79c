"""The course of one run: set-up, ramp, warm-up and load with faults, drain, reconciliation, closing the
books.

One event loop in one process. Every phase is bounded, so a run never hangs: it ends with what was
measured, or with a `SetupError`. Called by the runner.
"""

import asyncio
import contextlib
import os
import time
import uuid
from collections.abc import Coroutine, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, TypeVar

from . import host
from .audience import Bounds
from .errors import ScenarioError, SetupError
from .findings import Measured, recent
from .ledger import Ledger
from .meters import Meter, generator_of, read, server_of
from .outages import Outages
from .profiles.base import Profile, Reconciled, Stage
from .profiles.choice import endpoint_path, make_profile
from .progress import Live, Ui
from .publisher import Publisher
from .rest import RestClient
from .result import FaultMark, Phase
from .sabotage import Sabotage
from .scenario import Scenario
from .schedule import Publication, claims_needed, publications, troubles
from .swarm import Swarm
from .target import Commands, ManagedServer, Needs, scrape
from .timeline import Presence, seconds
from .wire import Endpoint

NS = 1_000_000_000
LEAD_NS = 200_000_000
DESCRIPTORS_TO_SPARE = 512
STOP_TIMEOUT_S = 30.0
PhaseName = Literal["setup", "connect", "warmup", "load", "drain", "reconcile"]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Place:
    """Where the run takes place; see `RunOptions` for the fields."""

    url: str | None
    commands: Commands | None
    path: str | None
    tokens_file: Path | None
    claims_file: Path | None
    pin: bool


class Course:
    """One run. `measured` fills while it goes on; `interrupt` ends it early."""

    def __init__(self, scenario: Scenario, place: Place, ui: Ui) -> None:
        self.scenario = scenario
        self.place = place
        self.ui = ui
        self.stop = asyncio.Event()
        self.ledger = Ledger(scenario.clients)
        self.outages = Outages()
        self.presence = Presence()
        self.lag = host.LoopLag()
        self.measured = Measured(
            scenario, place.url or "", host.describe(), datetime.now(UTC).isoformat(timespec="seconds")
        )
        self.server: ManagedServer | None = None
        self.endpoint: Endpoint
        self.entrance: Endpoint
        self.sabotage: Sabotage
        self.profile: Profile
        self.swarm: Swarm
        self.publisher: Publisher
        self.plan: list[Publication] = []
        self.load_start_ns = 0
        self._started_ns = time.monotonic_ns()
        self._last_events = (0, 0)
        self._rss_before_bytes = 0
        self._overrun = ""

    def interrupt(self) -> None:
        """The user wants it to end: finish early with what there is."""
        self.measured.interrupted = True
        self.stop.set()

    async def run(self) -> Measured:
        """All phases. Raises SetupError, ScenarioError."""
        async with contextlib.AsyncExitStack() as stack:
            with self._phase("setup"):
                await self._set_up(stack)
            with self._phase("connect"):
                await self._connect()
            before = await self._meter()
            closed_ns = await self._traffic()
            after = await self._meter()
            away = self.swarm.away()
            with self._phase("reconcile"):
                truth = await self._reconcile()
            self._close(before, after, closed_ns, away, truth)
        return self.measured

    # ---------------------------------------------------------------- set-up

    async def _set_up(self, stack: contextlib.AsyncExitStack) -> None:
        scenario, place = self.scenario, self.place
        _allow_sockets(scenario.clients + scenario.publish.workers)
        tokens_file, claims_file = place.tokens_file, place.claims_file
        if place.commands is not None:
            server = self.server = await stack.enter_async_context(self._managed(place.commands))
            tokens_file, claims_file = server.tokens_file, server.claims_file
            self.measured.target = server.url
            watching = asyncio.get_running_loop().create_task(self._watch_server(server))
            stack.callback(watching.cancel)
        sabotage = self.sabotage = await stack.enter_async_context(
            Sabotage(scenario, self.server, self.measured.target)
        )
        target, path = self.measured.target, place.path or endpoint_path(scenario)
        try:
            self.endpoint = Endpoint.parse(target, path)
            self.entrance = Endpoint.parse(sabotage.entrance(target), path)
        except ValueError as error:
            raise ScenarioError([f"--url: {error}."]) from error
        rest = RestClient(self.endpoint)
        stack.push_async_callback(rest.close)
        stage = Stage(
            scenario,
            self.endpoint,
            rest,
            self.ledger,
            self.outages,
            uuid.uuid4().hex[:12],
            tokens_file if tokens_file and tokens_file.exists() else place.tokens_file,
            claims_file if claims_file and claims_file.exists() else place.claims_file,
            self._note,
        )
        self.profile = make_profile(stage)
        stack.push_async_callback(self.profile.close)
        await self._prepare(stack)

    def _managed(self, commands: Commands) -> ManagedServer:
        scenario = self.scenario
        mine, others = _split_processors() if self.place.pin else (None, None)
        if mine is not None:
            host.pin(os.getpid(), mine)
        needs = Needs(scenario.users, claims_needed(scenario), scenario.claims.quorum, scenario.seed)
        return ManagedServer(commands, needs, cpus=others, timeout_s=scenario.phases.setup_timeout_s)

    async def _watch_server(self, server: ManagedServer) -> None:
        await server.gone.wait()
        self.stop.set()

    async def _prepare(self, stack: contextlib.AsyncExitStack) -> None:
        scenario, timeout_s = self.scenario, self.scenario.phases.setup_timeout_s
        try:
            async with asyncio.timeout(timeout_s):
                workload = await self.profile.prepare(lambda done, of: self.ui.progress("set-up", done, of))
        except TimeoutError as error:
            raise SetupError(
                f"Users and claims were not ready within {timeout_s:g} s (phases.setup_timeout_s)."
            ) from error
        self.plan = publications(scenario, workload)
        self.publisher = Publisher(
            self.profile.publish, scenario.publish.workers, round(scenario.publish.late_ms * 1e6)
        )
        self._rss_before_bytes = host.rss_bytes(os.getpid())
        members = [self.profile.member(index) for index in range(scenario.clients)]
        self.swarm = Swarm(
            scenario,
            self.entrance,
            members,
            self.outages,
            namespace=self.profile.namespace,
            headers=self.profile.headers,
        )
        stack.push_async_callback(self._stop_swarm)

    async def _stop_swarm(self) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.swarm.stop(), STOP_TIMEOUT_S)

    async def _connect(self) -> None:
        phases, clients = self.scenario.phases, self.scenario.clients
        rounds = 1 + clients // phases.connecting
        limit_s = clients / phases.ramp_per_s + rounds * phases.connect_timeout_s
        ramp = self.swarm.ramp(lambda done, of: self.ui.progress("connecting", done, of))
        await self._unless_stopped(ramp, limit_s)
        if not any(member.ready_ns for member in self.swarm.members) and not self.stop.is_set():
            reasons = ", ".join(self.swarm.connections().failures) or "no reason known"
            raise SetupError(f"No client could connect to {self.endpoint.authority}: {reasons}.")

    # ---------------------------------------------------------------- traffic

    async def _traffic(self) -> int:
        """Warm-up, load, drain; the moment the observation ended."""
        scenario = self.scenario
        start_ns = time.monotonic_ns() + LEAD_NS
        self.load_start_ns = start_ns + round(scenario.phases.warmup_s * NS)
        self.swarm.start_keepalives()
        self.swarm.start_troubles(troubles(scenario), self.load_start_ns)
        self.sabotage.start(self.load_start_ns, self.endpoint)
        helpers = [asyncio.ensure_future(self._tick()), asyncio.ensure_future(self.lag.run())]
        publishing = asyncio.ensure_future(self.publisher.run(self.plan, start_ns))
        try:
            with self._phase("warmup"):
                await self._sleep_until(self.load_start_ns)
            with self._phase("load"):
                await self._sleep_until(self.load_start_ns + round(scenario.duration_s * NS))
                await self._unless_stopped(_settled(publishing), scenario.publish.timeout_s + 5.0)
            await self.swarm.stop_troubles()
            await self.sabotage.finish()
            with self._phase("drain"):
                await self._drain()
        finally:
            for task in (publishing, *helpers):
                task.cancel()
            await asyncio.gather(publishing, *helpers, return_exceptions=True)
        return time.monotonic_ns()

    async def _drain(self) -> None:
        """A fixed window; a third into it every client pings once, as it would sooner or later."""
        drain_s = self.scenario.phases.drain_s
        end_ns = time.monotonic_ns() + round(drain_s * NS)
        await self._sleep_until(end_ns - round(drain_s * NS * 2 / 3))
        await self._unless_stopped(self.swarm.nudge(drain_s / 6), drain_s)
        await self._sleep_until(end_ns)

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(1.0)
            now_ns = time.monotonic_ns()
            connected, away = self.swarm.count(), len(self.outages.open)
            self.presence.add(now_ns, connected, away)
            self.ui.tick(self._live(now_ns, connected, away))

    def _live(self, now_ns: int, connected: int, away: int) -> Live:
        events, (last_ns, last_events) = self.swarm.events(), self._last_events
        self._last_events = (now_ns, events)
        p50_ms, p99_ms = recent(self.ledger, now_ns)
        phases = self.scenario.phases
        return Live(
            phase="load" if now_ns >= self.load_start_ns else "warmup",
            elapsed_s=max(0.0, (now_ns - self.load_start_ns) / NS),
            total_s=self.scenario.duration_s + phases.drain_s,
            clients=len(self.swarm.members),
            connected=connected,
            reconnecting=away,
            published=self.publisher.counts["accepted"],
            failed=self.publisher.counts["failed"] + self.publisher.counts["dropped"],
            events=events,
            events_per_s=(events - last_events) / max(0.001, (now_ns - last_ns) / NS) if last_ns else 0.0,
            p50_ms=p50_ms,
            p99_ms=p99_ms,
        )

    # ---------------------------------------------------------------- the end

    async def _reconcile(self) -> Reconciled:
        if self.stop.is_set():
            return Reconciled()
        limit_s = self.scenario.phases.reconcile_timeout_s
        work = self.profile.reconcile(lambda done, of: self.ui.progress("reading back", done, of))
        try:
            truth = await self._unless_stopped(work, limit_s)
        except TimeoutError:
            truth = None
        if truth is None and not self.stop.is_set():
            self._overrun = "reconcile"
        return truth or Reconciled()

    def _close(self, before: Meter, after: Meter, closed_ns: int, away: set[int], truth: Reconciled) -> None:
        measured, windows = self.measured, self.scenario.windows
        bounds = Bounds(closed_ns, round(windows.grace_ms * 1e6), round(windows.late_ms * 1e6))
        account = measured.account = self.ledger.close(bounds, truth.truth, away)
        measured.connections = self.swarm.connections()
        measured.publishes = self.publisher.summary()
        measured.schedule_lag, measured.http = self.publisher.schedule_lag, self.publisher.http
        measured.reconnect = self.outages.summary(account.holes, closed_ns)
        measured.conservation = truth.conservation
        measured.faults = self._marks()
        measured.timeline = seconds(
            self.load_start_ns, closed_ns, account, self.publisher.sent_ns, self.presence, measured.faults
        )
        measured.hostile = self.sabotage.hostile
        measured.notes += [f"lost: {name}" for name in account.lost[:10]]
        measured.generator = generator_of(
            before,
            after,
            self.swarm,
            self.publisher,
            self.lag.histogram,
            self._rss_before_bytes,
            self._overrun,
        ).model_copy(update={"failed_faults": self.sabotage.failures})
        measured.server = server_of(before, after, self.server, unreachable=truth.unreachable)

    # ---------------------------------------------------------------- small things

    def _marks(self) -> list[FaultMark]:
        """The clients' troubles and the services' faults."""
        return sorted([*self.swarm.marks, *self.sabotage.marks], key=lambda mark: mark.at_s)

    async def _meter(self) -> Meter:
        metrics = {} if self.stop.is_set() else await scrape(self.endpoint)
        return read(self.server, self.swarm, metrics)

    def _note(self, text: str) -> None:
        if text not in self.measured.notes and len(self.measured.notes) < 50:
            self.measured.notes.append(text)
            self.ui.note(text)

    @contextlib.contextmanager
    def _phase(self, name: PhaseName) -> Iterator[None]:
        started_s = (time.monotonic_ns() - self._started_ns) / NS
        self.ui.phase(name)
        try:
            yield
        finally:
            ended_s = (time.monotonic_ns() - self._started_ns) / NS
            self.measured.phases.append(
                Phase(name=name, started_s=round(started_s, 3), ended_s=round(ended_s, 3))
            )

    async def _sleep_until(self, due_ns: int) -> None:
        """Sleep, or less when the run is to stop."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, (due_ns - time.monotonic_ns()) / NS)):
                await self.stop.wait()

    async def _unless_stopped(self, work: Coroutine[Any, Any, T], limit_s: float) -> T | None:
        """The result of some work; None when the run was to stop, or the limit passed, before it ended."""
        task = asyncio.ensure_future(work)
        stopping = asyncio.ensure_future(self.stop.wait())
        try:
            await asyncio.wait((task, stopping), timeout=limit_s, return_when=asyncio.FIRST_COMPLETED)
            return task.result() if task.done() else None
        finally:
            stopping.cancel()
            task.cancel()
            await asyncio.gather(task, stopping, return_exceptions=True)


async def _settled(future: "asyncio.Future[None]") -> None:
    """Wait for a future without owning it."""
    await asyncio.wait((future,))


def _allow_sockets(count: int) -> None:
    allowed = host.raise_open_files(count + DESCRIPTORS_TO_SPARE)
    if 0 <= allowed < count + DESCRIPTORS_TO_SPARE // 4:
        raise SetupError(
            f"{count} sockets do not fit into the {allowed} open files this process may have: raise the "
            "limit (ulimit -n), or use fewer clients."
        )


def _split_processors() -> tuple[set[int] | None, set[int] | None]:
    """One processor for the generator, the rest for the server; nothing to split on a single one."""
    allowed = sorted(os.sched_getaffinity(0))
    return (set(allowed[:1]), set(allowed[1:])) if len(allowed) > 1 else (None, None)
