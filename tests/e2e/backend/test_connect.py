"""Who gets in: every way to authenticate, every way to be refused, and how long a socket may stay."""

from collections.abc import AsyncIterator, Iterator

import pytest
import socketio.exceptions

from backend.app.clock import SystemClock
from backend.app.contracts.types import UserId
from backend.app.services.tokens import Tokens
from tests.support.backend.node import SECRET, Node, running_node
from tests.support.backend.raw import raw_socket
from tests.support.backend.rest import Rest
from tests.support.backend.sockets import DURABLE, Witness, auth_of, connected
from tests.support.backend.traffic import flowing
from tests.support.waiting import until, until_async

TRANSPORTS = [["websocket"], ["polling"], ["polling", "websocket"]]
AUTH_DEADLINE_S = 2.0
SHORT_S = 5
"""Of a token: long enough to come in with, on a busy machine, too."""


@pytest.fixture(scope="module")
def strict_node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """A node that wants to know quickly who is there."""
    with running_node(tmp_path_factory.mktemp("strict"), auth_deadline_s=AUTH_DEADLINE_S) as node:
        yield node


@pytest.fixture(scope="module")
def open_node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """A node that lets anonymous sockets watch."""
    settings = {"anonymous_live": True, "auth_deadline_s": AUTH_DEADLINE_S}
    with running_node(tmp_path_factory.mktemp("open"), **settings) as node:
        yield node


@pytest.fixture
async def strict(strict_node: Node) -> AsyncIterator[Rest]:
    async with Rest(strict_node.url) as client:
        yield client


@pytest.fixture
async def open_rest(open_node: Node) -> AsyncIterator[Rest]:
    async with Rest(open_node.url) as client:
        yield client


def a_token(user_id: str, ttl_s: int, secret: str = SECRET) -> str:
    return Tokens(secret, ttl_s, SystemClock()).issue(UserId(user_id)).token


# ---------------------------------------------------------------- getting in


@pytest.mark.parametrize("transports", TRANSPORTS, ids="-".join)
async def test_a_token_in_the_connect_payload_authenticates(
    shared_node: Node, rest: Rest, transports: list[str]
) -> None:
    ann = await rest.account()
    async with connected(shared_node.url, ann, transports=transports) as socket:
        assert (await socket.hear("authenticated"))["user_id"] == ann.id


@pytest.mark.parametrize("transports", TRANSPORTS, ids="-".join)
async def test_the_authenticate_event_authenticates(
    shared_node: Node, rest: Rest, transports: list[str]
) -> None:
    ann = await rest.account()
    async with connected(shared_node.url, transports=transports) as socket:
        answer = await socket.ask("authenticate", {"user_id": ann.id, "token": ann.token})
        assert (answer["user_id"], (await socket.hear("authenticated"))["user_id"]) == (ann.id, ann.id)


async def test_polling_becomes_a_websocket(shared_node: Node, rest: Rest) -> None:
    async with connected(
        shared_node.url, await rest.account(), transports=["polling", "websocket"]
    ) as socket:
        assert socket.transport == "websocket"


async def test_a_connection_is_greeted_with_its_session_id(shared_node: Node, rest: Rest) -> None:
    async with connected(shared_node.url, await rest.account()) as socket:
        assert (await socket.hear("connection_established"))["session_id"] == socket.client.get_sid()


async def test_a_user_may_have_several_sockets_and_counts_once(shared_node: Node, rest: Rest) -> None:
    ann = await rest.account()
    async with (
        connected(shared_node.url, ann) as one,
        connected(shared_node.url, ann, transports=["polling"]) as two,
    ):
        await until_users(one, 1)
        await until_users(two, 1)


async def test_a_second_user_is_counted(shared_node: Node, rest: Rest) -> None:
    async with connected(shared_node.url, await rest.account()) as one:
        async with connected(shared_node.url, await rest.account()):
            await until_users(one, 2)
        await until_users(one, 1)


async def until_users(socket: Witness, count: int) -> None:
    async def reached() -> bool:
        answer: dict[str, int] = await socket.ask("get_status")
        return answer["connected_users"] == count

    await until_async(reached, f"{count} users")


# ---------------------------------------------------------------- being refused


FORGED_WITH = "another-secret-of-at-least-32-characters"


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        ("nonsense", "invalid_token"),
        ("forged", "invalid_token"),
        ("expired", "token_expired"),
        ("logged out", "token_revoked"),
    ],
)
async def test_a_wrong_token_is_refused_as_such(shared_node: Node, rest: Rest, kind: str, code: str) -> None:
    ann = await rest.account()
    if kind == "logged out":
        await rest.post("/api/auth/logout", ann)
    token = {
        "nonsense": "nonsense",
        "forged": a_token(ann.id, 60, FORGED_WITH),
        "expired": a_token(ann.id, -5),
        "logged out": ann.token,
    }[kind]
    witness = Witness()
    with pytest.raises(socketio.exceptions.ConnectionError):
        await witness.connect(shared_node.url, auth_of(token), transports=["websocket"])
    await witness.close()
    assert witness.refused[0]["data"]["code"] == code


async def test_the_transport_of_a_refused_socket_is_closed(shared_node: Node, rest: Rest) -> None:
    async with raw_socket(shared_node) as raw:
        await raw.send('40{"token":"nonsense"}')
        await raw.until_heard("44")
        await raw.until_closed()


async def test_the_authenticate_event_refuses_a_wrong_token_aloud(shared_node: Node) -> None:
    async with connected(shared_node.url) as socket:
        answer = await socket.ask("authenticate", {"token": "nonsense"})
        heard = await socket.hear("auth_error")
        assert (answer["error"]["code"], heard["code"]) == ("invalid_token", "invalid_token")


async def test_a_token_of_another_user_than_named_is_refused(shared_node: Node, rest: Rest) -> None:
    ann, ben = await rest.account(), await rest.account()
    async with connected(shared_node.url) as socket:
        answer = await socket.ask("authenticate", {"user_id": ben.id, "token": ann.token})
        assert answer["error"]["code"] == "wrong_subject"


async def test_a_socket_does_not_change_its_user(shared_node: Node, rest: Rest) -> None:
    ann, ben = await rest.account(), await rest.account()
    async with connected(shared_node.url, ann) as socket:
        answer = await socket.ask("authenticate", {"token": ben.token})
        assert answer["error"]["code"] == "already_authenticated"


@pytest.mark.parametrize("transports", TRANSPORTS, ids="-".join)
async def test_a_socket_that_does_not_authenticate_is_closed(
    strict_node: Node, transports: list[str]
) -> None:
    async with connected(strict_node.url, transports=transports) as socket:
        await until(lambda: socket.gone, "the auth deadline")


async def test_a_wrong_token_does_not_prolong_the_deadline(strict_node: Node) -> None:
    async with connected(strict_node.url) as socket:
        await socket.ask("authenticate", {"token": "nonsense"})
        await until(lambda: socket.gone, "the auth deadline")


async def test_a_transport_that_never_connects_is_closed(strict_node: Node) -> None:
    async with raw_socket(strict_node) as raw:
        await raw.until_closed()


async def test_an_authenticated_socket_outlives_the_deadline(strict_node: Node, strict: Rest) -> None:
    async with connected(strict_node.url, await strict.account()) as stays:
        async with connected(strict_node.url) as goes:
            await until(lambda: goes.gone, "the auth deadline")
        await stays.settle()
        assert not stays.gone


async def test_leaving_the_namespace_does_not_lift_the_deadline(strict_node: Node, strict: Rest) -> None:
    ann = await strict.account()
    async with raw_socket(strict_node) as raw:
        await raw.send(f'40{{"token":"{ann.token}"}}')
        await raw.until_heard("authenticated")
        await raw.send("41", "40")
        await raw.until_closed()


# ---------------------------------------------------------------- staying


async def test_reauth_prolongs_a_socket(shared_node: Node, rest: Rest) -> None:
    ann = await rest.account()
    async with connected(shared_node.url, a_token(ann.id, SHORT_S)) as socket:
        answer = await socket.ask("reauth", {"token": ann.token})
        async with connected(shared_node.url, a_token(ann.id, SHORT_S)) as other:
            await until(lambda: other.gone, "the other token expires")
        await socket.settle()
        assert (answer["user_id"], socket.gone) == (ann.id, False)


async def test_reauth_refuses_the_token_of_another_user(shared_node: Node, rest: Rest) -> None:
    ann, ben = await rest.account(), await rest.account()
    async with connected(shared_node.url, ann) as socket:
        assert (await socket.ask("reauth", {"token": ben.token}))["error"]["code"] == "wrong_subject"


async def test_a_token_that_expires_is_announced_and_ends_the_socket(shared_node: Node, rest: Rest) -> None:
    ann = await rest.account()
    async with connected(shared_node.url, a_token(ann.id, SHORT_S)) as socket:
        await until(lambda: socket.gone, "the token expires")
        assert [name for name, _ in socket.events[-2:]] == ["token_expiring", "auth_error"]


async def test_logging_out_ends_the_sockets_of_that_token(shared_node: Node, rest: Rest) -> None:
    ann = await rest.account()
    again = await rest.login(ann)
    async with connected(shared_node.url, ann) as ended, connected(shared_node.url, again) as stays:
        await rest.post("/api/auth/logout", ann)
        await until(lambda: ended.gone, "the logged out socket ends")
        await stays.settle()
        assert not stays.gone


# ---------------------------------------------------------------- anonymous


async def test_without_a_user_nothing_is_heard_while_events_flow(shared_node: Node, rest: Rest) -> None:
    ann = await rest.account()
    async with connected(shared_node.url) as nobody, flowing(rest, ann) as traffic:
        await traffic.more(40)
        await nobody.settle()
        assert nobody.names <= {"connection_established", "pong"}


async def test_a_socket_whose_token_is_being_refused_hears_nothing(shared_node: Node, rest: Rest) -> None:
    ann = await rest.account()
    async with flowing(rest, ann) as traffic, raw_socket(shared_node) as raw:
        await raw.send('40{"token":"nonsense"}')
        await raw.until_heard("44")
        await traffic.more(10)
        await raw.until_closed()
        assert raw.saying("42") == []


@pytest.mark.parametrize("event", ["watch_claim", "unwatch_claim", "sync", "reauth", "get_status"])
async def test_events_of_users_are_refused_to_nobody(shared_node: Node, event: str) -> None:
    async with connected(shared_node.url) as socket:
        assert (await socket.ask(event, {}))["error"]["code"] == "not_authenticated"


async def test_anonymous_sockets_may_stay_where_they_are_allowed(open_node: Node) -> None:
    async with connected(open_node.url) as stays, raw_socket(open_node) as goes:
        await goes.until_closed()
        await stays.settle()
        assert not stays.gone


async def test_an_anonymous_socket_hears_the_claims_it_watches(open_node: Node, open_rest: Rest) -> None:
    ann, ben = await open_rest.accounts(2)
    claim_id = await open_rest.claim(ann)
    async with connected(open_node.url) as socket:
        await socket.ask("watch_claim", {"claim_id": claim_id})
        await open_rest.vouch(ben, claim_id)
        assert (await socket.hear("validation_count_update"))["count"] == 1


async def test_an_anonymous_socket_hears_nothing_durable(open_node: Node, open_rest: Rest) -> None:
    ann = await open_rest.account()
    async with connected(open_node.url) as socket, flowing(open_rest, ann) as traffic:
        for claim_id in traffic.claims[:20]:
            await socket.ask("watch_claim", {"claim_id": claim_id})
        await traffic.more(60)
        await socket.settle()
        assert not socket.names & DURABLE


async def test_an_anonymous_socket_cannot_sync(open_node: Node) -> None:
    async with connected(open_node.url) as socket:
        assert (await socket.ask("sync", {"after_seq": 0}))["error"]["code"] == "not_authenticated"


async def test_an_anonymous_socket_that_authenticates_gets_the_scope_it_asked_for(
    open_node: Node, open_rest: Rest
) -> None:
    ann, ben = await open_rest.accounts(2)
    claim_id, watched = await open_rest.claim(ann), await open_rest.claim(ann)
    async with connected(open_node.url, live="all") as socket:
        await socket.ask("watch_claim", {"claim_id": watched})
        await socket.ask("authenticate", {"token": ann.token})
        await open_rest.vouch(ben, watched)
        await open_rest.vouch(ben, claim_id)
        await until(lambda: socket.versions(claim_id), "an update of a claim that is not watched")
        assert socket.versions(watched) == [1]
