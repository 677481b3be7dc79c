"""Cross-origin access: off by default, exact by configuration."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.backend.rest_app import World, rest_world

OURS = "https://app.example"
PREFLIGHT = {
    "Origin": OURS,
    "Access-Control-Request-Method": "POST",
    "Access-Control-Request-Headers": "authorization,content-type,idempotency-key",
}


async def test_without_configuration_no_origin_is_allowed(world: World) -> None:
    answer = await world.client.get("/api/claims", headers={"Origin": OURS})
    assert "access-control-allow-origin" not in answer.headers


@pytest.fixture
async def listed(tmp_path: Path) -> AsyncIterator[World]:
    """The REST room with our origin on its list, and a route that fails."""

    async def fail() -> None:
        raise RuntimeError("x")

    async with rest_world(tmp_path, cors_origins=OURS) as made:
        made.app.add_api_route("/fail", fail)
        yield made


async def test_scripts_of_a_listed_origin_may_read_answers_and_our_headers(listed: World) -> None:
    headers = (await listed.client.get("/api/claims", headers={"Origin": OURS})).headers
    assert headers["access-control-allow-origin"] == OURS
    exposed = headers["access-control-expose-headers"]
    assert set(exposed.split(", ")) == {"Location", "Idempotency-Replayed", "Retry-After", "X-Request-ID"}


@pytest.mark.parametrize("origin", ["https://evil.example", "http://app.example", "https://app.example.evil"])
async def test_other_origins_are_not(listed: World, origin: str) -> None:
    answer = await listed.client.get("/api/claims", headers={"Origin": origin})
    assert "access-control-allow-origin" not in answer.headers


async def test_a_preflight_is_answered_and_never_allows_cookies(listed: World) -> None:
    answer = await listed.client.options("/api/claims", headers=PREFLIGHT)
    assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (200, OURS)
    assert "access-control-allow-credentials" not in answer.headers


@pytest.mark.parametrize("path", ["/nothing", "/api/auth/me", "/fail"])
async def test_scripts_may_read_problems(listed: World, path: str) -> None:
    answer = await listed.client.get(path, headers={"Origin": OURS})
    assert answer.headers["access-control-allow-origin"] == OURS


async def test_scripts_may_read_that_a_body_was_too_large(listed: World) -> None:
    answer = await listed.client.post("/api/auth/login", content=b" " * 70_000, headers={"Origin": OURS})
    assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (413, OURS)
