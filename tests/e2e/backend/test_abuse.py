"""Clients that misbehave: they are told, or ended; the node goes on, and its other sockets notice nothing."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import httpx
import pytest

from tests.support.backend.node import Node, running_node
from tests.support.backend.raw import RawSocket, client_frame, raw_socket
from tests.support.backend.rest import Account, Rest
from tests.support.backend.sockets import Witness, connected
from tests.support.backend.traffic import NEVER, flowing
from tests.support.waiting import until, until_async

ENGINE = "/ws/socket.io/?EIO=4&transport=polling"


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """A node with little patience, but for silence."""
    with running_node(
        tmp_path_factory.mktemp("strict"),
        abuse_limit=6,
        events_per_s=200,
        events_burst=60,
        max_message_bytes=4_096,
        max_watches=3,
        slow_abort_s=0.4,
    ) as node:
        yield node


@pytest.fixture(scope="module")
def nervous(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """A node whose heart beats fast."""
    with running_node(tmp_path_factory.mktemp("nervous"), ping_interval_s=0.2, ping_timeout_s=2.0) as node:
        yield node


@asynccontextmanager
async def bad_and_good(node: Node) -> AsyncIterator[tuple[RawSocket, Witness, Rest, Account]]:
    """An authenticated raw socket of one user, and the well-behaved socket of another."""
    async with Rest(node.url) as rest:
        bad, good = await rest.accounts(2)
        async with connected(node.url, good) as neighbour, raw_socket(node) as raw:
            await raw.send(f'40{{"token":"{bad.token}"}}')
            await raw.until_heard("authenticated")
            yield raw, neighbour, rest, bad


async def unharmed(node: Node, neighbour: Witness) -> None:
    """The neighbour is served, and nothing unexpected is in the log."""
    await neighbour.settle()
    assert not neighbour.gone
    assert "Traceback" not in node.log()


async def aborted(node: Node, reason: str, before: dict[str, float]) -> None:
    name = f'websocket_aborts_total{{reason="{reason}"}}'

    async def counted() -> bool:
        return (await asyncio.to_thread(node.metrics))[name] > before[name]

    await until_async(counted, f"aborted: {reason}")


# ---------------------------------------------------------------- told


@pytest.mark.parametrize(
    ("packet", "code"),
    [
        ('427["nope",{}]', "unknown_event"),
        ('427["",{}]', "unknown_event"),
        ('427["watch_claim"]', "invalid_input"),
        ('427["watch_claim",{}]', "invalid_input"),
        ('427["watch_claim",{"claim_id":5}]', "invalid_input"),
        ('427["watch_claim",{"claim_id":"../../etc"}]', "invalid_input"),
        ('427["watch_claim",{"claim_id":"none"}]', "claim_not_found"),
        ('427["watch_claim",{"claim_id":"a","more":1}]', "invalid_input"),
        ('427["watch_claim","text"]', "invalid_input"),
        ('427["watch_claim",[1]]', "invalid_input"),
        ('427["watch_claim",{"claim_id":"a"},{"claim_id":"b"}]', "invalid_input"),
        ('427["sync",{"after_seq":-1}]', "invalid_input"),
        ('427["sync",{"after_seq":1.5}]', "invalid_input"),
        ('427["sync",{"after_seq":"1"}]', "invalid_input"),
        ('427["sync",{"after_seq":true}]', "invalid_input"),
        ('427["sync",{"after_seq":99999999999999999999}]', "invalid_input"),
        ('427["sync",{"after_seq":0,"limit":100000}]', "invalid_input"),
        ('427["reauth",{"token":""}]', "invalid_input"),
        ('427["reauth",{"token":"nonsense"}]', "invalid_token"),
        ('427["ping",{"unexpected":1}]', "invalid_input"),
        ('427["new_notification",{}]', "unknown_event"),
        ('427["disconnect","because"]', "unknown_event"),
        ('427["connect",{},{"token":"x"}]', "unknown_event"),
        ('427["*",{}]', "unknown_event"),
    ],
)
async def test_a_wrong_event_is_answered_with_its_code(shared_node: Node, packet: str, code: str) -> None:
    async with bad_and_good(shared_node) as (raw, neighbour, _, _):
        await raw.send(packet)
        assert f'"code":"{code}"' in await raw.until_heard("437[")
        await unharmed(shared_node, neighbour)


@pytest.mark.parametrize(
    "packets",
    [['42["nope",{}]'], ['4399["what"]', "43[]"]],
    ids=["a refused event without an ack", "an answer that nobody waits for"],
)
async def test_what_needs_no_answer_is_harmless(shared_node: Node, packets: list[str]) -> None:
    async with bad_and_good(shared_node) as (raw, neighbour, _, _):
        await raw.send(*packets, '427["ping"]')
        await raw.until_heard("437[")
        await unharmed(shared_node, neighbour)


async def test_events_named_like_the_servers_own_do_not_touch_the_session(shared_node: Node) -> None:
    async with bad_and_good(shared_node) as (raw, _, rest, bad):
        await raw.send('421["disconnect","because"]', '422["connect",{},{}]')
        await raw.until_heard("432[")
        claim_id = await rest.claim(bad, quorum=NEVER)
        await rest.vouch(await rest.account(), claim_id)
        await raw.until_heard("new_notification")


async def test_one_watch_too_many_is_refused(strict: Node) -> None:
    async with bad_and_good(strict) as (raw, neighbour, rest, bad):
        for number in range(4):
            claim_id = await rest.claim(bad)
            await raw.send(f'42{number}["watch_claim",{{"claim_id":"{claim_id}"}}]')
        assert "too_many_watches" in await raw.until_heard("433[")
        await unharmed(strict, neighbour)


async def test_connecting_twice_is_refused_and_harmless(shared_node: Node) -> None:
    async with bad_and_good(shared_node) as (raw, neighbour, _, bad):
        await raw.send(f'40{{"token":"{bad.token}"}}')
        await raw.until_heard("44")
        await raw.send('427["ping"]')
        await raw.until_heard("437[")
        await unharmed(shared_node, neighbour)


async def test_another_namespace_is_refused(shared_node: Node) -> None:
    async with bad_and_good(shared_node) as (raw, neighbour, _, _):
        await raw.send("40/admin,")
        assert "/admin" in await raw.until_heard("44/admin")
        await unharmed(shared_node, neighbour)


# ---------------------------------------------------------------- ended


@pytest.mark.parametrize(
    "packet",
    [
        "42",
        "42[]",
        "42{}",
        "42null",
        "42nonsense",
        '42["ping"',
        "42[1]",
        "42[null]",
        "42[true]",
        '42[["x"]]',
        '42[{"a":1}]',
        "4",
        "47",
        "4x",
        '451-["ping",{"_placeholder":true,"num":0}]',
        "461-7[]",
        "42" + "1" * 200 + '["ping"]',
        '42["ping",' + "[" * 1_900 + "]" * 1_900 + "]",
        "2",
        "9",
        "x",
        "0{}",
    ],
    ids=lambda packet: packet[:24],
)
async def test_what_cannot_be_read_harms_nobody(strict: Node, packet: str) -> None:
    async with bad_and_good(strict) as (raw, neighbour, _, _):
        await raw.send(packet, '427["ping"]')
        await until(lambda: raw.closed or raw.saying("437["), "an end or an answer")
        await unharmed(strict, neighbour)


async def test_binary_is_ended(strict: Node) -> None:
    before = strict.metrics()
    async with bad_and_good(strict) as (raw, neighbour, _, _):
        await raw.send_bytes(client_frame(b"4bytes", 0x2))
        await raw.until_closed()
        await aborted(strict, "binary", before)
        await unharmed(strict, neighbour)


async def test_a_message_that_is_too_large_is_ended_with_its_code(strict: Node) -> None:
    async with bad_and_good(strict) as (raw, neighbour, _, _):
        await raw.send('42["watch_claim",{"claim_id":"' + "x" * 5_000 + '"}]')
        await raw.until_closed()
        await unharmed(strict, neighbour)
        assert raw.close_code == 1009


async def test_a_message_of_the_largest_size_is_read(strict: Node) -> None:
    async with bad_and_good(strict) as (raw, neighbour, _, _):
        packet = '427["watch_claim",{"claim_id":"%s"}]'
        await raw.send(packet % ("x" * (4_096 - len(packet) + 2)))
        assert "invalid_input" in await raw.until_heard("437[")
        await unharmed(strict, neighbour)


async def test_a_frame_without_a_mask_is_ended_with_its_code(strict: Node) -> None:
    async with bad_and_good(strict) as (raw, neighbour, _, _):
        await raw.send_bytes(b"\x81\x05hello")
        await raw.until_closed()
        await unharmed(strict, neighbour)
        assert raw.close_code == 1002


async def test_too_many_events_are_refused_and_then_ended(strict: Node) -> None:
    before = strict.metrics()
    async with bad_and_good(strict) as (raw, neighbour, _, _):
        await raw.send(*(f'42{number}["ping"]' for number in range(500)))
        await raw.until_closed()
        await aborted(strict, "abuse", before)
        await unharmed(strict, neighbour)
        assert raw.saying("rate_limited")


async def test_a_fast_but_fair_socket_is_served(strict: Node) -> None:
    async with bad_and_good(strict) as (raw, neighbour, _, _):
        await raw.send(*(f'42{number}["ping"]' for number in range(50)))
        await raw.until_heard("4349[")
        await unharmed(strict, neighbour)


async def test_repeated_refusals_are_ended(strict: Node) -> None:
    before = strict.metrics()
    async with bad_and_good(strict) as (raw, neighbour, _, _):
        await raw.send(*(f'42{number}["nope"]' for number in range(10)))
        await raw.until_closed()
        await aborted(strict, "abuse", before)
        await unharmed(strict, neighbour)


async def test_a_flood_before_authenticating_is_ended(strict: Node) -> None:
    async with bad_and_good(strict) as (_, neighbour, _, _), raw_socket(strict) as raw:
        await raw.send("40")
        await raw.send(*['420["authenticate",{"token":"nonsense"}]'] * 300)
        await raw.until_closed()
        await unharmed(strict, neighbour)


async def test_events_before_connecting_do_not_fill_the_log(strict: Node) -> None:
    async with bad_and_good(strict) as (_, neighbour, _, _), raw_socket(strict) as raw:
        before = len(strict.log())
        await raw.send(*['42["ping"]'] * 500, "40")
        await raw.until_heard("connection_established")
        await unharmed(strict, neighbour)
        assert len(strict.log()) - before < 1_000


async def test_handshakes_that_are_dropped_leave_nothing_behind(strict: Node) -> None:
    async with bad_and_good(strict) as (_, neighbour, _, _):
        for behind in (b"", client_frame(b"4"), b"\x81", client_frame(b"40")[:3]):
            async with raw_socket(strict, reading=False, behind=behind):
                pass
        await unharmed(strict, neighbour)


# ---------------------------------------------------------------- long-polling


async def opened(http: httpx.AsyncClient) -> str:
    """The path of a new polling session."""
    answer = await http.get(ENGINE)
    return f"{ENGINE}&sid={answer.text.partition(':')[2].partition(',')[0].strip(chr(34))}"


async def test_a_polling_request_that_is_too_long_is_ended(strict: Node) -> None:
    async with bad_and_good(strict) as (_, neighbour, _, _), httpx.AsyncClient(base_url=strict.url) as http:
        path = await opened(http)
        answers = [await http.post(path, content=b"4" * 10_000), await http.get(path)]
        await unharmed(strict, neighbour)
        assert [answer.status_code for answer in answers] == [400, 400]


async def test_an_endless_polling_request_costs_no_memory(strict: Node) -> None:
    async def endless() -> AsyncIterator[bytes]:
        for _ in range(640):
            yield b"x" * 65_536

    async with bad_and_good(strict) as (_, neighbour, _, _), httpx.AsyncClient(base_url=strict.url) as http:
        path = await opened(http)
        before = strict.metrics()["process_resident_memory_bytes"]
        with contextlib.suppress(httpx.TransportError):
            await http.post(path, content=endless())
        grown = strict.metrics()["process_resident_memory_bytes"] - before
        await unharmed(strict, neighbour)
        assert grown < 20_000_000


@pytest.mark.parametrize(
    "body", ["x", "", "\x1e", "4\x1e4\x1e4", "40\x1e40\x1e40", "bAAAA", "2probe", "5", "\ud800"]
)
async def test_a_broken_polling_request_harms_nobody(strict: Node, body: str) -> None:
    async with bad_and_good(strict) as (_, neighbour, _, _), httpx.AsyncClient(base_url=strict.url) as http:
        path = await opened(http)
        await http.post(path, content=body.encode(errors="surrogatepass"))
        await unharmed(strict, neighbour)


@pytest.mark.parametrize(
    "path",
    [
        ENGINE + "&sid=none",
        "/ws/socket.io/",
        "/ws/socket.io/?EIO=3&transport=polling",
        "/ws/socket.io/?EIO=4&transport=carrier-pigeon",
        "/ws/socket.io/?EIO=4&transport=websocket",
    ],
)
async def test_requests_that_make_no_sense_are_refused(strict: Node, path: str) -> None:
    async with httpx.AsyncClient(base_url=strict.url) as http:
        assert (await http.get(path)).status_code == 400


async def test_a_session_that_never_polls_ends(nervous: Node) -> None:
    before = nervous.metrics()
    async with httpx.AsyncClient(base_url=nervous.url) as http:
        path = await opened(http)

        async def refused() -> bool:
            # A POST does not count as life; only an answered ping does.
            return (await http.post(path, content=b"3")).status_code == 400

        await aborted(nervous, "ping_timeout", before)
        await until_async(refused, "the session is forgotten")


async def test_a_silent_websocket_ends(nervous: Node) -> None:
    before = nervous.metrics()
    async with bad_and_good(nervous) as (raw, neighbour, _, _):
        raw.answers_pings = False
        await raw.until_closed()
        await aborted(nervous, "ping_timeout", before)
        await unharmed(nervous, neighbour)


# ---------------------------------------------------------------- slow


ANSWERS = 20
"""Of 40 rows each: more than the kernels hold, less than may wait for one socket."""


async def greedy(rest: Rest, raw: RawSocket, who: Account) -> None:
    """Ask for much, and read nothing of it."""
    claim_id = await rest.claim(who, quorum=NEVER, title="x" * 200)
    for account in await rest.accounts(40):
        await rest.vouch(account, claim_id)
    for _ in range(ANSWERS):
        await raw.send('421["sync",{"after_seq":0,"limit":500}]')


async def test_a_slow_reader_is_ended_while_the_others_go_on(strict: Node) -> None:
    before = strict.metrics()
    async with Rest(strict.url) as rest, raw_socket(strict, reading=False, receive_bytes=4_096) as raw:
        slow, ann = await rest.accounts(2)
        async with connected(strict.url, ann) as neighbour, flowing(rest, ann, claims=100) as traffic:
            await raw.send(f'40{{"token":"{slow.token}"}}')
            await greedy(rest, raw, slow)
            heard = len(neighbour.seqs)
            await aborted(strict, "stuck", before)
            await traffic.more(5)
            await until(lambda: len(neighbour.seqs) >= heard + 5, "the neighbour hears on")
            assert neighbour.seqs == list(range(1, len(neighbour.seqs) + 1))
        assert "Traceback" not in strict.log()


async def test_a_reader_that_is_slow_for_a_while_gets_everything(shared_node: Node) -> None:
    async with Rest(shared_node.url) as rest, raw_socket(shared_node, reading=False) as raw:
        slow = await rest.account()
        await raw.send(f'40{{"token":"{slow.token}","live":"watched"}}')
        await greedy(rest, raw, slow)
        raw.read()
        await until(lambda: len(raw.saying("431[")) == ANSWERS, "all answers")
        live = [text for text in raw.heard if text.startswith('42["new_notification"')]
        seqs = [int(text.partition('"seq":')[2].partition(",")[0]) for text in live]
        assert seqs == list(range(1, 41))
