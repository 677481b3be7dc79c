"""What readings at two moments say: of the generator and its loop, and of the counters of several nodes."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import cycle

import pytest

from simulator.generator.publisher import Dispatch
from simulator.histogram import Histogram
from simulator.host import LoopLag, latenesses_us
from simulator.run.collect import Meter, Page, generator_of, growth, left_out, parse, scrape
from simulator.socketio_client import Endpoint
from simulator.verdict import Honesty, judge
from tests.support.simulator.findings import findings
from tests.support.waiting import until

NS = 1_000_000_000
HOUR_NS = 3_600 * NS


def test_a_publish_the_harness_did_not_understand_is_its_own_error() -> None:
    before, after = (
        Meter(at_s * NS, own_cpu_s=0.0, server_cpu_s=0.0, server_rss_bytes=0, service_cpu_s={}, workers=[])
        for at_s in (0, 10)
    )
    found = generator_of(before, after, [], Dispatch(doubts=2), Histogram(), overrun="", lost=[])
    assert found.handler_errors == 2


# -------------------------------------------------------------- the loop of the harness


async def probed(since_ns: int, until_ns: int) -> LoopLag:
    """A loop that woke up late at least once."""
    lag = LoopLag()
    probing = asyncio.ensure_future(lag.run(since_ns, until_ns))
    await until(lambda: lag.take_worst_ms() > 0, timeout_s=30)
    probing.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await probing
    return lag


@pytest.mark.parametrize(
    ("hours", "counts"), [(0, True), (1, False), (-2, False)], ids=["load", "before", "after"]
)
async def test_only_what_was_late_during_the_load_counts(hours: int, counts: bool) -> None:
    """The quiet before and after it does not dilute it. hours: from now to the start of an hour of load."""
    since_ns = time.monotonic_ns() + hours * HOUR_NS
    assert ((await probed(since_ns, since_ns + HOUR_NS)).histogram.count > 0) == counts


def lag_of(*lates_ms: float) -> LoopLag:
    """A loop that woke up so late, one probe after the other."""
    lag = LoopLag()
    for late_ms in lates_ms:
        lag.woke(0, round(late_ms * 1_000_000))
    return lag


def test_a_loop_that_stands_still_a_fifth_of_the_time_is_late_a_fifth_of_the_time() -> None:
    """Frozen for 1 s in every 5 s: what was due meanwhile was late as well, though nobody woke to probe."""
    latency = lag_of(*([0.5] * 400 + [1_000.0]) * 12).histogram.latency()
    assert latency.p90 > 400
    assert latency.p99 > 900


def test_a_loop_that_is_always_a_little_late_is_probed_as_often_as_it_wakes() -> None:
    assert lag_of(*[4.0] * 100).histogram.count == 100


def test_a_probe_that_was_not_late_is_one_probe() -> None:
    assert latenesses_us(0, 10) == [0]


def test_each_probe_that_was_due_meanwhile_was_late_by_the_rest() -> None:
    assert latenesses_us(35, 10) == [35, 25, 15, 5]


@pytest.mark.parametrize("frozen_s", [0.2, 1.0, 3.0])
def test_a_generator_that_stands_still_a_fifth_of_the_time_is_not_believed(frozen_s: float) -> None:
    quiet = [0.5] * round(400 * frozen_s)
    latency = lag_of(*[*quiet, frozen_s * 1_000] * 12).histogram.latency()
    found = findings(generator__loop_lag_ms=latency.model_dump())
    assert judge(found, {}, Honesty()).verdict == "INVALID"


def test_a_hiccup_of_a_fifth_of_a_second_every_ten_seconds_is_believed() -> None:
    latency = lag_of(*[*[2.0] * 980, 200.0] * 3).histogram.latency()
    found = findings(generator__loop_lag_ms=latency.model_dump())
    assert judge(found, {}, Honesty()).verdict == "PASS"


# -------------------------------------------------------------- counters of several nodes


PAGE = """# HELP events_total Events.
# TYPE events_total counter
events_total{type="a"} 3
events_total{type="b"} 4
push_seconds_bucket{le="1"} 9
push_seconds_count 9
push_seconds_sum 0.5
sockets 12
# TYPE handles_total gauge
handles_total 5
process_start_time_seconds 1.7e+09
"""


def pages(**events: float) -> dict[str, Page]:
    return {node: Page({"events_total": count}) for node, count in events.items()}


@asynccontextmanager
async def serving(*texts: str) -> AsyncIterator[str]:
    """The address of a server that answers with one text after the other, as a balancer does."""
    turns = cycle(texts)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        body = next(turns).encode()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
        await writer.drain()
        await reader.read()
        writer.close()

    listener = await asyncio.start_server(answer, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
    finally:
        listener.close()


def test_a_page_has_its_counters_summed_over_labels_and_the_start_of_its_process() -> None:
    assert parse(PAGE) == Page({"events_total": 7, "push_seconds_count": 9, "push_seconds_sum": 0.5}, 1.7e9)


async def test_every_node_behind_a_balancer_is_asked() -> None:
    first, second = "events_total 1\n", "events_total 2\n"
    async with serving(first) as one, serving(second) as two, serving(first, second) as balancer:
        ready = {"nodes": [{"name": "node-1", "url": one}, {"name": "node-2", "url": two}]}
        found = await scrape(Endpoint.parse(balancer), ready)
    assert {node: page.counters["events_total"] for node, page in found.items()} == {"node-1": 1, "node-2": 2}


async def test_a_server_that_names_no_nodes_is_asked_itself() -> None:
    async with serving(PAGE) as url:
        found = await scrape(Endpoint.parse(url), {"ready": True, "url": url})
    assert [page.counters["events_total"] for page in found.values()] == [7]


async def test_a_node_that_does_not_answer_has_no_page() -> None:
    async with serving(PAGE) as gone:
        pass
    async with serving(PAGE) as here:
        ready = {"nodes": [{"name": "here", "url": here}, {"name": "gone", "url": gone}]}
        assert list(await scrape(Endpoint.parse(here), ready)) == ["here"]


AGAIN = [
    pages(a=a) | {"b": Page({"events_total": b}, start)} for a, b, start in ((10, 100, 1.0), (13, 900, 2.0))
]
GROWTHS = {
    "that of all nodes": (pages(a=10, b=100), pages(a=13, b=104), {"events_total": 7}),
    "without what did not grow": (pages(a=10), pages(a=10), {}),
    "without a node whose counters fell": (pages(a=10, b=100), pages(a=13, b=5), {"events_total": 3}),
    "without a node that started again, however much it counted": (*AGAIN, {"events_total": 3}),
}


@pytest.mark.parametrize(("before", "after", "grown"), GROWTHS.values(), ids=GROWTHS)
def test_the_growth(before: dict[str, Page], after: dict[str, Page], grown: dict[str, int]) -> None:
    assert growth(before, after) == grown


def test_what_is_left_out_is_named() -> None:
    assert left_out(pages(a=10, b=100), pages(a=13, b=5, c=1)).startswith("server.metrics are without b, c:")


@pytest.mark.parametrize(
    ("before", "after"), [(pages(a=10, b=100), pages(a=13, b=105)), ({}, {}), (pages(a=1), {})]
)
def test_nothing_is_said_when_all_are_in_or_there_are_no_metrics(
    before: dict[str, Page], after: dict[str, Page]
) -> None:
    assert left_out(before, after) == ""
