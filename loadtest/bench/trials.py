"""One visit to one contestant: start it, bring a crowd, measure, end it.

A trial yields samples; one whose deliveries are not complete yields its reason instead of a figure.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from .plan import Plan
from .samples import Sample
from .sockets import Crowd, CrowdError
from .system import Entry, Process
from .workload import ServerOptions

HOST = "127.0.0.1"
DELIVERY_TIMEOUT_S = 120.0
QUIET_S = 0.3
"""Nothing is measured until the server has been idle for this long."""
QUIET_TIMEOUT_S = 30.0
QUIET_SHARE = 0.03
MEMBERS_TIMEOUT_S = 60.0
CALM_PING_INTERVAL_S = 120.0
"""No heartbeat falls into a fan-out."""
BEATS = 3
BEAT_GRACE_S = 5.0


class InvalidTrialError(Exception):
    """What was measured must not be believed; the message says why."""


@dataclass(frozen=True, slots=True)
class Visitor:
    """Everything that is the same for all visits of a run."""

    plan: Plan
    tokens: Sequence[str]
    server_core: int | None
    crowd_core: int | None
    versions: dict[str, dict[str, str]] = field(default_factory=dict)
    """What each contestant said it is made of."""


@asynccontextmanager
async def visit(
    visitor: Visitor, entry: Entry, ping_interval_s: float = CALM_PING_INTERVAL_S
) -> AsyncIterator[tuple[Process, Crowd]]:
    """A fresh server and an empty crowd."""
    options = ServerOptions(
        users=len(visitor.tokens), ping_interval_s=ping_interval_s, ping_timeout_s=CALM_PING_INTERVAL_S
    )
    async with Process(entry, options, visitor.server_core) as process:
        visitor.versions[entry.name] = process.versions
        crowd = Crowd(HOST, process.port)
        try:
            yield process, crowd
        finally:
            crowd.close()
            await asyncio.sleep(0)


async def settle(process: Process) -> None:
    """Return once the server has nothing left to do. Raises InvalidTrialError."""
    loop = asyncio.get_running_loop()
    deadline_s = loop.time() + QUIET_TIMEOUT_S
    while True:
        before_s = process.cpu_s()
        await asyncio.sleep(QUIET_S)
        if process.cpu_s() - before_s < QUIET_SHARE * QUIET_S:
            return
        if loop.time() > deadline_s:
            raise InvalidTrialError("the server does not come to rest")


async def gather_crowd(visitor: Visitor, process: Process, crowd: Crowd, size: int) -> None:
    """Grow the crowd to `size` sockets, all of them in the room. Raises CrowdError, InvalidTrialError."""
    tokens = visitor.tokens[len(crowd) : size]
    await crowd.connect(tokens, visitor.plan.connects_at_once)
    try:
        async with asyncio.timeout(MEMBERS_TIMEOUT_S):
            while (members := await process.members()) != size:  # noqa: ASYNC110 - another process
                await asyncio.sleep(0.01)
    except TimeoutError:
        raise InvalidTrialError(f"{members} of {size} sockets are in the room") from None


async def emit_apart(process: Process, crowd: Crowd, events: int) -> None:
    """Fan out one event after the other, each complete before the next. Raises InvalidTrialError."""
    for _ in range(events):
        crowd.expect(1)
        process.emit()
        await _completed(crowd, 1)


async def emit_together(process: Process, crowd: Crowd, events: int) -> None:
    """Fan out many events at once. Raises InvalidTrialError."""
    crowd.expect(events)
    process.burst(events)
    await _completed(crowd, events)


async def _completed(crowd: Crowd, events: int) -> None:
    complete = await crowd.complete(DELIVERY_TIMEOUT_S)
    wrong = crowd.miscounts(events)
    if not complete or wrong or crowd.lost:
        raise InvalidTrialError(f"{wrong} clients miscounted, {crowd.lost} were lost, complete: {complete}")


async def us_per(process: Process, work: Callable[[], Awaitable[None]], units: int) -> float:
    """CPU us of the server for each of so many units, begun at rest. Raises what the work raises."""
    await settle(process)
    before_s = process.cpu_s()
    await work()
    return (process.cpu_s() - before_s) / units * 1e6


# ------------------------------------------------------------------ the trials


async def crowd_trial(visitor: Visitor, size: int, wanted: Sequence[str], entry: Entry) -> list[Sample]:
    """What one crowd costs: CPU per delivered message of events apart (`fanout@size`) and of many at once
    (`burst@size`), then CPU per further connection (`connect@size`): websocket, token verified, two rooms
    joined.
    """
    plan = visitor.plan
    samples: list[Sample] = []
    wanted = [name for name in wanted if plan.takes_part(entry.name, f"{name}@{size}")]
    measures = {"fanout": _fanout_us, "burst": _burst_us, "connect": _connect_us}
    try:
        async with visit(visitor, entry) as (process, crowd):
            await gather_crowd(visitor, process, crowd, size)
            await emit_apart(process, crowd, plan.warm_up_events(size))
            for name in wanted:
                us = await measures[name](visitor, process, crowd)
                samples.append(Sample(f"{name}@{size}", entry.name, us))
    except (InvalidTrialError, CrowdError) as error:
        samples += [Sample(f"{name}@{size}", entry.name, None, str(error)) for name in wanted[len(samples) :]]
    return samples


async def _fanout_us(visitor: Visitor, process: Process, crowd: Crowd) -> float:
    events = visitor.plan.events_for(process.name, len(crowd))
    return await us_per(process, lambda: emit_apart(process, crowd, events), events * len(crowd))


async def _burst_us(visitor: Visitor, process: Process, crowd: Crowd) -> float:
    events = visitor.plan.burst_events
    await emit_together(process, crowd, visitor.plan.warm_up_events(len(crowd)))
    return await us_per(process, lambda: emit_together(process, crowd, events), events * len(crowd))


async def _connect_us(visitor: Visitor, process: Process, crowd: Crowd) -> float:
    connects = visitor.plan.connects
    grown = len(crowd) + connects
    return await us_per(process, lambda: gather_crowd(visitor, process, crowd, grown), connects)


async def idle(visitor: Visitor, entry: Entry) -> list[Sample]:
    """Memory per idle socket, from the growth between two sizes, each after a heartbeat of every socket."""
    few, many = visitor.plan.idle_sockets
    interval_s = visitor.plan.idle_ping_interval_s
    names = (f"idle_rss@{many}", f"idle_private@{many}")
    try:
        async with visit(visitor, entry, ping_interval_s=interval_s) as (process, crowd):
            readings = []
            for size in (few, many):
                await gather_crowd(visitor, process, crowd, size)
                if not await crowd.heartbeat(BEATS * interval_s + BEAT_GRACE_S):
                    raise InvalidTrialError("not every socket had a heartbeat")
                await process.collect()
                readings.append(process.memory())
            if crowd.lost:
                raise InvalidTrialError(f"{crowd.lost} idle sockets were lost")
    except (InvalidTrialError, CrowdError) as error:
        return [Sample(name, entry.name, None, str(error)) for name in names]
    before, after = readings
    grown_kib = (after.rss_kib - before.rss_kib, after.private_kib - before.private_kib)
    return [Sample(name, entry.name, kib / (many - few)) for name, kib in zip(names, grown_kib, strict=True)]
