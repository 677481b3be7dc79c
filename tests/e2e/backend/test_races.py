"""Nothing reaches a socket that is not let in, at no moment: while events flow without pause, sockets come by
every way and in every state, and everything that each of them is sent is looked at.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable

import httpx
import jwt
import pytest

from backend.app.services.tokens import AUDIENCE, ISSUER
from tests.support.backend.node import SECRET, Node
from tests.support.backend.raw import PATH, RawSocket, raw_socket
from tests.support.backend.rest import Account, Rest
from tests.support.backend.traffic import Traffic, flowing

POLLING = "/ws/socket.io/?EIO=4&transport=polling"
WAYS = {"short way": PATH, "libraries' way": PATH + "&x=1"}
HARMLESS = {"connection_established", "auth_error", "authenticated", "pong", "token_expiring"}
TIMES = 8
"""Each state is gone through so often, at as many moments of the traffic."""


def token_of(user_id: str, jti: str, ttl_s: float) -> str:
    now_s = int(time.time())
    claims = {
        "sub": user_id,
        "jti": jti,
        "iat": now_s,
        "exp": int(now_s + ttl_s),
        "iss": ISSUER,
        "aud": AUDIENCE,
    }
    return jwt.encode(claims, SECRET, algorithm="HS256")


def names(packets: list[str]) -> list[str]:
    """Of all events in what was heard."""
    return [json.loads(packet[2:])[0] for packet in packets if packet.startswith("42[")]


def before(found: list[str], name: str) -> list[str]:
    return found[: found.index(name)] if name in found else found


def after(found: list[str], name: str) -> list[str]:
    return found[found.index(name) + 1 :] if name in found else []


@pytest.fixture
async def stream(shared_node: Node, rest: Rest) -> AsyncIterator[tuple[Account, Traffic]]:
    """Somebody whose bell rings all the time, while live counters move."""
    ann = await rest.account()
    async with flowing(rest, ann, claims=200) as traffic:
        yield ann, traffic


@pytest.mark.parametrize("path", WAYS.values(), ids=WAYS)
async def test_the_first_word_after_the_greeting_says_whose_socket_it_is(
    shared_node: Node, stream: tuple[Account, Traffic], path: str
) -> None:
    ann, traffic = stream
    for _ in range(TIMES):
        async with raw_socket(shared_node, path=path) as raw:
            await raw.send(f'40{{"token":"{ann.token}"}}')
            await raw.until_heard("authenticated")
            await traffic.more(1)
            assert names(raw.heard)[:2] == ["connection_established", "authenticated"]


@pytest.mark.parametrize("path", WAYS.values(), ids=WAYS)
async def test_who_authenticates_late_hears_nothing_until_then(
    shared_node: Node, stream: tuple[Account, Traffic], path: str
) -> None:
    ann, traffic = stream
    for _ in range(TIMES):
        async with raw_socket(shared_node, path=path) as raw:
            await raw.send("40")
            await raw.until_heard("connection_established")
            await traffic.more(2)
            await raw.send(f'42["authenticate",{{"token":"{ann.token}"}}]')
            await raw.until_heard('"authenticated"')
            await traffic.more(1)
            assert before(names(raw.heard), "authenticated") == ["connection_established"]


@pytest.mark.parametrize("path", WAYS.values(), ids=WAYS)
async def test_who_opened_and_says_nothing_hears_nothing(
    shared_node: Node, stream: tuple[Account, Traffic], path: str
) -> None:
    async with raw_socket(shared_node, path=path) as raw:
        await stream[1].more(10)
        assert [packet[:1] for packet in raw.heard] == ["0"]


Refused = Callable[[Rest, Account], Awaitable[str]]


async def _nonsense(rest: Rest, who: Account) -> str:
    return "nonsense"


async def _expired(rest: Rest, who: Account) -> str:
    return token_of(who.id, "expired", -5)


async def _revoked(rest: Rest, who: Account) -> str:
    again = await rest.login(who)
    await rest.post("/api/auth/logout", again)
    return again.token


async def _unknown_user(rest: Rest, who: Account) -> str:
    return token_of("nobody", "unknown", 60)


REFUSED: list[Refused] = [_nonsense, _expired, _revoked, _unknown_user]


@pytest.mark.parametrize("path", WAYS.values(), ids=WAYS)
@pytest.mark.parametrize("refused", REFUSED, ids=lambda each: each.__name__.strip("_"))
async def test_who_is_refused_hears_nothing_to_the_end(
    shared_node: Node, rest: Rest, stream: tuple[Account, Traffic], path: str, refused: Refused
) -> None:
    ann, traffic = stream
    token = await refused(rest, ann)
    async with raw_socket(shared_node, path=path) as first, raw_socket(shared_node, path=path) as second:
        await first.send(f'40{{"token":"{token}"}}')
        await second.send("40", f'42["authenticate",{{"token":"{token}"}}]')
        await first.until_heard("44")
        await second.until_heard("auth_error")
        await first.until_closed()
        await traffic.more(3)
        assert (names(first.heard), set(names(second.heard)) - HARMLESS) == ([], set())


async def test_whose_token_expires_hears_nothing_afterwards(shared_node: Node, rest: Rest) -> None:
    ann = await rest.account()
    async with flowing(rest, ann, claims=400) as traffic, raw_socket(shared_node) as raw:
        await raw.send(f'40{{"token":"{token_of(ann.id, "short", 5)}"}}')
        await raw.until_heard('"authenticated"')
        await raw.until_closed()
        await traffic.more(3)
        found = names(raw.heard)
        assert ("new_notification" in before(found, "auth_error"), after(found, "auth_error")) == (True, [])


async def test_whose_token_is_revoked_hears_nothing_afterwards(
    shared_node: Node, rest: Rest, stream: tuple[Account, Traffic]
) -> None:
    ann, traffic = stream
    for _ in range(TIMES):
        again = await rest.login(ann)
        async with raw_socket(shared_node) as raw:
            await raw.send(f'40{{"token":"{again.token}"}}')
            await raw.until_heard('"authenticated"')
            await rest.post("/api/auth/logout", again)
            await raw.until_closed()
            await traffic.more(1)
            assert after(names(raw.heard), "auth_error") == []


async def test_who_left_the_namespace_hears_nothing_afterwards(
    shared_node: Node, stream: tuple[Account, Traffic]
) -> None:
    ann, traffic = stream
    async with raw_socket(shared_node) as raw:
        await raw.send(f'40{{"token":"{ann.token}"}}')
        await raw.until_heard('"authenticated"')
        await raw.send("41", "40")
        await raw.until_heard("connection_established", 2)
        second = [index for index, packet in enumerate(raw.heard) if packet.startswith("40")][1]
        await traffic.more(5)
        assert set(names(raw.heard[second:])) <= HARMLESS


async def _poll(http: httpx.AsyncClient, sid: str) -> list[str]:
    answer = await http.get(f"{POLLING}&sid={sid}")
    return answer.text.split("\x1e") if answer.status_code == 200 else []


async def test_long_polling_hears_nothing_before_it_is_let_in(
    shared_node: Node, stream: tuple[Account, Traffic]
) -> None:
    ann, traffic = stream
    async with httpx.AsyncClient(base_url=shared_node.url) as http:
        for _ in range(TIMES):
            sid = json.loads((await http.get(POLLING)).text[1:])["sid"]
            await http.post(f"{POLLING}&sid={sid}", content="40")
            await traffic.more(2)
            heard = await _poll(http, sid)
            await http.post(f"{POLLING}&sid={sid}", content=f'42["authenticate",{{"token":"{ann.token}"}}]')
            while '"authenticated"' not in "".join(heard):
                heard += await _poll(http, sid)
            await http.post(f"{POLLING}&sid={sid}", content="1")
            assert before(names(heard), "authenticated") == ["connection_established"]


async def test_a_crowd_in_every_state_at_once_hears_nothing(
    shared_node: Node, stream: tuple[Account, Traffic]
) -> None:
    """Opened, connected without a token, refused: forty of each, while one who may hear hears."""
    ann, traffic = stream

    async def stay(*packets: str) -> RawSocket:
        async with raw_socket(shared_node) as raw:
            await raw.send(*packets)
            await traffic.more(3)
            return raw

    async with raw_socket(shared_node) as witness:
        await witness.send(f'40{{"token":"{ann.token}"}}')
        await witness.until_heard('"authenticated"')
        states = [(), ("40",), ('40{"token":"nonsense"}',)]
        crowd = await asyncio.gather(*(stay(*state) for state in states for _ in range(40)))
        assert {name for raw in crowd for name in names(raw.heard)} <= HARMLESS - {"authenticated"}
        assert "new_notification" in names(witness.heard)
