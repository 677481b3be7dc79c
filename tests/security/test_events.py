"""Who may do what over a socket: every client event, every server event, every room, every caller.

`CLIENT_RULES`, `SERVER_RULES` and `ROOM_RULES` are the tables. What is in the contract and not in them fails.
"""

import asyncio
import inspect
from contextlib import AsyncExitStack
from typing import Any

import pytest

from backend.app.contracts import events, rooms
from backend.app.contracts.events import CLIENT_EVENTS, SERVER_EVENTS, Access
from tests.security.conftest import a_victim
from tests.security.wrong_tokens import CODES, Victim, wrong_token
from tests.support.backend.node import Node
from tests.support.backend.raw import raw_socket
from tests.support.backend.rest import Account, Rest
from tests.support.backend.sockets import Witness, connected
from tests.support.waiting import until

CLIENT_RULES: dict[str, Access] = {
    "authenticate": Access.UNAUTHENTICATED,
    "ping": Access.UNAUTHENTICATED,
    "get_status": Access.ANONYMOUS,
    "watch_claim": Access.ANONYMOUS,
    "unwatch_claim": Access.ANONYMOUS,
    "sync": Access.USER,
    "reauth": Access.USER,
}
"""Event -> who may send it."""

OWN = "the socket that it is about"
OWNER = "sockets of the one user"
WATCHERS = "users, and anonymous sockets that watch the claim"
SERVER_RULES: dict[str, str] = {
    "connection_established": OWN,
    "authenticated": OWN,
    "auth_error": OWN,
    "pong": OWN,
    "status": OWN,
    "server_draining": OWN,
    "token_expiring": OWN,
    "new_notification": OWNER,
    "validation_received": OWNER,
    "consensus_reached": OWNER,
    "badge_earned": OWNER,
    "trust_score_update": OWNER,
    "notification_read": OWNER,
    "validation_count_update": WATCHERS,
    "consensus_update": WATCHERS,
}
"""Event -> who may hear it."""

ROOM_RULES = {"LIVE_ROOM": WATCHERS, "user_room": OWNER, "claim_room": WATCHERS}
"""Room kind of `contracts/rooms.py` -> who may be in it."""

OWNERS_EVENTS = {name for name, rule in SERVER_RULES.items() if rule == OWNER}
PASSED_ON = {name for name, rule in SERVER_RULES.items() if rule != OWN}


def body_of(event: str, victim: Victim, token: str = "nonsense") -> dict[str, Any]:  # noqa: S107
    """Valid data for an event, after what belongs to the victim."""
    bodies: dict[type[events.Incoming], dict[str, Any]] = {
        events.Authenticate: {"user_id": victim.account.id, "token": token},
        events.Nothing: {},
        events.WatchClaim: {"claim_id": victim.claim_id},
        events.Sync: {"after_seq": 0},
        events.Reauth: {"token": token},
    }
    return bodies[CLIENT_EVENTS[event].payload]


# ---------------------------------------------------------------- the tables are complete


def test_every_client_event_has_its_rule() -> None:
    assert {name: event.access for name, event in CLIENT_EVENTS.items()} == CLIENT_RULES


def test_every_server_event_has_a_rule() -> None:
    assert set(SERVER_RULES) == set(SERVER_EVENTS)


def test_every_room_has_a_rule() -> None:
    public = {name: value for name, value in vars(rooms).items() if not name.startswith("_")}
    made_here = {
        name
        for name, value in public.items()
        if name.isupper() or (inspect.isfunction(value) and value.__annotations__["return"] is str)
    }
    assert made_here == set(ROOM_RULES)


# ---------------------------------------------------------------- nobody, and wrong tokens


@pytest.mark.parametrize("event", CLIENT_RULES)
async def test_an_unauthenticated_socket_may_only_authenticate_and_ping(
    guarded_node: Node, victim: Victim, event: str
) -> None:
    async with connected(guarded_node.url) as socket:
        answer = await socket.ask(event, body_of(event, victim))
    refused = answer.get("error", {}).get("code")
    expected = {"authenticate": "invalid_token", "ping": None}.get(event, "not_authenticated")
    assert refused == expected


@pytest.mark.parametrize("kind", CODES)
async def test_a_wrong_token_in_the_connect_payload_opens_no_event(
    guarded_node: Node, victim: Victim, kind: str
) -> None:
    token = wrong_token(kind, victim)

    async def hears(event: str) -> list[str]:
        async with raw_socket(guarded_node) as raw:
            # At once, so that the event is there before the refusal is.
            await raw.send(
                f'40{{"token":"{token}","last_seq":0}}', packet(event, body_of(event, victim, token))
            )
            await raw.until_closed()
            return raw.heard

    heard = await asyncio.gather(*(hears(event) for event in CLIENT_RULES))
    for texts in heard:
        assert [text[:2] for text in texts if text[:1] == "4"] == ["44"], texts
        assert f'"{CODES[kind]}"' in texts[-1]


@pytest.mark.parametrize("kind", CODES)
async def test_a_wrong_token_in_the_authenticate_event_opens_no_event(
    guarded_node: Node, victim: Victim, kind: str
) -> None:
    token = wrong_token(kind, victim)
    async with connected(guarded_node.url) as socket:
        refused = await socket.ask("authenticate", {"token": token})
        assert refused["error"]["code"] == CODES[kind]
        for event in sorted(set(CLIENT_RULES) - {"authenticate", "ping"}):
            answer = await socket.ask(event, body_of(event, victim, token))
            assert answer["error"]["code"] == "not_authenticated", event
        assert socket.names <= {"connection_established", "auth_error", "pong"}


@pytest.mark.parametrize("kind", CODES)
async def test_a_wrong_token_does_not_prolong_a_socket(
    guarded_node: Node, victim: Victim, other: Account, kind: str
) -> None:
    async with connected(guarded_node.url, other) as socket:
        answer = await socket.ask("reauth", {"token": wrong_token(kind, victim)})
    assert answer["error"]["code"] == CODES[kind]


def packet(event: str, body: dict[str, Any]) -> str:
    text = str(body).replace("'", '"')
    return f'427["{event}",{text}]'


# ---------------------------------------------------------------- anonymous sockets


@pytest.mark.parametrize("event", CLIENT_RULES)
async def test_an_anonymous_socket_may_what_its_rule_says(public_node: Node, event: str) -> None:
    async with Rest(public_node.url) as rest, connected(public_node.url) as socket:
        answer = await socket.ask(event, body_of(event, await a_victim(rest)))
    refused = answer.get("error", {}).get("code")
    expected = {"authenticate": "invalid_token", "sync": "not_authenticated", "reauth": "not_authenticated"}
    assert refused == expected.get(event)


# ---------------------------------------------------------------- a second user


async def test_a_second_user_syncs_nothing_of_the_victim(
    guarded_node: Node, victim: Victim, other: Account
) -> None:
    async with connected(guarded_node.url, other, last_seq=0) as socket:
        answer = await socket.ask("sync", {"after_seq": 0, "limit": 500})
        assert (answer["items"], answer["last_seq"]) == ([], 0)


async def test_a_second_user_cannot_take_the_victims_place(
    guarded_node: Node, victim: Victim, other: Account
) -> None:
    async with connected(guarded_node.url, other) as socket:
        moved = await socket.ask("reauth", {"token": victim.account.token})
        again = await socket.ask("authenticate", {"token": victim.account.token})
    codes = (moved["error"]["code"], again["error"]["code"])
    assert codes == ("wrong_subject", "already_authenticated")


async def test_a_second_users_pong_and_status_tell_nothing_of_the_victim(
    guarded_node: Node, victim: Victim, other: Account
) -> None:
    async with connected(guarded_node.url, victim.account), connected(guarded_node.url, other) as socket:
        answers = [await socket.ask("ping"), await socket.ask("get_status")]
    assert answers[0]["last_seq"] in (0, None)
    assert victim.account.id not in str(answers)


async def test_a_token_names_its_user_and_no_other(
    guarded_node: Node, victim: Victim, other: Account
) -> None:
    async with connected(guarded_node.url) as socket:
        body = {"user_id": victim.account.id, "token": other.token}
        answer = await socket.ask("authenticate", body)
        status = await socket.ask("get_status")
    assert (answer["error"]["code"], status["error"]["code"]) == ("wrong_subject", "not_authenticated")


# ---------------------------------------------------------------- rooms


@pytest.mark.parametrize("event", ["join", "subscribe", "enter_room", "room", "watch", "rooms", "join_room"])
async def test_no_event_names_a_room(guarded_node: Node, victim: Victim, other: Account, event: str) -> None:
    async with connected(guarded_node.url, other) as socket:
        answer = await socket.ask(event, {"room": rooms.user_room(victim.account.id)})
    assert answer["error"]["code"] == "unknown_event"


@pytest.mark.parametrize("room", ["user:{id}", "live", "../user:{id}", "claim:{claim}", "{sid}"])
async def test_a_claim_id_that_is_a_room_is_no_way_in(
    guarded_node: Node, rest: Rest, victim: Victim, other: Account, room: str
) -> None:
    async with connected(guarded_node.url, other, live="watched") as socket:
        name = room.format(id=victim.account.id, claim=victim.claim_id, sid=socket.client.get_sid())
        answer = await socket.ask("watch_claim", {"claim_id": name})
        await rest.vouch(await rest.account(), victim.claim_id)
        await socket.settle()
        assert answer["error"]["code"] in ("invalid_input", "claim_not_found")
        assert not socket.names & PASSED_ON


async def happenings(rest: Rest, victim: Account) -> str:
    """Cause every event that anybody hears of a user; the claim that it was about."""
    claim_id = await rest.claim(victim, quorum=2)
    for account in await rest.accounts(2):
        await rest.vouch(account, claim_id)
    await rest.post("/api/notifications/read-all", victim)
    return claim_id


async def test_what_belongs_to_one_user_is_heard_by_nobody_else(public_node: Node) -> None:
    async with Rest(public_node.url) as rest, AsyncExitStack() as stack:
        victim, other, revoked = await rest.accounts(3)

        async def open_socket(who: Account | None, **options: Any) -> Witness:
            return await stack.enter_async_context(connected(public_node.url, who, **options))

        own = await open_socket(victim)
        strangers = [await open_socket(other), await open_socket(other, live="watched")]
        strangers += [await open_socket(None), await open_socket(None, transports=["polling"])]
        out = await open_socket(revoked)
        await rest.post("/api/auth/logout", revoked)
        await until(lambda: out.gone, "a socket whose token was revoked ends")
        claim_id = await happenings(rest, victim)
        await until(lambda: own.names >= OWNERS_EVENTS - {"badge_earned"}, f"all kinds; {own.names}")
        for socket in strangers:
            await socket.settle()
        heard_by_others = set().union(*(socket.names for socket in [*strangers, out]))
        assert not heard_by_others & OWNERS_EVENTS
        assert own.versions(claim_id)
        assert strangers[0].versions(claim_id)


async def test_live_updates_are_heard_by_those_whose_rule_it_is(guarded_node: Node, rest: Rest) -> None:
    victim, other = await rest.accounts(2)
    async with (
        connected(guarded_node.url, other) as user,
        connected(guarded_node.url, other, live="watched") as narrow,
        connected(guarded_node.url) as nobody,
    ):
        claim_id = await happenings(rest, victim)
        await until(lambda: user.versions(claim_id), "a live update")
        await narrow.settle()
        await nobody.settle()
        assert not (narrow.names | nobody.names) & PASSED_ON
