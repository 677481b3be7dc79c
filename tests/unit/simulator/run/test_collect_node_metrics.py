"""Counters of several nodes: each is asked for its own, and what restarted is compared with nothing."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import cycle

from simulator.run.collect import Page, growth, left_out, parse, scrape
from simulator.socketio_client import Endpoint

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


def test_the_growth_is_that_of_all_nodes() -> None:
    assert growth(pages(a=10, b=100), pages(a=13, b=104)) == {"events_total": 7}


def test_what_did_not_grow_is_left_out() -> None:
    assert growth(pages(a=10), pages(a=10)) == {}


def test_a_node_whose_counters_fell_is_left_out() -> None:
    assert growth(pages(a=10, b=100), pages(a=13, b=5)) == {"events_total": 3}


def test_a_node_that_started_again_is_left_out_however_much_it_counted() -> None:
    before = pages(a=10) | {"b": Page({"events_total": 100}, 1.0)}
    after = pages(a=13) | {"b": Page({"events_total": 900}, 2.0)}
    assert growth(before, after) == {"events_total": 3}


def test_what_is_left_out_is_named() -> None:
    assert left_out(pages(a=10, b=100), pages(a=13, b=5, c=1)).startswith("server.metrics are without b, c:")


def test_nothing_is_said_when_all_are_in() -> None:
    assert left_out(pages(a=10, b=100), pages(a=13, b=105)) == ""


def test_nothing_is_said_of_a_server_without_metrics() -> None:
    assert (left_out({}, {}), left_out(pages(a=1), {})) == ("", "")
