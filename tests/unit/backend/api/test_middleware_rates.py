"""Too many requests: who is refused, with what answer, and who never is."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from backend.app.api.middleware import client_of
from backend.app.services.login_guard import LoginGuard
from backend.app.services.throttle import Throttle
from tests.support.backend.rest_app import PASSWORD, World, rest_world

LIMIT = 10


def at(world: World, address: str) -> httpx.AsyncClient:
    """A client that comes from this address."""
    transport = httpx.ASGITransport(app=world.app, client=(address, 1234))
    return httpx.AsyncClient(transport=transport, base_url="http://test")


async def statuses(client: httpx.AsyncClient, tries: int, path: str = "/api/badges") -> list[int]:
    return [(await client.get(path)).status_code for _ in range(tries)]


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with rest_world(tmp_path, requests_per_address_per_min=LIMIT) as made:
        yield made


async def test_an_address_may_ask_as_often_as_the_limit_says(world: World) -> None:
    assert (await statuses(world.client, 15)).count(200) == LIMIT


async def test_the_refusal_says_how_long_to_wait_and_then_the_address_is_served(world: World) -> None:
    await statuses(world.client, LIMIT)
    answer = await world.client.get("/api/badges")
    assert (answer.status_code, answer.json()["code"]) == (429, "rate_limited")
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["x-content-type-options"] == "nosniff"
    wait_s = int(answer.headers["retry-after"])
    assert 1 <= wait_s <= 60
    world.clock.advance(wait_s)
    assert await statuses(world.client, 1) == [200]


async def test_another_address_is_served(world: World) -> None:
    await statuses(world.client, LIMIT + 5)
    async with at(world, "10.0.0.2") as other:
        assert await statuses(other, 5) == [200] * 5


@pytest.mark.parametrize("probe", ["/healthz", "/readyz", "/metrics"])
async def test_probes_are_never_refused(world: World, probe: str) -> None:
    await statuses(world.client, LIMIT + 5)
    assert await statuses(world.client, LIMIT + 5, probe) == [200] * (LIMIT + 5)


async def test_a_header_does_not_change_the_address(world: World) -> None:
    await statuses(world.client, LIMIT)
    answer = await world.client.get(
        "/api/badges", headers={"X-Forwarded-For": "9.9.9.9", "Forwarded": "for=9.9.9.9"}
    )
    assert answer.status_code == 429


async def test_refusals_are_counted(world: World) -> None:
    await statuses(world.client, LIMIT + 3)
    counted = world.services.metrics.registry.get_sample_value(
        "rate_limited_total", {"scope": "rest_address"}
    )
    assert counted == 3


@pytest.mark.parametrize(
    ("client", "who"),
    [
        (("10.0.0.1", 1), "10.0.0.1"),
        (("::ffff:10.0.0.1", 1), "10.0.0.1"),
        (("2001:db8:1:2:3:4:5:6", 1), "2001:db8:1:2::/64"),
        (("2001:db8:1:2:ffff::1", 1), "2001:db8:1:2::/64"),
        (("fe80::1%eth0", 1), "fe80::/64"),
        (("a-name", 1), None),
        (("", 0), None),
        (None, None),
    ],
)
def test_whom_an_address_counts_as(client: Any, who: str | None) -> None:
    assert client_of({"type": "http", "client": client}) == who


# ---------------------------------------------------------------- users


async def test_a_user_may_ask_as_often_as_the_limit_says(tmp_path: Path) -> None:
    async with rest_world(tmp_path, requests_per_user_per_min=LIMIT) as world:
        anna = await world.person("anna")
        answers = [await world.client.get("/api/auth/me", headers=anna.auth) for _ in range(15)]
    assert [answer.status_code for answer in answers].count(200) == LIMIT


async def test_a_second_token_does_not_help(tmp_path: Path) -> None:
    async with rest_world(tmp_path, requests_per_user_per_min=LIMIT) as world:
        anna = await world.person("anna")
        again = await world.client.post("/api/auth/login", json={"username": "anna", "password": PASSWORD})
        for _ in range(LIMIT):
            await world.client.get("/api/auth/me", headers=anna.auth)
        headers = {"Authorization": f"Bearer {again.json()['token']}"}
        answer = await world.client.get("/api/auth/me", headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (429, "rate_limited")


async def test_another_user_of_the_same_address_is_served(tmp_path: Path) -> None:
    async with rest_world(tmp_path, requests_per_user_per_min=LIMIT) as world:
        anna, bert = await world.person("anna"), await world.person("bert")
        for _ in range(LIMIT + 5):
            await world.client.get("/api/auth/me", headers=anna.auth)
        assert (await world.client.get("/api/auth/me", headers=bert.auth)).status_code == 200


async def test_registrations_of_an_address_are_bounded(tmp_path: Path) -> None:
    async with rest_world(tmp_path, registrations_per_address_per_min=2) as world:
        answers = [
            await world.client.post(
                "/api/auth/register", json={"username": f"user-{number}", "password": PASSWORD}
            )
            for number in range(3)
        ]
    assert [answer.status_code for answer in answers] == [201, 201, 429]


# ---------------------------------------------------------------- logging in


@pytest.fixture
async def guarded(tmp_path: Path) -> AsyncIterator[World]:
    """A world with a login guard, as the composition root wires it, and Anna in it."""
    async with rest_world(tmp_path) as world:
        limits = world.services.settings.login_limits
        world.services.accounts._guard = LoginGuard(Throttle(world.clock), limits)
        await world.person("anna")
        yield world


async def logins(client: httpx.AsyncClient, username: str, password: str, tries: int) -> list[int]:
    body = {"username": username, "password": password}
    return [(await client.post("/api/auth/login", json=body)).status_code for _ in range(tries)]


@pytest.mark.parametrize("name", ["anna", "nobody"])
async def test_guessing_is_refused_after_a_few_failures_whether_the_name_exists_or_not(
    guarded: World, name: str
) -> None:
    assert await logins(guarded.client, name, "wrong", 12) == [401] * 10 + [429] * 2


async def test_a_locked_address_is_refused_with_the_right_password_until_the_lock_ends(
    guarded: World,
) -> None:
    await logins(guarded.client, "anna", "wrong", 20)
    assert await logins(guarded.client, "anna", PASSWORD, 1) == [429]
    guarded.clock.advance(guarded.services.settings.lockout_s)
    assert await logins(guarded.client, "anna", PASSWORD, 1) == [200]


async def test_the_owner_gets_in_from_another_address(guarded: World) -> None:
    async with at(guarded, "10.0.0.2") as owner:
        await logins(guarded.client, "anna", "wrong", 20)
        assert await logins(owner, "anna", PASSWORD, 1) == [200]


async def test_a_token_outlives_the_lock(guarded: World) -> None:
    bert = await guarded.person("bert")
    await logins(guarded.client, "bert", "wrong", 20)
    assert (await guarded.client.get("/api/auth/me", headers=bert.auth)).status_code == 200
