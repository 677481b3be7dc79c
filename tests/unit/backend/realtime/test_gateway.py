"""The gateway in a whole application, spoken to by long-polling: what e2e tests cannot see or time."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from backend.app.contracts.types import UserId
from backend.app.domain.records import User
from backend.app.errors import UnavailableError
from backend.app.main import Application, create_app
from backend.app.realtime.handlers import Peer
from backend.app.settings import Settings
from tests.support.backend.rest_app import SECRET
from tests.support.waiting import until

ENGINE = "/ws/socket.io/"
QUERY = {"EIO": "4", "transport": "polling"}


class World:
    """A started application without a network, its users, and how polling clients speak to it."""

    def __init__(self, application: Application, http: httpx.AsyncClient) -> None:
        self.application = application
        self.http = http
        self.services = application.services
        self.gateway: Any = application.realtime.gateway
        self.manager = application.realtime.manager

    async def user(self, name: str) -> str:
        """A token of a new user."""
        user = User(UserId(name), name, name, self.services.clock.now())
        await self.services.store.users.create_user(user, "hash")
        return self.services.tokens.issue(user.id).token

    async def open(self) -> str:
        """The id of a new Engine.IO session."""
        answer = await self.http.get(ENGINE, params=QUERY)
        sid: str = json.loads(answer.text[1:])["sid"]
        return sid

    async def say(self, sid: str, *packets: str) -> None:
        await self.http.post(ENGINE, params={**QUERY, "sid": sid}, content="\x1e".join(packets))

    async def hear(self, sid: str) -> list[str]:
        answer = await self.http.get(ENGINE, params={**QUERY, "sid": sid})
        return answer.text.split("\x1e")

    async def connect(self, token: str | None = None) -> str:
        """A session with a Socket.IO socket on it."""
        sid = await self.open()
        await self.say(sid, "40" + (json.dumps({"token": token}) if token else ""))
        return sid

    def peers(self) -> list[Peer]:
        return list(self.gateway._peers.values())

    def live_deadlines(self) -> int:
        return sum(entry[2].callback is not None for entry in self.application.realtime.deadlines._heap)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    application = create_app(Settings(data_dir=tmp_path, jwt_secret=SECRET, events_burst=1_000))
    await application.start()
    transport = httpx.ASGITransport(app=application)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as http:
        yield World(application, http)
    await application.stop()


def failing(error: BaseException) -> Callable[..., Awaitable[Any]]:
    async def fail(*_: Any, **__: Any) -> Any:
        raise error

    return fail


class Held:
    """A way into the store that is open until `hold`: who asks then hears at `release` what held when asked.

    asked: how many answers were held.
    """

    def __init__(self, method: Callable[..., Awaitable[Any]]) -> None:
        self._method = method
        self._open = asyncio.Event()
        self._open.set()
        self.asked = 0

    async def __call__(self, *arguments: Any) -> Any:
        answer = await self._method(*arguments)
        if not self._open.is_set():
            self.asked += 1
            await self._open.wait()
        return answer

    def hold(self) -> None:
        self._open.clear()

    def release(self) -> None:
        self._open.set()


@asynccontextmanager
async def while_it_says(
    world: World, monkeypatch: pytest.MonkeyPatch, name: str, sid: str, packet: str
) -> AsyncIterator[None]:
    """What happens while a method of the users in the store holds its answer to this packet."""
    users = world.services.store.users
    store = Held(getattr(users, name))
    monkeypatch.setattr(users, name, store)
    store.hold()
    asking = asyncio.create_task(world.say(sid, packet))
    await until(lambda: store.asked == 1)
    yield
    store.release()
    await asking


def event(name: str, token: str) -> str:
    """A packet that asks for an ack."""
    return "421" + json.dumps([name, {"token": token}])


async def log_out(world: World, token: str) -> None:
    await world.services.accounts.logout(world.services.accounts.read(token))


# ---------------------------------------------------------------- while the store is read


async def test_a_token_that_is_logged_out_while_it_is_looked_at_prolongs_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = await world.user("ann")
    new = world.services.tokens.issue(UserId("ann")).token
    sid = await world.connect(old)
    await world.hear(sid)
    (peer,) = world.peers()
    before = (peer.jti, list(peer.token_life))
    async with while_it_says(world, monkeypatch, "user", sid, event("reauth", new)):
        await log_out(world, new)
    (answer,) = await world.hear(sid)
    assert "token_revoked" in answer
    assert (peer.jti, peer.token_life) == before


async def test_prolonging_a_socket_that_left_meanwhile_leaves_nothing_behind(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = await world.user("ann")
    sid = await world.connect(token)
    (peer,) = world.peers()
    async with while_it_says(
        world, monkeypatch, "user", sid, "421" + json.dumps(["reauth", {"token": token}])
    ):
        await world.say(sid, "1")
        await until(lambda: not world.peers())
    assert peer.token_life == []


async def test_a_socket_that_left_while_it_authenticated_leaves_nothing_behind(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = await world.user("ann")
    sid = await world.connect()
    (peer,) = world.peers()
    async with while_it_says(
        world, monkeypatch, "newcomers", sid, "421" + json.dumps(["authenticate", {"token": token}])
    ):
        await world.say(sid, "1")
        await until(lambda: not world.peers())
    assert (peer.token_life, len(world.application.realtime.channels)) == ([], 0)


async def revoke_unheard(world: World, token: str) -> None:
    """Another node logs it out, and the bus loses the kick and closes the gap at once."""
    claims = world.services.accounts.read(token)
    await world.services.store.users.revoke_token(claims.jti, claims.expires_at)
    await world.gateway.tokens.recheck()


async def test_a_kick_that_the_bus_lost_is_seen_by_who_is_being_let_in(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = await world.user("ann")
    sid = await world.open()
    async with while_it_says(world, monkeypatch, "newcomers", sid, "40" + json.dumps({"token": token})):
        await revoke_unheard(world, token)
    assert "token_revoked" in "".join(await world.hear(sid))


async def test_a_kick_that_the_bus_lost_is_seen_by_who_prolongs(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = await world.user("ann")
    new = world.services.tokens.issue(UserId("ann")).token
    sid = await world.connect(old)
    await world.hear(sid)
    async with while_it_says(world, monkeypatch, "user", sid, event("reauth", new)):
        await revoke_unheard(world, new)
    (answer,) = await world.hear(sid)
    assert "token_revoked" in answer


# ---------------------------------------------------------------- draining in between


async def test_who_is_looked_at_when_the_node_begins_to_leave_is_not_let_in(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = await world.user("ann")
    sid = await world.open()
    async with while_it_says(world, monkeypatch, "newcomers", sid, "40" + json.dumps({"token": token})):
        world.services.health.drain()
        await world.gateway.drain(0.0)
    assert (world.application.realtime.engine.sockets, world.peers()) == ({}, [])


# ---------------------------------------------------------------- nothing is left behind


async def test_a_socket_that_left_is_forgotten_long_before_its_token_expires(world: World) -> None:
    token = await world.user("ann")
    before = world.live_deadlines()
    for _ in range(3):
        await world.say(await world.connect(token), "1")
    await until(lambda: not world.peers())
    # What remains, for seconds, is the auth deadline of each transport.
    assert world.live_deadlines() - before == 3


async def test_prolonging_again_and_again_costs_nothing(world: World) -> None:
    token = await world.user("ann")
    sid = await world.connect(token)
    before = world.live_deadlines()
    for _ in range(20):
        await world.say(sid, "42" + json.dumps(["reauth", {"token": token}]))
    assert world.live_deadlines() == before


async def test_sockets_that_come_and_go_leave_no_rooms_users_or_channels(world: World) -> None:
    token = await world.user("ann")
    for _ in range(5):
        sid = await world.connect(token)
        await world.say(sid, "41", "1")
    await until(lambda: not world.application.realtime.engine.sockets)
    counted = (
        len(world.manager.rooms),
        len(world.application.realtime.channels),
        world.services.websocket.get_connected_count(),
        len(world.gateway._peers),
    )
    assert counted == (0, 0, 0, 0)


# ---------------------------------------------------------------- one socket, one user


async def test_two_tokens_at_the_same_moment_make_one_user(world: World) -> None:
    ann, ben = await world.user("ann"), await world.user("ben")
    sid = await world.connect()
    tokens = [json.dumps(["authenticate", {"token": token}]) for token in (ann, ben)]
    await asyncio.gather(*(world.say(sid, f"42{number}{text}") for number, text in enumerate(tokens)))
    (peer,) = world.peers()
    rooms = [room for room in world.manager.get_rooms(peer.sid, "/") if room.startswith("user:")]
    assert rooms == [f"user:{peer.user_id}"]
    await world.say(sid, "1")
    await until(lambda: not world.peers())
    assert world.services.websocket.get_connected_count() == 0
    assert len(world.application.realtime.channels) == 0


# ---------------------------------------------------------------- trouble with the store


async def test_while_the_store_does_not_answer_a_connection_is_lost_and_not_refused(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client tries a lost connection again, a refused one never."""
    token = await world.user("ann")
    monkeypatch.setattr(world.services.store.users, "newcomers", failing(UnavailableError("no store")))
    await world.connect(token)
    assert (world.application.realtime.engine.sockets, world.manager.rooms) == ({}, {})


async def test_an_unexpected_failure_loses_the_connection_and_leaves_nothing_behind(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    token = await world.user("ann")
    monkeypatch.setattr(world.services.store.users, "newcomers", failing(RuntimeError("a bug")))
    await world.connect(token)
    await until(lambda: not world.application.realtime.engine.sockets)
    assert (world.manager.rooms, world.manager._connecting, world.peers()) == ({}, set(), [])
    assert "a bug" in caplog.text


async def test_a_bell_that_cannot_be_read_ends_the_socket_with_a_word(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = await world.user("ann")
    monkeypatch.setattr(world.application.realtime.channels, "join", failing(UnavailableError("no store")))
    sid = await world.connect(token)
    heard = await world.hear(sid)
    assert any("auth_error" in packet and "store_unavailable" in packet for packet in heard)


async def test_a_handler_that_fails_answers_without_a_traceback(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    sid = await world.connect(await world.user("ann"))
    await world.hear(sid)
    monkeypatch.setitem(world.gateway._handlers, "ping", failing(RuntimeError("a bug")))
    await world.say(sid, '427["ping"]')
    (answer,) = await world.hear(sid)
    assert ("internal" in answer, "bug" in answer, "a bug" in caplog.text) == (True, False, True)


# ---------------------------------------------------------------- draining


async def test_a_node_that_is_leaving_lets_nobody_in(world: World) -> None:
    token = await world.user("ann")
    sid = await world.open()
    world.services.health.drain()
    await world.say(sid, "40" + json.dumps({"token": token}))
    assert (world.application.realtime.engine.sockets, world.peers()) == ({}, [])


# ---------------------------------------------------------------- origins


@pytest.mark.parametrize(
    ("allowed", "origin", "status"),
    [
        ((), None, 200),
        ((), "http://localhost", 200),
        ((), "https://evil.example", 400),
        (("https://a.example",), "https://a.example", 200),
        (("https://a.example",), "https://evil.example", 400),
        (("*",), "https://evil.example", 200),
    ],
)
async def test_sockets_are_opened_from_allowed_origins_only(
    tmp_path: Path, allowed: tuple[str, ...], origin: str | None, status: int
) -> None:
    application = create_app(Settings(data_dir=tmp_path, jwt_secret=SECRET, cors_origins=allowed))
    transport = httpx.ASGITransport(app=application)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as http:
        headers = {"Origin": origin} if origin else {}
        assert (await http.get(ENGINE, params=QUERY, headers=headers)).status_code == status
