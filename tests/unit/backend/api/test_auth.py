"""Registering, logging in and out over REST, and every way a token can be wrong."""

from typing import Any

import pytest

from backend.app.contracts.types import UserId
from tests.support.backend.rest_app import PASSWORD, World


async def test_registering_answers_with_user_and_token(world: World) -> None:
    answer = await world.client.post(
        "/api/auth/register", json={"username": "anna", "password": PASSWORD, "display_name": "Anna"}
    )
    body = answer.json()
    assert answer.status_code == 201
    assert (body["user"]["display_name"], body["token_type"]) == ("Anna", "bearer")


async def test_a_token_tells_when_it_expires(world: World) -> None:
    answer = await world.client.post("/api/auth/register", json={"username": "anna", "password": PASSWORD})
    assert answer.json()["expires_at"] == "2031-05-05T03:02:01Z"


async def test_a_password_never_comes_back(world: World) -> None:
    answer = await world.client.post("/api/auth/register", json={"username": "anna", "password": PASSWORD})
    assert "password" not in answer.text


async def test_a_taken_username_is_refused(world: World) -> None:
    await world.person("anna")
    answer = await world.client.post("/api/auth/register", json={"username": "Anna", "password": PASSWORD})
    assert (answer.status_code, answer.json()["code"]) == (409, "username_taken")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"username": "an", "password": PASSWORD}, "username"),
        ({"username": "an na", "password": PASSWORD}, "username"),
        ({"username": "anna\n", "password": PASSWORD, "x": 1}, "x"),
        ({"username": "a" * 33, "password": PASSWORD}, "username"),
        ({"username": "anna", "password": "short"}, "password"),
        ({"username": "anna", "password": "nul\x00nul-nul"}, "password"),
        ({"username": "anna", "password": "x" * 129}, "password"),
        ({"username": "anna"}, "password"),
        ({"username": 7, "password": PASSWORD}, "username"),
        ({"username": "anna", "password": PASSWORD, "admin": True}, "admin"),
        ({"username": "anna", "password": PASSWORD, "display_name": ""}, "display_name"),
    ],
)
async def test_bad_registrations_name_the_field(world: World, body: dict[str, Any], field: str) -> None:
    answer = await world.client.post("/api/auth/register", json=body)
    assert answer.status_code == 422
    assert [error["field"] for error in answer.json()["errors"]] == [field]


async def test_login_answers_with_a_token_that_works(world: World) -> None:
    await world.person("anna")
    answer = await world.client.post("/api/auth/login", json={"username": "anna", "password": PASSWORD})
    me = await world.client.get("/api/auth/me", headers={"Authorization": f"Bearer {answer.json()['token']}"})
    assert (answer.status_code, me.json()["username"]) == (200, "anna")


@pytest.mark.parametrize(("username", "password"), [("anna", "wrong-password"), ("nobody", PASSWORD)])
async def test_wrong_credentials_are_refused_alike(world: World, username: str, password: str) -> None:
    await world.person("anna")
    answer = await world.client.post("/api/auth/login", json={"username": username, "password": password})
    body = answer.json()
    assert (answer.status_code, body["code"]) == (401, "wrong_credentials")
    assert body["detail"] == "The username or the password is wrong."


async def test_me_tells_where_the_bell_stands(world: World) -> None:
    owner, other = await world.person("anna"), await world.person("bert")
    await world.validate(other, await world.claim(owner))
    me = (await world.client.get("/api/auth/me", headers=owner.auth)).json()
    assert (me["last_seq"], me["unread_count"]) == (1, 1)


async def test_me_shows_the_badges(world: World) -> None:
    owner, other = await world.person("anna"), await world.person("bert")
    await world.validate(other, await world.claim(owner))
    me = (await world.client.get("/api/auth/me", headers=other.auth)).json()
    assert [badge["badge_name"] for badge in me["badges"]] == ["First validation"]


async def test_login_shows_the_badges(world: World) -> None:
    owner, other = await world.person("anna"), await world.person("bert")
    await world.validate(other, await world.claim(owner))
    answer = await world.client.post("/api/auth/login", json={"username": "bert", "password": PASSWORD})
    assert [badge["badge_id"] for badge in answer.json()["user"]["badges"]] == ["first_validation"]


async def test_after_logout_the_token_is_revoked(world: World) -> None:
    anna = await world.person("anna")
    out = await world.client.post("/api/auth/logout", headers=anna.auth)
    after = await world.client.get("/api/auth/me", headers=anna.auth)
    assert (out.status_code, out.content) == (204, b"")
    assert (after.status_code, after.json()["code"]) == (401, "token_revoked")


async def test_an_expired_token_is_refused(world: World) -> None:
    anna = await world.person("anna")
    world.clock.advance(world.services.settings.token_ttl_s)
    answer = await world.client.get("/api/auth/me", headers=anna.auth)
    assert (answer.status_code, answer.json()["code"]) == (401, "token_expired")


@pytest.mark.parametrize(
    "header", [None, "", "Bearer", "Bearer ", "Basic YTpi", "Token abc", "bearer"], ids=repr
)
async def test_no_bearer_token_is_no_authentication(world: World, header: str | None) -> None:
    headers = {} if header is None else {"Authorization": header}
    answer = await world.client.get("/api/auth/me", headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (401, "not_authenticated")


@pytest.mark.parametrize("token", ["x", "a.b.c", "eyJhbGciOiJub25lIn0.e30.", "\xff\xfe"], ids=repr)
async def test_a_wrong_token_is_invalid(world: World, token: str) -> None:
    answer = await world.client.get(
        "/api/auth/me", headers={b"authorization": f"Bearer {token}".encode("latin-1")}
    )
    assert (answer.status_code, answer.json()["code"]) == (401, "invalid_token")


async def test_a_token_of_a_vanished_user_is_invalid(world: World) -> None:
    token = world.services.tokens.issue(UserId("nobody")).token
    answer = await world.client.get("/api/auth/me", headers={"Authorization": f"Bearer {token}"})
    assert (answer.status_code, answer.json()["code"]) == (401, "invalid_token")


async def test_a_missing_token_asks_for_a_bearer(world: World) -> None:
    answer = await world.client.get("/api/auth/me")
    assert answer.headers["www-authenticate"] == "Bearer"


async def test_a_bad_token_says_so_in_the_challenge(world: World) -> None:
    answer = await world.client.get("/api/auth/me", headers={"Authorization": "Bearer x"})
    assert answer.headers["www-authenticate"] == 'Bearer error="invalid_token"'


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/api/claims"),
        ("POST", "/api/claims/c1/validations"),
        ("GET", "/api/notifications"),
        ("GET", "/api/notifications/unread-count"),
        ("POST", "/api/notifications/n1/read"),
        ("POST", "/api/notifications/read-all"),
        ("GET", "/api/auth/me"),
        ("POST", "/api/auth/logout"),
    ],
)
async def test_private_routes_refuse_strangers(world: World, method: str, path: str) -> None:
    answer = await world.client.request(method, path, json={} if method == "POST" else None)
    assert (answer.status_code, answer.json()["code"]) == (401, "not_authenticated")


@pytest.mark.parametrize(
    "path", ["/api/claims", "/api/leaderboard", "/api/badges", "/", "/healthz", "/metrics"]
)
async def test_public_routes_ask_for_no_token(world: World, path: str) -> None:
    assert (await world.client.get(path)).status_code == 200
