"""Admission: caps of sockets, handshakes in turn, fair refusals; by both ways in, through real sockets."""

import asyncio
from collections.abc import Iterator

import httpx
import pytest

from tests.support.backend.node import Node, running_node
from tests.support.backend.raw import client_frame, raw_socket
from tests.support.backend.rest import Rest
from tests.support.backend.sockets import connected
from tests.support.backend.visits import Visit, answered, knock, visit
from tests.support.waiting import until, until_async

POLLING = "/ws/socket.io/?EIO=4&transport=polling"
LIBRARY_WAY = "/ws/socket.io/?EIO=4&transport=websocket&x=1"
"""An unknown parameter: such an opening goes the libraries' way."""
HERE, THERE, ELSEWHERE = "127.0.0.2", "127.0.0.3", "127.0.0.4"
REFUSALS = 'websocket_connect_refusals_total{{code="{}"}}'


@pytest.fixture(scope="module")
def capped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """A node with room for few."""
    with running_node(
        tmp_path_factory.mktemp("capped"),
        max_sockets_per_address=4,
        max_unauthenticated_per_address=2,
        max_sockets_per_user=2,
        handshake_retry_s=7,
        frames_burst=100,
        frames_per_s=50,
        abuse_limit=3,
    ) as node:
        yield node


@pytest.fixture(scope="module")
def narrow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """A node whose handshakes go in few at a time."""
    with running_node(
        tmp_path_factory.mktemp("narrow"), handshakes_at_once=24, handshake_queue=300, handshake_wait_s=30
    ) as node:
        yield node


def refusals(node: Node, code: str) -> float:
    return node.metrics()[REFUSALS.format(code)]


def sockets_of_node(node: Node) -> float:
    metrics = node.metrics()
    return sum(
        metrics[f'websocket_connected_sockets{{transport="{name}"}}'] for name in ("websocket", "polling")
    )


async def leave_all(visits: list[Visit]) -> None:
    for one in visits:
        one.leave()


async def until_empty(node: Node, address: str, path: str = "") -> None:
    """Return when this address may come again: what it had is no longer counted."""

    async def let_in() -> bool:
        again = await visit(node, address)
        again.leave()
        return again.status == 101

    await until_async(let_in, "room again")


# ---------------------------------------------------------------- caps


@pytest.mark.parametrize("path", ["", LIBRARY_WAY], ids=["short way", "libraries' way"])
async def test_one_unauthenticated_socket_too_many_is_refused(capped: Node, path: str) -> None:
    before = refusals(capped, "address_unauthenticated")
    first = [await visit(capped, HERE) for _ in range(2)]
    third = await (visit(capped, HERE, path=path) if path else visit(capped, HERE))
    await leave_all(first)
    assert ([one.status for one in first], third.status) == ([101, 101], 503)
    assert 1 <= int(third.headers["retry-after"]) <= 7
    assert refusals(capped, "address_unauthenticated") == before + 1
    await until_empty(capped, HERE)


async def test_long_polling_is_counted_and_refused_like_the_rest(capped: Node) -> None:
    first = [await visit(capped, "127.0.0.1") for _ in range(2)]
    async with httpx.AsyncClient(base_url=capped.url) as http:
        answer = await http.get(POLLING)
    await leave_all(first)
    assert (answer.status_code, "retry-after" in answer.headers) == (503, True)
    await until_empty(capped, "127.0.0.1")


async def test_sessions_on_long_polling_take_their_place(capped: Node) -> None:
    async with httpx.AsyncClient(base_url=capped.url) as http:
        opened = [await http.get(POLLING) for _ in range(3)]
        sids = [answer.text.partition('"sid":"')[2].partition('"')[0] for answer in opened[:2]]
        for sid in sids:
            await http.post(f"{POLLING}&sid={sid}", content="1")
    assert [answer.status_code for answer in opened] == [200, 200, 503]
    await until_empty(capped, "127.0.0.1")


async def test_other_addresses_are_not_refused(capped: Node) -> None:
    first = [await visit(capped, HERE) for _ in range(3)]
    other = await visit(capped, THERE)
    await leave_all([*first, other])
    assert (first[2].status, other.status) == (503, 101)
    await until_empty(capped, HERE)


async def test_who_authenticated_makes_room_for_the_next_but_counts_on(capped: Node) -> None:
    async with Rest(capped.url) as rest:
        people = await rest.accounts(3)
    inside: list[Visit] = []
    for who in [*people, people[0]]:
        inside.append(await visit(capped, THERE))
        assert await inside[-1].authenticate(who.token)
    fifth = await visit(capped, THERE)
    before = refusals(capped, "address_sockets")
    await leave_all(inside)
    assert (fifth.status, before) == (503, 1)
    await until_empty(capped, THERE)


async def test_an_opening_that_goes_nowhere_gives_its_place_back(capped: Node) -> None:
    for _ in range(5):
        bad = await visit(capped, ELSEWHERE, path="/ws/socket.io/?EIO=3&transport=websocket")
        assert bad.status == 403
    await until_empty(capped, ELSEWHERE)


async def test_behind_a_proxy_each_client_has_its_own_place(capped: Node) -> None:
    names = ["198.51.100.1", "198.51.100.1", "198.51.100.1", "198.51.100.2"]
    found = [await visit(capped, "127.0.0.1", forwarded_for=name) for name in names]
    await leave_all(found)
    assert [one.status for one in found] == [101, 101, 503, 101]


async def test_a_stranger_cannot_pretend_to_be_many(capped: Node) -> None:
    found = [await visit(capped, HERE, forwarded_for=f"198.51.100.{number}") for number in range(3)]
    await leave_all(found)
    assert [one.status for one in found] == [101, 101, 503]
    await until_empty(capped, HERE)


async def test_one_socket_too_many_of_a_user_ends_the_oldest(capped: Node) -> None:
    async with Rest(capped.url) as rest:
        ann = await rest.account()
    async with (
        connected(capped.url, ann) as first,
        connected(capped.url, ann) as second,
        connected(capped.url, ann) as third,
    ):
        await until(lambda: first.gone, "the oldest is ended")
        await second.settle()
        await third.settle()
        assert [error["code"] for error in first.named("auth_error")] == ["too_many_sockets"]
        assert (second.gone, third.gone) == (False, False)


async def test_a_flood_of_frames_that_mean_nothing_is_ended(capped: Node) -> None:
    async with Rest(capped.url) as rest:
        ann = await rest.account()
    before = capped.metrics()['websocket_aborts_total{reason="flood"}']
    async with connected(capped.url, ann) as neighbour, raw_socket(capped) as raw:
        for _ in range(200):
            await raw.send_bytes(client_frame(b"x", 0xA) * 200)
            if raw.closed:
                break
        await raw.until_closed()
        await neighbour.settle()
    assert capped.metrics()['websocket_aborts_total{reason="flood"}'] == before + 1


# ---------------------------------------------------------------- the queue


async def _flood(node: Node, address: str, count: int) -> list[Visit]:
    """So many openings at once, of which nobody ever says a word."""
    gate = asyncio.Semaphore(100)

    async def one() -> Visit:
        async with gate:
            return await knock(node, address)

    return await asyncio.gather(*(one() for _ in range(count)))


async def test_who_comes_from_elsewhere_gets_in_while_an_address_floods(narrow: Node) -> None:
    async with Rest(narrow.url) as rest:
        people = await rest.accounts(20)
    flood = await _flood(narrow, HERE, 2_000)
    tasks = [asyncio.create_task(answered(one)) for one in flood]

    async def come(token: str) -> bool:
        legitimate = await visit(narrow, THERE)
        done = legitimate.status == 101 and await legitimate.authenticate(token)
        legitimate.leave()
        return done

    came = await asyncio.gather(*(come(who.token) for who in people))
    at_that_time = sum(1 for task in tasks if task.done() and task.result().status == 101)
    await leave_all(flood)
    await asyncio.gather(*tasks)
    assert sum(came) == len(people)
    # The flood got in at most in turn with the others, hands that were free at its beginning apart.
    assert at_that_time / 2_000 < 0.5
    assert refusals(narrow, "busy") > 0


async def test_a_flood_leaves_nothing_behind(narrow: Node) -> None:
    flood = await _flood(narrow, HERE, 500)
    await leave_all(flood)

    async def nobody_waits() -> bool:
        metrics = narrow.metrics()
        return (
            metrics["websocket_handshakes_waiting"] == metrics["websocket_handshakes_at_work"] == 0
            and sockets_of_node(narrow) == 0
        )

    await until_async(nobody_waits, "nothing is left")
    assert "Traceback" not in narrow.log()


async def test_who_speaks_before_the_answer_is_dropped(narrow: Node) -> None:
    flood = await _flood(narrow, HERE, 100)
    hasty = await knock(narrow, HERE)
    await hasty.writer.drain()
    hasty.writer.write(client_frame(b"40"))
    after = await answered(hasty)
    await leave_all([*flood, hasty])
    assert after.status in (0, 101)
    assert "Traceback" not in narrow.log()
