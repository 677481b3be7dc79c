"""What the bus costs a node that is not concerned: notifications of other nodes for users it does not have.

The node that is measured has sockets of its own and is alone on its core. The other nodes are processes of
the same kind, at most `bus_senders` of them; with fewer, one sends what several would.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace

from .samples import Sample
from .sockets import Crowd, CrowdError
from .system import Entry, Process
from .trials import CALM_PING_INTERVAL_S, HOST, InvalidTrialError, Visitor, gather_crowd, settle
from .valkey import Counter, running_valkey
from .workload import ServerOptions

SOCKETS = 200
REST_S = 2.0
PUBLISH_TIMEOUT_S = 30.0
POLL_S = 0.05


async def bus(visitor: Visitor, entry: Entry) -> list[Sample]:
    """CPU ms of one node while each of the others sends `bus_notifications`, beyond what it uses at rest."""
    plan = visitor.plan
    samples: list[Sample] = []
    try:
        async with _nodes(visitor, entry) as (measured, senders, sent):
            rest = await _share_at_rest(measured)
            for nodes in plan.bus_nodes:
                total = (nodes - 1) * plan.bus_notifications
                cost_s = await _cost_s(measured, senders[: nodes - 1], sent, total, rest)
                samples.append(Sample(f"bus@{nodes}", entry.name, cost_s * 1e3))
    except (InvalidTrialError, CrowdError) as error:
        missing = plan.bus_nodes[len(samples) :]
        samples += [Sample(f"bus@{nodes}", entry.name, None, str(error)) for nodes in missing]
    return samples


@asynccontextmanager
async def _nodes(visitor: Visitor, entry: Entry) -> AsyncIterator[tuple[Process, Sequence[Process], Counter]]:
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
            Process(entry, options, visitor.server_core),
            *(Process(entry, quiet, visitor.crowd_core) for _ in range(others)),
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
        sender.notify(total // len(senders) + (number < total % len(senders)))
    while await sent.read() - before < total:
        if time.monotonic() - started_s > PUBLISH_TIMEOUT_S:
            raise InvalidTrialError(f"not all {total} notifications were published in time")
        await asyncio.sleep(POLL_S)
    await settle(measured)
    return measured.cpu_s() - before_s - rest * (time.monotonic() - started_s)
