"""Registering, logging in and out over REST, and every way a token can be wrong."""

from typing import Any

import pytest

from backend.app.contracts.types import UserId
from tests.support.backend.rest_app import PASSWORD, Person, World


async def test_registering_answers_with_user_and_token(world: World) -> None:
    answer = await world.client.post(
        "/api/auth/register", json={"username": "anna", "password": PASSWORD, "display_name": "Anna"}
    )
    body = answer.json()
    assert answer.status_code == 201
    assert (body["user"]["display_name"], body["token_type"]) == ("Anna", "bearer")
    assert body["expires_at"] == "2031-05-05T03:02:01Z"
    assert "password" not in answer.text


async def test_a_taken_username_is_refused(world: World, anna: Person) -> None:
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


async def test_login_answers_with_a_token_that_works(world: World, anna: Person) -> None:
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


async def test_me_and_login_tell_the_bell_and_the_badges(world: World, anna: Person, bert: Person) -> None:
    await world.validate(bert, await world.claim(anna))
    me = [(await world.client.get("/api/auth/me", headers=who.auth)).json() for who in (anna, bert)]
    assert (me[0]["last_seq"], me[0]["unread_count"]) == (1, 1)
    assert [badge["badge_name"] for badge in me[1]["badges"]] == ["First validation"]
    login = await world.client.post("/api/auth/login", json={"username": "bert", "password": PASSWORD})
    assert login.json()["user"]["badges"] == me[1]["badges"]


async def test_after_logout_the_token_is_revoked(world: World, anna: Person) -> None:
    out = await world.client.post("/api/auth/logout", headers=anna.auth)
    after = await world.client.get("/api/auth/me", headers=anna.auth)
    assert (out.status_code, out.content) == (204, b"")
    assert (after.status_code, after.json()["code"]) == (401, "token_revoked")


async def test_an_expired_token_is_refused(world: World, anna: Person) -> None:
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
    assert answer.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize("token", ["x", "a.b.c", "eyJhbGciOiJub25lIn0.e30.", "\xff\xfe"], ids=repr)
async def test_a_wrong_token_is_invalid(world: World, token: str) -> None:
    answer = await world.client.get(
        "/api/auth/me", headers={b"authorization": f"Bearer {token}".encode("latin-1")}
    )
    assert (answer.status_code, answer.json()["code"]) == (401, "invalid_token")
    assert answer.headers["www-authenticate"] == 'Bearer error="invalid_token"'


async def test_a_token_of_a_vanished_user_is_invalid(world: World) -> None:
    token = world.services.tokens.issue(UserId("nobody")).token
    answer = await world.client.get("/api/auth/me", headers={"Authorization": f"Bearer {token}"})
    assert (answer.status_code, answer.json()["code"]) == (401, "invalid_token")


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


@pytest.mark.parametrize(
    "password",
    [
        "password",
        "Password123!",
        "iloveyou",
        "12345678",
        "87654321",
        "qwertyuiop",
        "aaaaaaaa",
        "abababab",
        "anna-lena-2031",
        "ANNA-LENA",
        "letmein1",
    ],
)
async def test_passwords_that_are_tried_first_are_refused(world: World, password: str) -> None:
    body = {"username": "anna-lena", "password": password}
    answer = await world.client.post("/api/auth/register", json=body)
    assert (answer.status_code, answer.json()["code"]) == (422, "weak_password")


@pytest.mark.parametrize(
    "password", ["correct horse battery", "Tr0ub4dor&3", "vouchstorm-demo", "żółw gęślą"]
)
async def test_other_passwords_are_accepted(world: World, password: str) -> None:
    body = {"username": "anna-lena", "password": password}
    assert (await world.client.post("/api/auth/register", json=body)).status_code == 201
