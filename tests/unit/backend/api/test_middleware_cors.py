"""Cross-origin access: off by default, exact by configuration."""

from pathlib import Path

import pytest

from tests.support.backend.rest_app import rest_world

OURS = "https://app.example"
PREFLIGHT = {
    "Origin": OURS,
    "Access-Control-Request-Method": "POST",
    "Access-Control-Request-Headers": "authorization,content-type,idempotency-key",
}


async def test_without_configuration_no_origin_is_allowed(tmp_path: Path) -> None:
    async with rest_world(tmp_path) as world:
        answer = await world.client.get("/api/claims", headers={"Origin": OURS})
        assert "access-control-allow-origin" not in answer.headers


async def test_a_listed_origin_is_allowed(tmp_path: Path) -> None:
    async with rest_world(tmp_path, cors_origins=OURS) as world:
        answer = await world.client.get("/api/claims", headers={"Origin": OURS})
        assert answer.headers["access-control-allow-origin"] == OURS


@pytest.mark.parametrize("origin", ["https://evil.example", "http://app.example", "https://app.example.evil"])
async def test_other_origins_are_not(tmp_path: Path, origin: str) -> None:
    async with rest_world(tmp_path, cors_origins=OURS) as world:
        answer = await world.client.get("/api/claims", headers={"Origin": origin})
        assert "access-control-allow-origin" not in answer.headers


async def test_a_preflight_is_answered(tmp_path: Path) -> None:
    async with rest_world(tmp_path, cors_origins=OURS) as world:
        answer = await world.client.options("/api/claims", headers=PREFLIGHT)
        assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (200, OURS)


async def test_cookies_are_never_allowed(tmp_path: Path) -> None:
    async with rest_world(tmp_path, cors_origins=OURS) as world:
        answer = await world.client.options("/api/claims", headers=PREFLIGHT)
        assert "access-control-allow-credentials" not in answer.headers


@pytest.mark.parametrize("header", ["Location", "Idempotency-Replayed", "Retry-After", "X-Request-ID"])
async def test_scripts_may_read_our_headers(tmp_path: Path, header: str) -> None:
    async with rest_world(tmp_path, cors_origins=OURS) as world:
        answer = await world.client.get("/api/claims", headers={"Origin": OURS})
        assert header in answer.headers["access-control-expose-headers"]


@pytest.mark.parametrize("path", ["/nothing", "/api/auth/me", "/fail"])
async def test_scripts_may_read_problems(tmp_path: Path, path: str) -> None:
    async with rest_world(tmp_path, cors_origins=OURS) as world:

        async def fail() -> None:
            raise RuntimeError("x")

        world.app.add_api_route("/fail", fail)
        answer = await world.client.get(path, headers={"Origin": OURS})
        assert answer.headers["access-control-allow-origin"] == OURS


async def test_scripts_may_read_that_a_body_was_too_large(tmp_path: Path) -> None:
    async with rest_world(tmp_path, cors_origins=OURS) as world:
        answer = await world.client.post("/api/auth/login", content=b" " * 70_000, headers={"Origin": OURS})
        assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (413, OURS)
