"""The phases of one run: set-up, ramp, warm-up, load with faults, drain, reconciliation, closing the books.

This process sets up, publishes, breaks what is to be broken, reads back and closes; the clients are in the
workers of the pool, here or in processes of their own. Every phase is bounded, so a run never hangs: it ends
with what was measured, or with a `SetupError`.
"""

import asyncio
import contextlib
import os
import time
import uuid
from collections.abc import Awaitable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, TypeVar

from .. import host
from ..errors import ScenarioError, SetupError
from ..faults.hostile_clients import HostileInputs
from ..faults.injector import FaultInjector
from ..generator.ipc import Slice, WorkerOrder, processes, slices
from ..generator.pool import RemoteWorker, WorkerPool, start_all
from ..generator.publisher import Dispatch, Publisher
from ..generator.worker import Closing, Worker
from ..generator.worker_report import Sample, WorkerReport
from ..host import allow_sockets, free_processors, split_processors
from ..ledger.broadcast_audit import Bounds
from ..ledger.disconnects import Disconnects
from ..ledger.ledger import Ledger
from ..ledger.live import LiveTotals
from ..ledger.timeline import seconds
from ..profiles.base import Profile, Reconciled, Stage
from ..profiles.registry import endpoint_path, make_profile
from ..progress import Live, Ui
from ..result import Conservation, FaultMark, Phase
from ..scenario.models import Scenario
from ..scenario.schedule import Publication, Workload, at_once, marks, troubles
from ..socketio_client import Endpoint
from ..target.http_client import RestClient
from ..target.server import Commands, ManagedServer
from .collect import Measured, Meter, generator_of, left_out, read, scrape, server_of

NS = 1_000_000_000
LEAD_NS = 200_000_000
METER_LEAD_NS = 500_000_000
"""Before the load: looking at all processes stops the loop for a while, and the warm-up is not timed."""
STOP_TIMEOUT_S = 30.0
MAX_NAMED_VIOLATIONS = 100
PhaseName = Literal["setup", "connect", "warmup", "load", "drain", "reconcile"]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class RunOptions:
    """What to run against what.

    url: a server that runs already; else `commands` start one for this run: exactly one of the two is given.
    path: of Engine.IO; None: the profile's own. tokens_file, rooms_file: as the seeding wrote them; a server
    started by `commands` has its own. pin: keep server and generator on different processors.
    """

    scenario: Scenario
    url: str | None = None
    commands: Commands | None = None
    path: str | None = None
    tokens_file: Path | None = None
    rooms_file: Path | None = None
    pin: bool = False


class LoadRun:
    """One run. `measured` fills while it goes on; `interrupt` ends it early."""

    def __init__(self, options: RunOptions, ui: Ui) -> None:
        self.options = options
        scenario = self.scenario = options.scenario
        self.ui = ui
        self.stop = asyncio.Event()
        self.presence: list[tuple[int, int, int]] = []
        self.totals = LiveTotals()
        self.lag: host.LoopLag | None = None
        """Of this process, where the clients are in others: theirs is measured beside them."""
        self.measured = Measured(
            scenario, options.url or "", host.describe(), datetime.now(UTC).isoformat(timespec="seconds")
        )
        self.server: ManagedServer | None = None
        self.endpoint: Endpoint
        self.entrance: Endpoint
        self.faults: FaultInjector
        self.lent: HostileInputs | None = None
        self.profile: Profile
        self.pool: WorkerPool
        self.publisher: Publisher
        self.plan: list[Publication] = []
        self.load_start_ns = 0
        self._started_ns = time.monotonic_ns()
        self._last_events = (0, 0)
        self._now_in: PhaseName = "setup"
        self._lost: list[str] = []
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
            before, after, closed_ns = await self._traffic()
            with self._phase("reconcile"):
                truth = await self._reconcile()
                report = await self._closed(closed_ns, truth)
            self._conclude(before, after, closed_ns, report, truth)
        return self.measured

    # ---------------------------------------------------------------- set-up

    async def _set_up(self, stack: contextlib.AsyncExitStack) -> None:
        scenario, options = self.scenario, self.options
        tokens_file, rooms_file = options.tokens_file, options.rooms_file
        if options.commands is not None:
            server = self.server = await stack.enter_async_context(self._managed(options.commands))
            tokens_file, rooms_file = server.tokens_file, server.rooms_file
            self.measured.target = server.url
            watching = asyncio.get_running_loop().create_task(self._watch_server(server))
            stack.callback(watching.cancel)
        faults = self.faults = await stack.enter_async_context(
            FaultInjector(scenario, self.server, self.measured.target)
        )
        target, path = self.measured.target, options.path or endpoint_path(scenario)
        try:
            self.endpoint = Endpoint.parse(target, path)
            self.entrance = Endpoint.parse(faults.entrance(target), path)
        except ValueError as error:
            raise ScenarioError([f"--url: {error}."]) from error
        rest = RestClient(self.endpoint)
        stack.push_async_callback(rest.close)
        parts = slices(scenario, processes(scenario, free_processors(managed=options.commands is not None)))
        alone = len(parts) == 1
        tokens_file = tokens_file if tokens_file and tokens_file.exists() else options.tokens_file
        rooms_file = rooms_file if rooms_file and rooms_file.exists() else options.rooms_file
        ledger, run_id = Ledger(scenario.clients if alone else 0), uuid.uuid4().hex[:12]
        stage = Stage(
            scenario, self.endpoint, rest, ledger, Disconnects(), run_id, tokens_file, rooms_file, self._note
        )
        self.profile = make_profile(stage)
        stack.push_async_callback(self.profile.close)
        workload, plan = await self._prepare()
        if alone:
            self.pool = WorkerPool([self._own_worker(stage, parts[0], plan)])
        else:
            self.lag = host.LoopLag()
            allow_sockets(self.publisher.workers)
            self.pool = WorkerPool(await self._other_workers(stack, stage, parts, workload))
        stack.push_async_callback(self._stop_pool)
        self.publisher.tell = self.pool.published

    def _managed(self, commands: Commands) -> ManagedServer:
        scenario = self.scenario
        mine, others = split_processors(max(1, scenario.processes)) if self.options.pin else (None, None)
        if mine is not None:
            host.pin(os.getpid(), mine)
        timeout_s = scenario.phases.setup_timeout_s
        return ManagedServer(commands, scenario.needs(), cpus=others, timeout_s=timeout_s)

    async def _watch_server(self, server: ManagedServer) -> None:
        await server.gone.wait()
        self.stop.set()

    async def _prepare(self) -> tuple[Workload, list[Publication]]:
        scenario, timeout_s = self.scenario, self.scenario.phases.setup_timeout_s
        try:
            async with asyncio.timeout(timeout_s):
                workload = await self.profile.prepare(lambda done, of: self.ui.progress("set-up", done, of))
                if self.faults.is_hostile:
                    self.lent = await self.profile.hostile_inputs()
        except TimeoutError as error:
            raise SetupError(
                f"Users and rooms were not ready within {timeout_s:g} s (phases.setup_timeout_s)."
            ) from error
        plan = self.profile.plan(workload)
        self.plan = [] if self.profile.at_clients else plan
        workers = scenario.publish.workers + at_once(self.plan)  # a burst does not wait for anybody
        late_ns = round(scenario.publish.late_ms * 1e6)
        self.publisher = Publisher(self.profile.publish, workers, late_ns)
        return workload, plan

    def _own_worker(self, stage: Stage, part: Slice, plan: list[Publication]) -> Worker:
        """All clients in this process."""
        allow_sockets(part.count + self.publisher.workers)
        return Worker(
            self.scenario, part, self.profile, self.entrance, stage.ledger, stage.outages, plan, stage.now_ns
        )

    async def _other_workers(
        self, stack: contextlib.AsyncExitStack, stage: Stage, parts: list[Slice], workload: Workload
    ) -> list[RemoteWorker]:
        """A process for each part of the clients."""
        orders = [
            WorkerOrder(
                self.scenario,
                part,
                self.measured.target,
                self.faults.entrance(self.measured.target),
                self.endpoint.path,
                stage.run_id,
                stage.tokens_file,
                workload,
                self.profile.brief(part.users),
            )
            for part in parts
        ]
        return await start_all(
            stack, [RemoteWorker(order, self._worker_lost, self._note) for order in orders]
        )

    def _worker_lost(self, how: str) -> None:
        """A process died: nothing that follows can be believed, so the run ends early."""
        self._lost.append(how)
        self.ui.note(how)
        self.stop.set()

    async def _stop_pool(self) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.pool.ask(Worker.stop), STOP_TIMEOUT_S)

    async def _connect(self) -> None:
        phases, clients = self.scenario.phases, self.scenario.clients
        rounds = 1 + clients // phases.connecting
        limit_s = clients / phases.ramp_per_s + rounds * phases.connect_timeout_s
        ramp = self.pool.connect(lambda done, of: self.ui.progress("connecting", done, of))
        await self._unless_stopped(ramp, limit_s)
        counts = await self.pool.connections()
        if not counts.established and not self.stop.is_set():
            reasons = ", ".join(counts.figures(0).failures) or "no reason known"
            raise SetupError(f"No client could connect to {self.endpoint.authority}: {reasons}.")

    # ---------------------------------------------------------------- traffic

    async def _traffic(self) -> tuple[Meter, Meter, int]:
        """Warm-up, load, drain; readings around the load, and the moment the observation ended."""
        scenario = self.scenario
        start_ns, warmup_ns = time.monotonic_ns() + LEAD_NS, round(scenario.phases.warmup_s * NS)
        self.load_start_ns = start_ns + warmup_ns
        load_end_ns = self.load_start_ns + round(scenario.duration_s * NS)
        await self.pool.ask(Worker.start, start_ns, self.load_start_ns)
        self.faults.start(self.load_start_ns, self.endpoint, self.lent)
        helpers = [asyncio.ensure_future(self._tick())]
        if self.lag is not None:
            helpers.append(asyncio.ensure_future(self.lag.run(self.load_start_ns, load_end_ns)))
        publishing = asyncio.ensure_future(self.publisher.run(self.plan, start_ns))
        try:
            with self._phase("warmup"):
                await self._sleep_until(self.load_start_ns - min(METER_LEAD_NS, warmup_ns // 2))
                before = await self._meter()
                await self._sleep_until(self.load_start_ns)
            with self._phase("load"):
                await self._sleep_until(load_end_ns)
                after = await self._meter()
                answered = asyncio.gather(asyncio.wait((publishing,)), self.pool.ask(Worker.settled))
                await self._unless_stopped(answered, scenario.publish.timeout_s + 5.0)
            await self.pool.ask(Worker.calm)
            await self.faults.finish(patient=not self.stop.is_set())
            with self._phase("drain"):
                await self._drain()
        finally:
            for task in (publishing, *helpers):
                task.cancel()
            await asyncio.gather(publishing, *helpers, return_exceptions=True)
        closed_ns = time.monotonic_ns()
        await self.pool.ask(Worker.freeze)
        return before, after, closed_ns

    async def _drain(self) -> None:
        """A fixed window; a third into it every client pings once, as it would sooner or later."""
        drain_s = self.scenario.phases.drain_s
        end_ns = time.monotonic_ns() + round(drain_s * NS)
        await self._sleep_until(end_ns - round(drain_s * NS * 2 / 3))
        await self._unless_stopped(self.pool.ask(Worker.nudge, drain_s / 6), drain_s)
        await self._sleep_until(end_ns)

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(1.0)
            sample, now_ns = await self.pool.sample(), time.monotonic_ns()
            self.presence.append((now_ns, sample.connected, sample.away))
            self.totals.add(sample.live)
            self.ui.tick(self._live(now_ns, sample))

    def _live(self, now_ns: int, sample: Sample) -> Live:
        last_ns, last_events = self._last_events
        self._last_events = (now_ns, sample.events)
        recent, total, counts = self.totals.recent(), self.totals.total, self.publisher.done.counts
        elapsed_s = (now_ns - self.load_start_ns) / NS
        since_s = (now_ns - last_ns) / NS if last_ns else 0.0
        return Live(
            phase=self._now_in,
            elapsed_s=max(0.0, elapsed_s),
            total_s=self.scenario.duration_s + self.scenario.phases.drain_s,
            clients=self.scenario.clients,
            connected=sample.connected,
            reconnecting=sample.away,
            published=counts["accepted"] + sample.accepted,
            failed=counts["failed"] + counts["dropped"] + sample.failed,
            events=sample.events,
            events_per_s=(sample.events - last_events) / since_s if since_s else 0.0,
            p50_ms=recent.percentile_ms(50),
            p99_ms=recent.percentile_ms(99),
            late=counts["late"] + sample.late,
            overdue=total.overdue,
            lag_ms=max(sample.live.lag_ms, self.lag.take_worst_ms() if self.lag is not None else 0.0),
            received=dict(total.received),
            latency_counts=list(total.counts),
            latency_sum_ms=total.sum_ms,
            faults=sorted({mark.kind for mark in self._marks() if mark.covers(elapsed_s)}),
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

    async def _closed(self, closed_ns: int, truth: Reconciled) -> WorkerReport | None:
        windows = self.scenario.windows
        bounds = Bounds(closed_ns, round(windows.grace_ms * 1e6), round(windows.late_ms * 1e6))
        return await self.pool.close(Closing(bounds, self.load_start_ns, truth.truth))

    def _conclude(
        self, before: Meter, after: Meter, closed_ns: int, report: WorkerReport | None, truth: Reconciled
    ) -> None:
        """From what all processes say to what is judged."""
        measured, publishes = self.measured, self.publisher.done
        measured.faults, measured.hostile = self._marks(), self.faults.hostile
        measured.server = server_of(before, after, self.server, unreachable=truth.unreachable)
        if without := left_out(before.metrics, after.metrics):
            self._note(without)
        if report is not None:
            publishes.add(report.dispatch)
            self._take_report(report, publishes, truth)
        measured.publishes = publishes.summary()
        measured.schedule_lag, measured.http = publishes.schedule_lag, publishes.http
        measured.generator = generator_of(
            before,
            after,
            report.diligence if report is not None else [],
            publishes,
            self.lag.histogram if self.lag is not None else None,
            overrun=self._overrun,
            lost=self._lost,
        ).model_copy(update={"failed_faults": self.faults.failures})

    def _take_report(self, report: WorkerReport, publishes: Dispatch, truth: Reconciled) -> None:
        measured, witness, laws = self.measured, report.witness, truth.conservation
        measured.books = report.books
        measured.connections = report.connections.figures(self.pool.peak).model_copy(
            update={"expired": witness.expired, "renewed_tokens": witness.renewed}
        )
        measured.reconnect = report.absences.figures()
        measured.conservation = Conservation(
            checked=laws.checked,
            violations=[*witness.violations, *laws.violations][:MAX_NAMED_VIOLATIONS],
            violation_count=witness.violation_count + laws.violation_count,
            note=laws.note,
        )
        measured.timeline = seconds(
            self.load_start_ns, report.seconds, publishes.sent_ns, self.presence, measured.faults
        )
        measured.notes += [*witness.notes, *(f"lost: {name}" for name in report.books.lost[:10])]

    # ---------------------------------------------------------------- small things

    def _marks(self) -> list[FaultMark]:
        """The clients' troubles and the services' faults."""
        return sorted([*marks(troubles(self.scenario)), *self.faults.marks], key=lambda mark: mark.at_s)

    async def _meter(self) -> Meter:
        """CPU and events at one moment; the pages, which may take their time, after that."""
        meter = read(self.server, await self.pool.ask(Worker.sample), {})
        ready = self.server.ready if self.server is not None else {}
        return replace(meter, metrics={} if self.stop.is_set() else await scrape(self.endpoint, ready))

    def _note(self, text: str) -> None:
        if text not in self.measured.notes and len(self.measured.notes) < 50:
            self.measured.notes.append(text)
            self.ui.note(text)

    @contextlib.contextmanager
    def _phase(self, name: PhaseName) -> Iterator[None]:
        started_s = (time.monotonic_ns() - self._started_ns) / NS
        self._now_in = name
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

    async def _unless_stopped(self, work: Awaitable[T], limit_s: float) -> T | None:
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
