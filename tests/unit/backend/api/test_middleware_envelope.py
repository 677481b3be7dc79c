"""Request ids, security headers and the latency metric; and what the middleware leaves alone."""

import re
from typing import Any

import pytest

from backend.app.api.middleware import Cors, Envelope, Limits
from backend.app.clock import SortableIds
from backend.app.observability.logs import request_id
from backend.app.observability.metrics import Metrics
from tests.support.backend.rest_app import ManualClock, World


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
