"""What the metrics cost: the fan-out with them and without, in one process; and the page that is scraped."""

import asyncio

from .samples import Sample
from .sockets import Crowd, CrowdError
from .system import Entry, Process
from .trials import HOST, InvalidTrialError, Visitor, emit_apart, gather_crowd, us_per, visit

EVENTS = 40
SCRAPE_TIMEOUT_S = 10.0
LINE_BYTES = 65_536


async def metrics(visitor: Visitor, entry: Entry) -> list[Sample]:
    """CPU us per delivered message with metrics and without, in pairs of alternating order."""
    plan = visitor.plan
    names = {True: f"metrics_on@{plan.metrics_sockets}", False: f"metrics_off@{plan.metrics_sockets}"}
    samples: list[Sample] = []
    try:
        async with visit(visitor, entry) as (process, crowd):
            await gather_crowd(visitor, process, crowd, plan.metrics_sockets)
            await emit_apart(process, crowd, plan.warm_up_events(plan.metrics_sockets))
            for pair in range(plan.metrics_pairs):
                for on in (pair % 2 == 0, pair % 2 == 1):
                    process.keep_metrics(on)
                    us = await _fanout_us(process, crowd)
                    samples.append(Sample(names[on], entry.name, us))
    except (InvalidTrialError, CrowdError) as error:
        return [Sample(name, entry.name, None, str(error)) for name in names.values()]
    return samples


async def _fanout_us(process: Process, crowd: Crowd) -> float:
    return await us_per(process, lambda: emit_apart(process, crowd, EVENTS), EVENTS * len(crowd))


async def scrape(visitor: Visitor, entry: Entry) -> list[Sample]:
    """CPU ms for one answer of /metrics while many sockets are there."""
    plan = visitor.plan
    metric = f"scrape@{plan.scrape_sockets}"
    try:
        async with visit(visitor, entry) as (process, crowd):
            await gather_crowd(visitor, process, crowd, plan.scrape_sockets)
            await emit_apart(process, crowd, 1)
            us = await us_per(process, lambda: _scrapes(process.port, plan.scrapes), plan.scrapes)
            return [Sample(metric, entry.name, us / 1e3)]
    except (InvalidTrialError, CrowdError) as error:
        return [Sample(metric, entry.name, None, str(error))]


async def _scrapes(port: int, times: int) -> None:
    """Read the page so many times, as Prometheus does: over one connection. Raises InvalidTrialError."""
    reader, writer = await asyncio.open_connection(HOST, port, limit=LINE_BYTES)
    try:
        async with asyncio.timeout(SCRAPE_TIMEOUT_S):
            for _ in range(times):
                writer.write(f"GET /metrics HTTP/1.1\r\nHost: {HOST}:{port}\r\n\r\n".encode())
                page = await _answer(reader)
                if b"websocket_connected_sockets" not in page:
                    raise InvalidTrialError("what was scraped are no metrics")
    except TimeoutError:
        raise InvalidTrialError(f"{times} scrapes took more than {SCRAPE_TIMEOUT_S:.0f} s") from None
    finally:
        writer.close()


async def _answer(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    for line in head.lower().split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name == b"content-length":
            return await reader.readexactly(int(value))
    raise InvalidTrialError(f"the page has no length: {head[:100]!r}")
