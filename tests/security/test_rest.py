"""Who may do what over REST: every operation of the OpenAPI document, with every kind of caller.

`RULES` is the table. An operation that is not in it fails `test_every_operation_has_a_rule`.
"""

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import pytest

from backend.app.api import router
from backend.app.api.webui import web_ui_router
from tests.security.wrong_tokens import CODES, Victim, wrong_token
from tests.support.backend.node import Node
from tests.support.backend.rest import PASSWORD, Account, Answer, Rest

PRIVATE_KEYS = {"password", "password_hash", "token", "jti", "unread_count", "last_seq", "idempotency_key"}
"""No answer that anybody may read holds these."""
OPEN_TO_TOKENS = {"register", "login"}
"""The two public operations that hand out a token, to the user it belongs to."""


@dataclass(frozen=True)
class Scene:
    """What a check of the second user needs. answer: what they got."""

    rest: Rest
    victim: Victim
    other: Account
    answer: Answer


async def only_their_own_token(scene: Scene) -> None:
    assert (await scene.rest.request("GET", "/api/auth/me", scene.other)).status_code == 401
    assert (await scene.rest.request("GET", "/api/auth/me", scene.victim.account)).status_code == 200


async def themselves(scene: Scene) -> None:
    assert scene.answer.json()["id"] == scene.other.id


async def their_own_claim(scene: Scene) -> None:
    assert scene.answer.json()["owner_id"] == scene.other.id


async def their_own_validation(scene: Scene) -> None:
    assert scene.answer.json()["validation"]["user_id"] == scene.other.id


async def no_row_of_the_victim(scene: Scene) -> None:
    assert (scene.answer.json()["items"], scene.answer.json()["last_seq"]) == ([], 0)


async def their_own_count(scene: Scene) -> None:
    assert scene.answer.json() == {"unread_count": 0}


async def no_sign_that_the_row_exists(scene: Scene) -> None:
    nowhere = await scene.rest.post("/api/notifications/nothing-of-that-name/read", scene.other)
    assert (scene.answer.status_code, scene.answer.json()["code"]) == (404, "notification_not_found")
    assert without_instance(scene.answer) == without_instance(nowhere)


async def only_their_own_rows(scene: Scene) -> None:
    assert scene.answer.json()["changed"] == 0


def without_instance(answer: Answer) -> dict[str, Any]:
    return {name: value for name, value in answer.json().items() if name != "instance"}


@dataclass(frozen=True)
class Rule:
    """private: only with a valid token. second: what holds when a second user asks, with the victim's ids."""

    private: bool
    body: Any = None
    second: Callable[[Scene], Awaitable[None]] | None = None


PUBLIC = Rule(private=False)
RULES: dict[str, Rule] = {
    "register": Rule(private=False, body={"username": "x", "password": PASSWORD}),
    "login": Rule(private=False, body={"username": "nobody", "password": PASSWORD}),
    "logout": Rule(private=True, second=only_their_own_token),
    "me": Rule(private=True, second=themselves),
    "list_claims": PUBLIC,
    "post_claim": Rule(private=True, body={"title": "The moon is round"}, second=their_own_claim),
    "get_claim": PUBLIC,
    "post_validation": Rule(private=True, body={"action": "vouch"}, second=their_own_validation),
    "list_validations": PUBLIC,
    "list_notifications": Rule(private=True, second=no_row_of_the_victim),
    "unread_count": Rule(private=True, second=their_own_count),
    "mark_read": Rule(private=True, second=no_sign_that_the_row_exists),
    "mark_all_read": Rule(private=True, second=only_their_own_rows),
    "get_user": PUBLIC,
    "leaderboard": PUBLIC,
    "list_badges": PUBLIC,
    "service": PUBLIC,
    "asyncapi_document": PUBLIC,
    "alive": PUBLIC,
    "ready": PUBLIC,
    "metrics": PUBLIC,
}
HIDDEN = {"/", "/healthz", "/docs", "/openapi.json", "/app", "/app/{path:path}"}
"""Routes outside of the document; all public: probes with HEAD, the document itself, the web UI's files."""


def operations() -> dict[str, tuple[str, str]]:
    """operationId -> (method, path), of the committed document, which another test keeps true."""
    with open("docs/openapi.json", encoding="utf-8") as file:
        paths = json.load(file)["paths"]
    return {
        operation["operationId"]: (method.upper(), path)
        for path, methods in paths.items()
        for method, operation in methods.items()
    }


OPERATIONS = operations()
PRIVATE = [name for name, rule in RULES.items() if rule.private]


def test_every_operation_has_a_rule() -> None:
    assert set(RULES) == set(OPERATIONS)


def test_every_hidden_route_has_a_rule() -> None:
    routes = [route for room in (*router._ROUTERS, web_ui_router(None)) for route in room.routes]
    hidden = {route.path for route in routes if not route.include_in_schema}  # type: ignore[attr-defined]
    assert hidden == HIDDEN


async def ask(rest: Rest, name: str, victim: Victim, token: str | None, body: Any = None) -> Answer:
    """The operation on what belongs to the victim."""
    method, path = OPERATIONS[name]
    ids = {
        "claim_id": victim.claim_id,
        "notification_id": victim.notification_id,
        "user_id": victim.account.id,
    }
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    body = RULES[name].body if body is None else body
    return await rest.request(
        method, path.format(**ids), headers=headers, **({} if body is None else {"json": body})
    )


async def belongings(rest: Rest, victim: Victim) -> Any:
    """Everything that an intruder might have read or changed, as the victim sees it."""
    return [
        await rest.get("/api/auth/me", victim.account),
        await rest.get("/api/notifications", victim.account),
        await rest.get("/api/claims", owner_id=victim.account.id),
        await rest.get(f"/api/claims/{victim.claim_id}/validations"),
    ]


@pytest.mark.parametrize("name", PRIVATE)
async def test_nobody_is_told_to_authenticate(rest: Rest, victim: Victim, name: str) -> None:
    before = await belongings(rest, victim)
    answer = await ask(rest, name, victim, None)
    assert (answer.status_code, answer.json()["code"]) == (401, "not_authenticated")
    assert await belongings(rest, victim) == before


@pytest.mark.parametrize("kind", CODES)
async def test_a_wrong_token_opens_no_private_operation(rest: Rest, victim: Victim, kind: str) -> None:
    before = await belongings(rest, victim)
    token = wrong_token(kind, victim)
    answers = {name: await ask(rest, name, victim, token) for name in PRIVATE}
    assert {name: (answer.status_code, answer.json()["code"]) for name, answer in answers.items()} == (
        dict.fromkeys(PRIVATE, (401, CODES[kind]))
    )
    assert await belongings(rest, victim) == before


@pytest.mark.parametrize("kind", CODES)
async def test_a_refusal_tells_nothing_of_the_victim(rest: Rest, victim: Victim, kind: str) -> None:
    for name in PRIVATE:
        text = (await ask(rest, name, victim, wrong_token(kind, victim))).text
        assert victim.account.username not in text
        assert victim.account.id not in text
        assert "The earth is round" not in text


@pytest.mark.parametrize("kind", CODES)
async def test_a_wrong_token_does_not_change_a_public_answer(rest: Rest, victim: Victim, kind: str) -> None:
    token = wrong_token(kind, victim)
    for name in sorted(
        set(RULES) - set(PRIVATE) - OPEN_TO_TOKENS - {"metrics", "ready", "alive", "leaderboard"}
    ):
        with_token, without = await ask(rest, name, victim, token), await ask(rest, name, victim, None)
        assert (with_token.status_code, with_token.content) == (without.status_code, without.content), name


@pytest.mark.parametrize("name", sorted(set(RULES) - set(PRIVATE) - OPEN_TO_TOKENS))
async def test_a_public_answer_holds_nothing_private(rest: Rest, victim: Victim, name: str) -> None:
    answer = await ask(rest, name, victim, None)
    assert answer.status_code == 200
    if name not in ("metrics", "asyncapi_document"):
        assert not keys_of(answer.json()) & PRIVATE_KEYS


def keys_of(value: Any) -> set[str]:
    if isinstance(value, dict):
        return set(value) | {key for inner in value.values() for key in keys_of(inner)}
    if isinstance(value, list):
        return {key for inner in value for key in keys_of(inner)}
    return set()


async def test_metrics_name_nobody(guarded_node: Node, rest: Rest, victim: Victim) -> None:
    text = (await ask(rest, "metrics", victim, None)).text
    assert not [
        word for word in (victim.account.id, victim.account.username, victim.claim_id) if word in text
    ]


@pytest.mark.parametrize("name", PRIVATE)
async def test_a_second_user_gets_only_their_own(
    rest: Rest, victim: Victim, other: Account, name: str
) -> None:
    second = RULES[name].second
    assert second is not None, f"say in RULES what holds for a second user of {name}"
    bell = await rest.bell(victim.account)
    answer = await ask(rest, name, victim, other.token)
    await second(Scene(rest, victim, other, answer))
    assert (await rest.bell(victim.account))[: len(bell)] == bell


@pytest.mark.parametrize("name", ["login", "register"])
async def test_a_password_is_in_no_answer(rest: Rest, victim: Victim, name: str) -> None:
    for body in ({"username": victim.account.username, "password": PASSWORD}, {"password": PASSWORD, "x": 1}):
        assert PASSWORD not in (await ask(rest, name, victim, None, body)).text


async def test_a_login_does_not_tell_whether_the_user_exists(rest: Rest, victim: Victim) -> None:
    bodies = [{"username": name, "password": "wrong"} for name in (victim.account.username, "nobody-at-all")]
    known, unknown = [await ask(rest, "login", victim, None, body) for body in bodies]
    assert (known.status_code, without_instance(known)) == (unknown.status_code, without_instance(unknown))
