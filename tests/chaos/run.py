"""One run of traffic on a full stack with one fault in its middle, and the row of the table it yields.

The ledger and the conservation laws of the simulator judge; two facts are added here, read from the server's
truth at the end: validations that were acknowledged and are not stored, and effects that came about twice.
Refuses to call a run clean in which nothing was sent, or which was over before the fault was.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

from backend.app.errors import SetupError
from backend.app.main import seed_store
from backend.app.seeding import SeedSize
from backend.app.settings import load_settings
from backend.stack.plan import Role
from backend.stack.processes import StackProcesses
from simulator.generator.worker import Worker
from simulator.profiles.vouchstorm.api import read_claims, read_users
from simulator.profiles.vouchstorm.invariants import ClaimFact, UserFact
from simulator.profiles.vouchstorm.profile import Vouchstorm
from simulator.profiles.vouchstorm.scenario import VouchstormScenario
from simulator.progress import Live, Silent
from simulator.result import Findings
from simulator.run.collect import findings_of
from simulator.run.phases import LoadRun, RunOptions
from simulator.scenario.loader import build
from simulator.scenario.models import Windows
from simulator.target.http_client import RestClient
from tests.chaos.faults import Fault
from tests.chaos.scene import Scene

NS = 1_000_000_000
FAULT_AT_S = 4.0
POLL_S = 0.05
HEALING_DEADLINE_S = 90.0
TRAFFIC: dict[str, Any] = {
    "name": "chaos",
    "clients": 60,
    "duration_s": 12.0,
    "publish": {"rate_per_s": 15.0},
    "transports": {"websocket": 0.8, "polling": 0.2},
    "phases": {"warmup_s": 1.0, "drain_s": 12.0},
}


@dataclass(frozen=True)
class Row:
    """One row of the table. Counts but for times.

    duplicated_in_effect: effects stored twice. duplicates_on_wire: receipts a client had to ignore.
    acknowledged_but_gone: validations answered with success that are not stored at the end.
    time_to_recover_s: from the end of the fault until all nodes were ready and everybody who had been cut
    off had caught up; None when somebody never was. unverified: pairs the ledger could not decide on.
    """

    fault: str
    seed: int
    lost: int
    duplicated_in_effect: int
    misrouted: int
    silent_holes: int
    time_to_recover_s: float | None
    conservation_violations: int
    acknowledged_but_gone: int
    out_of_order: int
    duplicates_on_wire: int
    drops: int
    not_back: int
    replayed: int
    told_to_reload: int
    unverified: int
    expected: int
    posts_accepted: int
    posts_failed: int
    fault_lasted_s: float
    breaches: list[str]

    def document(self) -> dict[str, Any]:
        """As it stands in the report."""
        return asdict(self)


@dataclass
class Moments:
    """Of the fault, monotonic; 0 before it came. healed_ns: all nodes were ready again.

    ended: services that ended on the way and are other processes now.
    """

    began_ns: int = 0
    ended_ns: int = 0
    healed_ns: int = 0
    ended: int = 0


@dataclass(frozen=True)
class Truth:
    """What the server has stored once it is quiet."""

    claims: list[ClaimFact]
    users: list[UserFact]


class Cue(Silent):
    """Says when traffic has been flowing for long enough."""

    def __init__(self) -> None:
        self.due = asyncio.Event()

    def tick(self, live: Live) -> None:
        """Called once a second."""
        if live.phase == "load" and live.published > 0 and live.elapsed_s >= FAULT_AT_S:
            self.due.set()


async def run_under(fault: Fault, seed: int, data_dir: Path) -> Row:
    """Start a stack of its own, run traffic, break and heal it meanwhile, judge, end everything."""
    scenario = build(TRAFFIC | {"seed": seed} | fault.scenario)
    async with fault.stage(data_dir, seed) as scene:
        tokens, claims = await _seed(scene, scenario, data_dir)
        cue = Cue()
        options = RunOptions(scenario, scene.stack.plan.url, tokens_file=tokens, rooms_file=claims)
        course = LoadRun(options, cue)
        breaking = asyncio.create_task(_break(fault, scene, cue, course))
        try:
            findings = findings_of(await course.run())
            moments = await asyncio.wait_for(breaking, HEALING_DEADLINE_S)
        finally:
            breaking.cancel()
            await asyncio.gather(breaking, return_exceptions=True)
        return _row(fault, seed, course, findings, moments, await _truth(course))


async def _seed(scene: Scene, scenario: VouchstormScenario, data_dir: Path) -> tuple[Path, Path]:
    tokens, claims = data_dir / "tokens.jsonl", data_dir / "claims.jsonl"
    settings = load_settings(data_dir=data_dir, store_url=scene.store_url)
    size = SeedSize(scenario.users, scenario.claims_needed, quorum=scenario.claims.quorum)
    await seed_store(settings, size, scenario.seed, tokens, claims, lambda *_: None)
    return tokens, claims


async def _break(fault: Fault, scene: Scene, cue: Cue, course: LoadRun) -> Moments:
    await cue.due.wait()
    moments = Moments(began_ns=time.monotonic_ns())
    before = {name: child.pid for name, child in scene.stack.children.items()}
    async with fault.breaks(scene):
        await asyncio.sleep(fault.held_s)
    moments.ended_ns = time.monotonic_ns()
    await _until_whole(fault, scene, before)
    moments.healed_ns = time.monotonic_ns()
    moments.ended = sum(child.pid != before[name] for name, child in scene.stack.children.items())
    if "windows" in fault.scenario:
        _excuse(course, moments)
    return moments


def _excuse(course: LoadRun, moments: Moments) -> None:
    """Live counts since the fault began, until all was whole again, may not reach who is cut off.

    However long a busy machine took for that; at least as long as the fault itself asks for.
    """
    windows = course.scenario.windows
    taken_ms = (moments.healed_ns - moments.began_ns) / 1e6 + Windows().grace_ms
    wider = windows.model_copy(update={"grace_ms": max(windows.grace_ms, taken_ms)})
    course.scenario = course.scenario.model_copy(update={"windows": wider})


async def _until_whole(fault: Fault, scene: Scene, before: dict[str, int | None]) -> None:
    """Every service works. One that was killed counts only once it is another process."""
    stack = scene.stack
    if fault.kills is not None:
        child = stack.children[fault.kills]
        await _until(lambda: child.pid not in (None, before[child.plan.name]))
    for role in (Role.REDIS, Role.MONGODB, Role.NODE, Role.BALANCER):
        for service in stack.plan.with_role(role):
            await _until_ready(stack, service.name)


async def _until_ready(stack: StackProcesses, name: str) -> None:
    """Also where it ended once more, on what was still broken when it was started again."""
    while True:
        with suppress(SetupError):
            return await stack.until_ready(name)


async def _until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 - the stack tells of it by its state only; bounded by the caller
        await asyncio.sleep(POLL_S)


async def _truth(course: LoadRun) -> Truth:
    rest, profile = RestClient(course.endpoint), _profile(course)
    try:
        claims = await read_claims(rest, [claim.claim_id for claim in profile.claims], _unseen)
        return Truth(claims, await read_users(rest, profile.people, _unseen))
    finally:
        await rest.close()


def _unseen(done: int, of: int) -> None:
    """Progress nobody looks at."""


def _shard(course: LoadRun) -> Worker:
    """A run of so few clients has one, in this process."""
    (worker,) = course.pool.workers
    return cast(Worker, worker)


def _profile(course: LoadRun) -> Vouchstorm:
    return cast(Vouchstorm, course.profile)


def _row(fault: Fault, seed: int, course: LoadRun, findings: Findings, moments: Moments, truth: Truth) -> Row:
    ledger, reconnect = findings.ledger, findings.reconnect
    stored = {row.id for claim in truth.claims for row in claim.validations}
    row = Row(
        fault=fault.name,
        seed=seed,
        lost=ledger.lost,
        duplicated_in_effect=_twice(truth),
        misrouted=ledger.misrouted,
        silent_holes=reconnect.recovery.silent_hole,
        time_to_recover_s=_recovered_s(course, moments),
        conservation_violations=findings.conservation.violation_count,
        acknowledged_but_gone=len(_acknowledged(course) - stored),
        out_of_order=ledger.out_of_order,
        duplicates_on_wire=ledger.duplicate,
        drops=reconnect.drops,
        not_back=reconnect.censored,
        replayed=ledger.replayed,
        told_to_reload=reconnect.recovery.reloaded,
        unverified=ledger.unverified,
        expected=ledger.expected,
        posts_accepted=findings.publishes.accepted,
        posts_failed=findings.publishes.failed,
        fault_lasted_s=round((moments.ended_ns - moments.began_ns) / NS, 2),
        breaches=[],
    )
    if fault.bites and not (row.posts_failed or moments.ended):
        row.breaches.append("the run proved nothing: no write was refused, no service ended")
    row.breaches.extend([*_breaches(row, findings), *_stragglers(course, moments)])
    return row


def _breaches(row: Row, findings: Findings) -> Iterator[str]:
    """Sentences about everything that must not be; none for a clean row."""
    for name in ("lost", "duplicated_in_effect", "misrouted", "silent_holes", "not_back"):
        if value := getattr(row, name):
            yield f"{name} is {value}"
    for name in ("conservation_violations", "acknowledged_but_gone"):
        if value := getattr(row, name):
            yield f"{name} is {value}"
    yield from findings.conservation.violations[:5]
    yield from (note for note in findings.notes if note.startswith("lost:"))
    if not (row.expected and row.posts_accepted and findings.conservation.checked):
        yield "the run proved nothing: nothing was owed, accepted or checked"
    if not findings.ledger.balanced:
        yield "the ledger does not balance"
    if findings.generator.overrun or findings.server.unreachable or findings.interrupted:
        yield f"the run did not come to its end ({findings.generator.overrun or 'the server was gone'})"


def _stragglers(course: LoadRun, moments: Moments) -> Iterator[str]:
    """Who never caught up, to begin the search with; seconds from the beginning of the fault."""
    for outage in _shard(course).outages.all:
        if not outage.caught_up_ns:
            cut_s = (outage.cut_ns - moments.began_ns) / NS
            back_s = (outage.connected_ns - moments.began_ns) / NS
            came = f"connected at {back_s:.1f} s" if outage.connected_ns else "never connected again"
            yield f"client {outage.client} was cut off at {cut_s:.1f} s and {came}, without catching up"


def _acknowledged(course: LoadRun) -> set[str]:
    """Ids of the validations that were answered with success."""
    causes = _shard(course).ledger.causes
    return {cause.removeprefix("validation:") for cause in causes if cause.startswith("validation:")}


def _twice(truth: Truth) -> int:
    """Effects beyond the first of their kind: validations, notifications and what they tell of."""
    effects: Counter[tuple[str, ...]] = Counter()
    for claim in truth.claims:
        effects.update(("validation", claim.id, row.user) for row in claim.validations)
    for user in truth.users:
        for note in user.notes:
            about = [str(note.data.get(key)) for key in ("claim_id", "validation_id", "badge_id")]
            effects[(user.id, note.type, *about)] += 1
    return effects.total() - len(effects)


def _recovered_s(course: LoadRun, moments: Moments) -> float | None:
    outages = _shard(course).outages.all
    if any(not outage.caught_up_ns for outage in outages):
        return None
    last_ns = max([moments.healed_ns, *(outage.caught_up_ns for outage in outages)])
    return round(max(0, last_ns - moments.ended_ns) / NS, 2)
