"""What the bus costs a node that is not concerned: notifications of other nodes for users it does not have.

One process publishes what `nodes - 1` other nodes would; the node that is measured has sockets of its own.
"""

import asyncio
from dataclasses import replace

from .contestant import Entry, Process
from .crowd import Crowd, CrowdError
from .series import Sample
from .trials import CALM_PING_INTERVAL_S, HOST, InvalidTrialError, Visitor, gather_crowd
from .valkey import published, running_valkey
from .workload import ServerOptions

SOCKETS = 200
WATCH_S = 4.0
PUBLISH_TIMEOUT_S = 60.0


async def bus(visitor: Visitor, entry: Entry, nodes: int) -> list[Sample]:
    """CPU ms of one node while each of the others sends `bus_notifications`, beyond what it uses at rest."""
    metric = f"bus@{nodes}"
    try:
        async with running_valkey() as url:
            ms = await _cost_ms(visitor, entry, url, (nodes - 1) * visitor.plan.bus_notifications)
    except (InvalidTrialError, CrowdError) as error:
        return [Sample(metric, entry.name, None, str(error))]
    return [Sample(metric, entry.name, ms)]


async def _cost_ms(visitor: Visitor, entry: Entry, url: str, notifications: int) -> float:
    options = ServerOptions(
        users=SOCKETS,
        ping_interval_s=CALM_PING_INTERVAL_S,
        ping_timeout_s=CALM_PING_INTERVAL_S,
        bus_url=url,
    )
    async with (
        Process(entry, options, visitor.server_core) as measured,
        Process(entry, replace(options, users=0), None) as sender,
    ):
        crowd = Crowd(HOST, measured.port)
        try:
            await gather_crowd(visitor, measured, crowd, SOCKETS)
            await asyncio.sleep(WATCH_S / 2)
            rest_s = await _cpu_over(measured)
            started = await published(url)
            busy = asyncio.create_task(_cpu_over(measured))
            sender.notify(notifications)
            busy_s = await busy
            if await published(url) - started < notifications:
                raise InvalidTrialError(f"not all {notifications} notifications were published in time")
            return (busy_s - rest_s) * 1e3
        finally:
            crowd.close()


async def _cpu_over(process: Process) -> float:
    before_s = process.cpu_s()
    await asyncio.sleep(WATCH_S)
    return process.cpu_s() - before_s
