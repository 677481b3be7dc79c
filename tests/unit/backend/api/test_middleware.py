"""What every request passes: request ids, headers, metrics, origins, body limits and rates."""

import re
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from backend.app.api.middleware import Cors, Envelope, Limits, client_of
from backend.app.clock import SortableIds
from backend.app.observability.logs import request_id
from backend.app.observability.metrics import Metrics
from backend.app.services.login_guard import LoginGuard
from backend.app.services.throttle import Throttle
from tests.support.backend.rest_app import PASSWORD, ManualClock, World, rest_world


def observed(world: World, **labels: str) -> float | None:
    return world.services.metrics.registry.get_sample_value("http_request_seconds_count", labels)


async def test_every_answer_has_a_request_id(world: World) -> None:
    answer = await world.client.get("/healthz")
    assert re.fullmatch(r"[0-9a-f]{32}", answer.headers["x-request-id"])


async def test_a_given_request_id_is_kept(world: World) -> None:
    answer = await world.client.get("/healthz", headers={"X-Request-ID": "from-the-proxy.1"})
    assert answer.headers["x-request-id"] == "from-the-proxy.1"


@pytest.mark.parametrize("given", ["", "a b", "x" * 65, "<script>", "caf\xe9"], ids=repr)
async def test_an_unusable_request_id_is_replaced(world: World, given: str) -> None:
    answer = await world.client.get("/healthz", headers={b"x-request-id": given.encode("latin-1")})
    assert answer.headers["x-request-id"] != given


async def test_the_request_id_does_not_outlive_its_request(world: World) -> None:
    await world.client.get("/healthz")
    assert request_id.get() is None


@pytest.mark.parametrize("path", ["/healthz", "/api/claims", "/nothing", "/api/auth/me", "/app/"])
@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("x-content-type-options", "nosniff"),
        ("x-frame-options", "DENY"),
        ("referrer-policy", "no-referrer"),
        ("cross-origin-opener-policy", "same-origin"),
    ],
)
async def test_every_answer_carries_the_security_headers(
    world: World, path: str, header: str, value: str
) -> None:
    assert (await world.client.get(path)).headers[header] == value


async def test_api_answers_may_load_nothing_and_are_not_cached(world: World) -> None:
    headers = (await world.client.get("/api/claims")).headers
    assert headers["content-security-policy"].startswith("default-src 'none'")
    assert headers["cache-control"] == "no-store"


async def test_latency_is_observed_by_route_template(world: World) -> None:
    await world.client.get("/api/claims/secret-claim")
    assert observed(world, method="GET", route="/api/claims/{claim_id}", status="404") == 1


async def test_unknown_addresses_share_one_series(world: World) -> None:
    for number in range(20):
        await world.client.get(f"/scan/{number}")
    assert observed(world, method="GET", route="unmatched", status="404") == 20


async def test_ids_never_reach_the_metrics(world: World) -> None:
    anna, bert = await world.person("anna"), await world.person("bert")
    claim_id = await world.claim(anna)
    await world.validate(bert, claim_id)
    await world.client.get(f"/api/users/{anna.id}")
    await world.client.get(f"/{claim_id}/{bert.id}")
    exposition = (await world.client.get("/metrics")).text
    assert not [known for known in (anna.id, bert.id, claim_id) if known in exposition]


async def test_an_unexpected_error_is_observed_as_500_and_is_over(world: World) -> None:
    async def fail() -> None:
        raise RuntimeError("x")

    world.app.add_api_route("/fail", fail)
    await world.client.get("/fail")
    assert observed(world, method="GET", route="/fail", status="500") == 1
    assert world.services.metrics.registry.get_sample_value("http_requests_in_flight") == 0


class Echo:
    """Keeps the very objects it was called with."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, Any, Any]] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.calls.append((scope, receive, send))


@pytest.mark.parametrize(
    "scope",
    [
        {"type": "websocket", "path": "/ws/socket.io/"},
        {"type": "http", "path": "/ws/socket.io/", "method": "GET", "headers": []},
        {"type": "http", "path": "/ws", "method": "POST", "headers": []},
        {"type": "lifespan"},
    ],
    ids=["websocket", "polling", "bare", "lifespan"],
)
async def test_the_sockets_path_is_left_alone(scope: dict[str, Any]) -> None:
    echo, metrics = Echo(), Metrics("0", "n")
    guarded = Cors(Limits(echo, max_body_bytes=1), origins=("https://a.example",))
    app = Envelope(guarded, metrics=metrics, ids=SortableIds(ManualClock()))
    receive, send = object(), object()
    await app(scope, receive, send)  # type: ignore[arg-type]
    assert echo.calls == [(scope, receive, send)]


async def test_a_path_that_only_begins_like_the_sockets_is_ours(world: World) -> None:
    assert "x-request-id" in (await world.client.get("/wsx")).headers


# ---------------------------------------------------------------- origins


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


# ---------------------------------------------------------------- bodies


LIMIT_BYTES = 1_024


@pytest.fixture
async def small(tmp_path: Path) -> AsyncIterator[World]:
    async with rest_world(tmp_path, max_body_bytes=LIMIT_BYTES) as made:
        yield made


def stream(chunks: int) -> AsyncIterator[bytes]:
    async def generate() -> AsyncIterator[bytes]:
        for _ in range(chunks):
            yield b" " * 100

    return generate()


@pytest.mark.parametrize(
    ("streamed", "headers"),
    [(False, {}), (True, {}), (True, {"Content-Length": "5"})],
    ids=["declared", "streamed", "declared as less"],
)
async def test_a_body_above_the_limit_is_refused(
    small: World, streamed: bool, headers: dict[str, str]
) -> None:
    content = stream(11) if streamed else b" " * (LIMIT_BYTES + 1)
    answer = await small.client.post("/api/auth/login", content=content, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")
    assert answer.headers["connection"] == "close"
    assert streamed or "1024 bytes" in answer.json()["detail"]


async def test_a_body_at_the_limit_is_read(small: World) -> None:
    await small.person("anna")
    body = f'{{"username": "anna", "password": "{PASSWORD}"'.encode()
    content = body + b" " * (LIMIT_BYTES - len(body) - 1) + b"}"
    answer = await small.client.post(
        "/api/auth/login", content=content, headers={"Content-Type": "application/json"}
    )
    assert (len(content), answer.status_code) == (LIMIT_BYTES, 200)


async def test_a_body_nobody_asked_for_is_not_read(small: World) -> None:
    pulled = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal pulled
        while pulled < 1000:
            pulled += 1
            yield b" " * 100

    answer = await small.client.request("GET", "/healthz", content=endless())
    assert answer.status_code == 200
    assert pulled * 100 <= LIMIT_BYTES + 100


@pytest.mark.parametrize("declared", ["-1", "many", "1e9", "9" * 40, "\xb2"], ids=repr)
async def test_a_nonsensical_length_does_not_break_anything(small: World, declared: str) -> None:
    headers = {b"content-length": declared.encode("latin-1"), b"content-type": b"application/json"}
    answer = await small.client.post("/api/auth/login", content=stream(1), headers=headers)
    assert answer.status_code == 422


def broken(messages: list[dict[str, Any]]) -> Callable[[Any, Any, Any], Any]:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        for message in messages:
            await send(message)
        raise RuntimeError("broke in the middle")

    return app


async def test_an_answer_that_breaks_in_the_middle_is_cut_off() -> None:
    start = {"type": "http.response.start", "status": 200, "headers": []}
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    scope = {"type": "http", "path": "/x", "method": "GET", "headers": []}
    with pytest.raises(RuntimeError):
        await Limits(broken([start]), max_body_bytes=1)(scope, receive, send)
    assert sent == [start]


# ---------------------------------------------------------------- rates


LIMIT = 10


def at(world: World, address: str) -> httpx.AsyncClient:
    """A client that comes from this address."""
    transport = httpx.ASGITransport(app=world.app, client=(address, 1234))
    return httpx.AsyncClient(transport=transport, base_url="http://test")


async def statuses(client: httpx.AsyncClient, tries: int, path: str = "/api/badges") -> list[int]:
    return [(await client.get(path)).status_code for _ in range(tries)]


@pytest.fixture
async def limited(tmp_path: Path) -> AsyncIterator[World]:
    async with rest_world(tmp_path, requests_per_address_per_min=LIMIT) as made:
        yield made


async def test_an_address_may_ask_as_often_as_the_limit_says(limited: World) -> None:
    assert (await statuses(limited.client, 15)).count(200) == LIMIT


async def test_the_refusal_says_how_long_to_wait_and_then_the_address_is_served(limited: World) -> None:
    await statuses(limited.client, LIMIT)
    answer = await limited.client.get("/api/badges")
    assert (answer.status_code, answer.json()["code"]) == (429, "rate_limited")
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["x-content-type-options"] == "nosniff"
    wait_s = int(answer.headers["retry-after"])
    assert 1 <= wait_s <= 60
    limited.clock.advance(wait_s)
    assert await statuses(limited.client, 1) == [200]


async def test_another_address_is_served(limited: World) -> None:
    await statuses(limited.client, LIMIT + 5)
    async with at(limited, "10.0.0.2") as other:
        assert await statuses(other, 5) == [200] * 5


@pytest.mark.parametrize("probe", ["/healthz", "/readyz", "/metrics"])
async def test_probes_are_never_refused(limited: World, probe: str) -> None:
    await statuses(limited.client, LIMIT + 5)
    assert await statuses(limited.client, LIMIT + 5, probe) == [200] * (LIMIT + 5)


async def test_a_header_does_not_change_the_address(limited: World) -> None:
    await statuses(limited.client, LIMIT)
    answer = await limited.client.get(
        "/api/badges", headers={"X-Forwarded-For": "9.9.9.9", "Forwarded": "for=9.9.9.9"}
    )
    assert answer.status_code == 429


async def test_refusals_are_counted(limited: World) -> None:
    await statuses(limited.client, LIMIT + 3)
    counted = limited.services.metrics.registry.get_sample_value(
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
