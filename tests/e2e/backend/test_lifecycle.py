"""A node's life: starting, refusing to start, dying, coming back, leaving; and other ways to run it."""

import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
import socketio.exceptions

from tests.support.backend.node import Node, UvicornNode, running_node
from tests.support.backend.raw import raw_socket
from tests.support.backend.rest import Account, Rest
from tests.support.backend.sockets import Witness, auth_of, connected
from tests.support.backend.traffic import NEVER, Traffic, prepare
from tests.support.waiting import until

POLLING = "/ws/socket.io/?EIO=4&transport=polling"
TRANSPORTS = [["websocket"], ["polling"], ["polling", "websocket"]]


# ---------------------------------------------------------------- refusing to start


def refused(node: Node) -> str:
    """The one line that a node says that cannot start."""
    process = node.launch()
    assert process.wait(50) == 3
    node.kill()
    (line,) = node.log().splitlines()
    return line


def test_a_port_in_use_is_said_in_one_sentence(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        line = refused(Node(tmp_path, port=other.getsockname()[1]))
    assert ("is in use" in line, "--port" in line) == (True, True)


def test_a_data_directory_that_cannot_be_written_is_said_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    node = Node(tmp_path, jwt_secret=None)
    node.command = lambda: [*Node.command(node)[:-1], str(tmp_path / "file" / "data")]  # type: ignore[method-assign]
    assert "Cannot write to the data directory" in refused(node)


def test_a_store_that_cannot_be_opened_is_said_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "vouchstorm.db").write_text("this is not a database, whatever its name says" * 50)
    assert "is not an SQLite database" in refused(Node(tmp_path))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"jwt_secret": "short-and-secret"}, "32 characters"),
        ({"mode": "production", "jwt_secret": None}, "VOUCHSTORM_JWT_SECRET is required"),
        ({"ping_interval_s": "often"}, "VOUCHSTORM_PING_INTERVAL_S"),
        ({"bus_url": "carrier://pigeon"}, "bus"),
    ],
    ids=["short secret", "no secret", "bad value", "bad bus"],
)
def test_a_bad_setting_is_said_in_one_sentence(tmp_path: Path, settings: dict[str, Any], said: str) -> None:
    line = refused(Node(tmp_path, **settings))
    assert (said in line or said in line.lower(), "short-and" in line) == (True, False)


def test_under_plain_uvicorn_a_bad_setting_is_one_sentence_too(tmp_path: Path) -> None:
    node = UvicornNode(tmp_path, jwt_secret="short-and-secret")
    assert node.launch().wait(50) != 0
    node.kill()
    assert ("32 characters" in node.log(), "Traceback" in node.log()) == (True, False)


# ---------------------------------------------------------------- starting


def test_production_starts_with_a_secret_and_says_where_and_who(tmp_path: Path) -> None:
    with running_node(tmp_path, mode="production", node="node-7") as node:
        answer = httpx.get(node.url).json()
        assert (node.ready["node"], answer["node"], answer["websocket"]) == ("node-7", "node-7", "/ws")


def test_the_development_secret_survives_a_restart(tmp_path: Path) -> None:
    async def me(url: str, who: Account) -> int:
        async with Rest(url) as rest:
            return (await rest.request("GET", "/api/auth/me", who)).status_code

    async def somebody(url: str) -> Account:
        async with Rest(url) as rest:
            return await rest.account()

    with running_node(tmp_path, jwt_secret=None) as node:
        ann = asyncio.run(somebody(node.url))
        node.stop()
        node.start()
        assert asyncio.run(me(node.url, ann)) == 200


# ---------------------------------------------------------------- leaving


async def leave(node: Node) -> int:
    return await asyncio.to_thread(node.stop)


@dataclass
class Departure:
    """What was seen of a node that was told to leave, by three clients with something under way."""

    code: int = -1
    log: str = ""
    claim_id: str = ""
    witnesses: dict[str, Witness] = field(default_factory=dict)


@pytest.fixture(scope="module")
def departure(tmp_path_factory: pytest.TempPathFactory) -> Departure:
    """Four validations, of which the live counter is still held back, then SIGTERM."""
    seen = Departure()

    async def play(node: Node) -> None:
        async with Rest(node.url) as rest, AsyncExitStack() as stack:
            ann, *others = await rest.accounts(5)
            seen.claim_id = await rest.claim(ann, quorum=NEVER)
            for transports in TRANSPORTS:
                witness = await stack.enter_async_context(connected(node.url, ann, transports=transports))
                seen.witnesses["-".join(transports)] = witness
            for who in others:
                await rest.vouch(who, seen.claim_id)
            seen.code = await leave(node)
            await until(lambda: all(witness.gone for witness in seen.witnesses.values()))

    with running_node(tmp_path_factory.mktemp("leaving"), snapshot_hz=1) as node:
        asyncio.run(play(node))
        seen.log = node.log()
    return seen


def test_leaving_ends_with_success(departure: Departure) -> None:
    assert departure.code == 0


@pytest.mark.parametrize("transports", TRANSPORTS, ids="-".join)
def test_a_leaving_node_sends_its_clients_away(departure: Departure, transports: list[str]) -> None:
    (away,) = departure.witnesses["-".join(transports)].named("server_draining")
    assert away["reconnect_after_ms"] > 0


@pytest.mark.parametrize("transports", TRANSPORTS, ids="-".join)
def test_what_was_pending_is_sent_before_leaving(departure: Departure, transports: list[str]) -> None:
    witness = departure.witnesses["-".join(transports)]
    assert (witness.seqs, witness.versions(departure.claim_id)[-1]) == ([1, 2, 3, 4], 4)


def test_leaving_leaves_no_trouble_in_the_log(departure: Departure) -> None:
    trouble = ("Traceback", "error", "never awaited", "was destroyed")
    assert [word for word in trouble if word in departure.log] == []


async def test_a_leaving_node_waits_for_nobody(tmp_path: Path) -> None:
    """Not for silent sockets, polls under way, half handshakes or readers that do not read."""
    with running_node(tmp_path) as node:
        async with Rest(node.url) as rest, httpx.AsyncClient(base_url=node.url, timeout=30) as http:
            ann = await rest.account()
            async with (
                raw_socket(node),
                raw_socket(node, reading=False, receive_bytes=4_096) as slow,
                connected(node.url, ann),
            ):
                opening = await http.get(POLLING)
                sid = opening.text.partition(':"')[2].partition('"')[0]
                poll = asyncio.create_task(http.get(f"{POLLING}&sid={sid}"))
                claim_id = await rest.claim(ann, quorum=NEVER, title="x" * 200)
                for who in await rest.accounts(20):
                    await rest.vouch(who, claim_id)
                await slow.send(f'40{{"token":"{ann.token}"}}')
                await slow.send(*['421["sync",{"after_seq":0}]'] * 60)
                code = await leave(node)  # which fails if it takes too long
                assert (code, (await poll).status_code < 500) == (0, True)


async def test_sigint_leaves_as_well(tmp_path: Path) -> None:
    with running_node(tmp_path) as node:
        process = node._child
        assert process is not None
        os.kill(node.pid, signal.SIGINT)
        assert await asyncio.to_thread(process.wait, 20) == 130
        assert "Traceback" not in node.log()


# ---------------------------------------------------------------- dying


class Returning:
    """A client that always comes back and says where it stands; what it holds is a set of rows by seq."""

    def __init__(self, node: Node, who: Account, transports: list[str]) -> None:
        self.node = node
        self.who = who
        self.transports = transports
        self.seqs: list[int] = []
        self.returns = 0

    async def stay(self) -> None:
        while True:
            witness = Witness()
            try:
                last_seq = self.seqs[-1] if self.seqs else 0
                await witness.connect(self.node.url, auth_of(self.who, last_seq), transports=self.transports)
                self.returns += 1
                await until(lambda w=witness: w.gone or self.take(w), timeout_s=60)  # type: ignore[misc]
            except (socketio.exceptions.SocketIOError, OSError):
                pass
            finally:
                self.take(witness)
                await asyncio.shield(witness.close())
            await asyncio.sleep(0.02)

    def take(self, witness: Witness) -> bool:
        """Move what was heard over to what is held."""
        self.seqs += [data["seq"] for name, data in witness.events if name == "new_notification"]
        witness.events.clear()
        return False


@asynccontextmanager
async def staying(*clients: Returning) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(client.stay()) for client in clients]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_nothing_acknowledged_is_lost_when_a_node_is_killed(tmp_path: Path) -> None:
    with running_node(tmp_path, reconcile_interval_s=0.3) as node:
        async with Rest(node.url) as rest:
            ann = await rest.account()
            traffic = await prepare(rest, ann, claims=15, validators=10)
            clients = [Returning(node, ann, transports) for transports in TRANSPORTS]
            async with staying(*clients):
                for kills in range(2):
                    await everybody_came(clients, kills + 1)
                    await killed_under(traffic, node)
                await everybody_came(clients, 3)
                await traffic.flow(0.001)
                await everything_is_there(rest, traffic)
                told = [row["seq"] for row in await rest.bell(ann)]
                await until(lambda: all(client.seqs[-1:] == told[-1:] for client in clients))
            assert [client.seqs for client in clients] == [told] * 3
            assert all(client.returns > 2 for client in clients)


async def everybody_came(clients: list[Returning], times: int) -> None:
    await until(lambda: all(client.returns >= times for client in clients), f"there for the {times}. time")


async def killed_under(traffic: Traffic, node: Node) -> None:
    """Kill and start the node while validations come in; what then is under way is answered."""
    flow = asyncio.create_task(traffic.flow(0.001))
    await traffic.more(25)
    node.kill()
    await asyncio.to_thread(node.start)
    traffic.stopping = True
    await flow
    traffic.stopping = False


async def everything_is_there(rest: Rest, traffic: Traffic) -> None:
    """All 150 validations, each told to the owner once; among them all that were acknowledged."""

    async def told() -> list[str]:
        return [row["data"]["validation_id"] for row in await rest.bell(traffic.owner)]

    everything = len(traffic.claims) * len(traffic.validators)
    ids: list[str] = []
    for _ in range(400):  # the last repairs take an interval
        ids = await told()
        if len(ids) >= everything:
            break
        await asyncio.sleep(0.05)
    claims = [await rest.claim_now(claim_id) for claim_id in traffic.claims]
    assert (len(ids), len(set(ids))) == (everything, everything)
    assert {acknowledged for _, acknowledged in traffic.acknowledged} <= set(ids)
    assert [claim["tally"]["total"] for claim in claims] == [len(traffic.validators)] * len(claims)
    assert [claim["version"] for claim in claims] == [len(traffic.validators)] * len(claims)


# ---------------------------------------------------------------- other ways to run it


@pytest.fixture(scope="module")
def plain_uvicorn(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """The application under uvicorn's own websocket class: `cd backend && uvicorn app.main:app`."""
    with UvicornNode(tmp_path_factory.mktemp("uvicorn"), auth_deadline_s=2) as node:
        yield node


@pytest.fixture(scope="module")
def stock_fanout(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """A node that sends the library's way."""
    with running_node(tmp_path_factory.mktemp("stock"), fast_fanout=False, auth_deadline_s=2) as node:
        yield node


@pytest.fixture(params=["plain_uvicorn", "stock_fanout"])
def other_way(request: pytest.FixtureRequest) -> Node:
    node: Node = request.getfixturevalue(request.param)
    return node


async def test_the_fallback_is_said_in_the_log(stock_fanout: Node) -> None:
    assert "fast fan-out is off" in stock_fanout.log()


@pytest.mark.parametrize("transports", TRANSPORTS, ids="-".join)
async def test_the_other_ways_deliver_the_same(other_way: Node, transports: list[str]) -> None:
    async with Rest(other_way.url) as rest:
        ann, ben, cid = await rest.accounts(3)
        claim_id = await rest.claim(ann, quorum=NEVER)
        await rest.vouch(ben, claim_id)
        async with connected(other_way.url, ann, last_seq=0, transports=transports) as socket:
            await rest.vouch(cid, claim_id)
            await socket.hear("new_notification", 2)
            answer: Any = await socket.ask("watch_claim", {"claim_id": claim_id})
            await until(lambda: socket.versions(claim_id) == [2])
            assert (socket.seqs, answer["count"]) == ([1, 2], 2)


async def test_the_other_ways_keep_order_under_a_burst(other_way: Node) -> None:
    async with Rest(other_way.url) as rest:
        ann = await rest.account()
        claim_id = await rest.claim(ann, quorum=NEVER)
        people = await rest.accounts(40)
        async with connected(other_way.url, ann) as one, connected(other_way.url, ann) as two:
            await asyncio.gather(*(rest.vouch(who, claim_id) for who in people))
            await until(lambda: len(one.seqs) >= 40 and len(two.seqs) >= 40)
            assert (one.seqs, two.seqs) == (list(range(1, 41)), list(range(1, 41)))


async def test_the_other_ways_keep_the_deadline(other_way: Node) -> None:
    async with connected(other_way.url) as socket, raw_socket(other_way) as raw:
        await until(lambda: socket.gone and raw.closed, "the auth deadline")


async def test_the_other_ways_refuse_a_wrong_token(other_way: Node) -> None:
    async with raw_socket(other_way) as raw:
        await raw.send('40{"token":"nonsense"}')
        await raw.until_heard("44")
        await raw.until_closed()


async def test_the_other_ways_survive_nonsense(other_way: Node) -> None:
    async with Rest(other_way.url) as rest, connected(other_way.url, await rest.account()) as neighbour:
        for packet in ("42", "42[1]", "4x", "42[[]]", "451-[]", "9"):
            async with raw_socket(other_way) as raw:
                await raw.send("40", packet)
                await raw.until_heard("connection_established")
        await neighbour.settle()


async def test_a_node_on_the_librarys_way_leaves_in_good_order(tmp_path: Path) -> None:
    with running_node(tmp_path, fast_fanout=False) as node:
        async with Rest(node.url) as rest:
            ann = await rest.account()
        async with connected(node.url, ann) as one, connected(node.url, ann, transports=["polling"]) as two:
            code = await leave(node)
            await until(lambda: one.gone and two.gone)
            assert (code, len(one.named("server_draining")), len(two.named("server_draining"))) == (0, 1, 1)
