"""One visit to one contestant: start it, bring a crowd, measure, end it.

A trial yields samples; one whose deliveries are not complete yields its reason instead of a figure.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace

from simulator.socketio_client import Endpoint
from simulator.target.http_client import RestClient, RestError

from .plan import Plan, ServerOptions
from .samples import Sample
from .sockets import Crowd, CrowdError
from .system import Counter, Process, running_valkey

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
    visitor: Visitor, name: str, ping_interval_s: float = CALM_PING_INTERVAL_S
) -> AsyncIterator[tuple[Process, Crowd]]:
    """A fresh server and an empty crowd."""
    options = ServerOptions(
        users=len(visitor.tokens), ping_interval_s=ping_interval_s, ping_timeout_s=CALM_PING_INTERVAL_S
    )
    async with Process(name, options, visitor.server_core) as process:
        visitor.versions[name] = process.versions
        crowd = Crowd(HOST, process.port)
        try:
            yield process, crowd
        finally:
            crowd.close()
            await asyncio.sleep(0)


async def settle(process: Process) -> None:
    """Return once the server has nothing left to do. Raises InvalidTrialError."""
    if not await at_rest(process.cpu_s, QUIET_TIMEOUT_S):
        raise InvalidTrialError("the server does not come to rest")


async def at_rest(cpu_s: Callable[[], float], timeout_s: float) -> bool:
    """Wait until a process uses hardly any CPU time; False when it still did at the end."""
    deadline_s = time.monotonic() + timeout_s
    while True:
        before_s = cpu_s()
        await asyncio.sleep(QUIET_S)
        if cpu_s() - before_s < QUIET_SHARE * QUIET_S:
            return True
        if time.monotonic() > deadline_s:
            return False


async def gather_crowd(visitor: Visitor, process: Process, crowd: Crowd, size: int) -> None:
    """Grow the crowd to `size` sockets, all of them in the room. Raises CrowdError, InvalidTrialError."""
    tokens = visitor.tokens[len(crowd) : size]
    await crowd.connect(tokens, visitor.plan.connects_at_once)
    try:
        async with asyncio.timeout(MEMBERS_TIMEOUT_S):
            while (members := int(await process.ask("members"))) != size:  # noqa: ASYNC110 - another process
                await asyncio.sleep(0.01)
    except TimeoutError:
        raise InvalidTrialError(f"{members} of {size} sockets are in the room") from None


async def emit_apart(process: Process, crowd: Crowd, events: int) -> None:
    """Fan out one event after the other, each complete before the next. Raises InvalidTrialError."""
    for _ in range(events):
        crowd.expect(1)
        process.send("emit")
        await _completed(crowd, 1)


async def emit_together(process: Process, crowd: Crowd, events: int) -> None:
    """Fan out many events at once. Raises InvalidTrialError."""
    crowd.expect(events)
    process.send(f"burst {events}")
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


async def crowd_trial(visitor: Visitor, size: int, wanted: Sequence[str], name: str) -> list[Sample]:
    """What one crowd costs: CPU per delivered message of events apart (`fanout@size`) and of many at once
    (`burst@size`), then CPU per further connection (`connect@size`): websocket, token verified, two rooms
    joined.
    """
    plan = visitor.plan
    samples: list[Sample] = []
    metrics = {what: f"{what}@{size}" for what in wanted if plan.takes_part(name, f"{what}@{size}")}
    measures = {"fanout": _fanout_us, "burst": _burst_us, "connect": _connect_us}
    try:
        async with visit(visitor, name) as (process, crowd):
            await gather_crowd(visitor, process, crowd, size)
            await emit_apart(process, crowd, plan.warm_up_events(size))
            for what, metric in metrics.items():
                samples.append(Sample(metric, name, await measures[what](visitor, process, crowd)))
    except (InvalidTrialError, CrowdError) as error:
        samples += invalid(list(metrics.values())[len(samples) :], name, str(error))
    return samples


def invalid(metrics: Sequence[str], name: str, reason: str) -> list[Sample]:
    """Repetitions without a figure."""
    return [Sample(metric, name, None, reason) for metric in metrics]


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


async def idle(visitor: Visitor, name: str) -> list[Sample]:
    """Memory per idle socket, from the growth between two sizes, each after a heartbeat of every socket.

    Raises InvalidTrialError, CrowdError, as all trials of which nothing is left when they fail.
    """
    few, many = visitor.plan.idle_sockets
    interval_s = visitor.plan.idle_ping_interval_s
    async with visit(visitor, name, ping_interval_s=interval_s) as (process, crowd):
        readings = []
        for size in (few, many):
            await gather_crowd(visitor, process, crowd, size)
            if not await crowd.heartbeat(BEATS * interval_s + BEAT_GRACE_S):
                raise InvalidTrialError("not every socket had a heartbeat")
            await process.ask("collect")
            readings.append(process.memory())
        if crowd.lost:
            raise InvalidTrialError(f"{crowd.lost} idle sockets were lost")
    before, after = readings
    return [
        Sample(f"idle_rss@{many}", name, (after.rss_kib - before.rss_kib) / (many - few)),
        Sample(f"idle_private@{many}", name, (after.private_kib - before.private_kib) / (many - few)),
    ]


# What the bus costs a node that is not concerned: notifications of other nodes for users it does not have.
# The measured node has sockets of its own and is alone on its core. The other nodes are processes of the
# same kind, at most `bus_senders` of them; with fewer, one sends what several would.

SOCKETS = 200
REST_S = 2.0
PUBLISH_TIMEOUT_S = 30.0
POLL_S = 0.05


async def bus(visitor: Visitor, name: str) -> list[Sample]:
    """CPU ms of one node while each of the others sends `bus_notifications`, beyond what it uses at rest."""
    plan = visitor.plan
    samples: list[Sample] = []
    try:
        async with _nodes(visitor, name) as (measured, senders, sent):
            rest = await _share_at_rest(measured)
            for nodes in plan.bus_nodes:
                total = (nodes - 1) * plan.bus_notifications
                cost_s = await _cost_s(measured, senders[: nodes - 1], sent, total, rest)
                samples.append(Sample(f"bus@{nodes}", name, cost_s * 1e3))
    except (InvalidTrialError, CrowdError) as error:
        missing = [f"bus@{nodes}" for nodes in plan.bus_nodes[len(samples) :]]
        samples += invalid(missing, name, str(error))
    return samples


@asynccontextmanager
async def _nodes(visitor: Visitor, name: str) -> AsyncIterator[tuple[Process, Sequence[Process], Counter]]:
    """The measured node with its sockets, the other nodes, and how many messages the bus was given."""
    others = min(visitor.plan.bus_senders, max(visitor.plan.bus_nodes) - 1)
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(running_valkey())
        options = ServerOptions(
            users=SOCKETS,
            ping_interval_s=CALM_PING_INTERVAL_S,
            ping_timeout_s=CALM_PING_INTERVAL_S,
            bus_url=url,
        )
        quiet = replace(options, users=0)
        measured, *senders = await _started(
            stack,
            Process(name, options, visitor.server_core),
            *(Process(name, quiet, visitor.crowd_core) for _ in range(others)),
        )
        crowd = Crowd(HOST, measured.port)
        stack.callback(crowd.close)
        await gather_crowd(visitor, measured, crowd, SOCKETS)
        await settle(measured)
        yield measured, senders, await stack.enter_async_context(Counter(url))


async def _started(stack: AsyncExitStack, *processes: Process) -> list[Process]:
    """Start all at once; the stack ends those that did start. Raises ContestantError."""
    entering = [stack.enter_async_context(process) for process in processes]
    started = await asyncio.gather(*entering, return_exceptions=True)
    for outcome in started:
        if isinstance(outcome, BaseException):
            raise outcome
    return list(processes)


async def _share_at_rest(process: Process) -> float:
    """CPU seconds per second with nothing to do: heartbeats, timers."""
    before_s, started_s = process.cpu_s(), time.monotonic()
    await asyncio.sleep(REST_S)
    return (process.cpu_s() - before_s) / (time.monotonic() - started_s)


async def _cost_s(
    measured: Process, senders: Sequence[Process], sent: Counter, total: int, rest: float
) -> float:
    before, started_s = await sent.read(), time.monotonic()
    before_s = measured.cpu_s()
    for number, sender in enumerate(senders):
        sender.send(f"notify {total // len(senders) + (number < total % len(senders))}")
    while await sent.read() - before < total:
        if time.monotonic() - started_s > PUBLISH_TIMEOUT_S:
            raise InvalidTrialError(f"not all {total} notifications were published in time")
        await asyncio.sleep(POLL_S)
    await settle(measured)
    return measured.cpu_s() - before_s - rest * (time.monotonic() - started_s)


EVENTS = 40
SCRAPE_TIMEOUT_S = 10.0


async def metrics(visitor: Visitor, name: str) -> list[Sample]:
    """CPU us per delivered message with metrics and without: alternating pairs within one process."""
    plan = visitor.plan
    samples: list[Sample] = []
    async with visit(visitor, name) as (process, crowd):
        await gather_crowd(visitor, process, crowd, plan.metrics_sockets)
        await emit_apart(process, crowd, plan.warm_up_events(plan.metrics_sockets))
        for pair in range(plan.metrics_pairs):
            for on in (pair % 2 == 0, pair % 2 == 1):
                which = "on" if on else "off"
                process.send(f"metrics {which}")
                us = await us_per(process, lambda: emit_apart(process, crowd, EVENTS), EVENTS * len(crowd))
                samples.append(Sample(f"metrics_{which}@{plan.metrics_sockets}", name, us))
    return samples


async def scrape(visitor: Visitor, name: str) -> list[Sample]:
    """CPU ms for one answer of /metrics while many sockets are there."""
    plan = visitor.plan
    async with visit(visitor, name) as (process, crowd):
        await gather_crowd(visitor, process, crowd, plan.scrape_sockets)
        await emit_apart(process, crowd, 1)
        us = await us_per(process, lambda: _scrapes(process.port, plan.scrapes), plan.scrapes)
    return [Sample(f"scrape@{plan.scrape_sockets}", name, us / 1e3)]


async def _scrapes(port: int, times: int) -> None:
    """Read the page so many times, as Prometheus does: over one connection. Raises InvalidTrialError."""
    client = RestClient(Endpoint.parse(f"http://{HOST}:{port}"))
    try:
        for _ in range(times):
            page = await client.request("GET", "/metrics", timeout_s=SCRAPE_TIMEOUT_S)
            if b"websocket_connected_sockets" not in page.body:
                raise InvalidTrialError("what was scraped are no metrics")
    except RestError as error:
        raise InvalidTrialError(f"a scrape failed: {error}") from None
    finally:
        await client.close()
