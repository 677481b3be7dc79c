"""What runs here: the service document, probes, metrics, documentation."""

import pytest

from backend.app import __version__
from backend.app.contracts.generate import asyncapi
from backend.app.errors import UnavailableError
from tests.support.backend.rest_app import World


async def test_the_service_says_what_it_is(world: World) -> None:
    assert (await world.client.get("/")).json() == {
        "service": "vouchstorm",
        "version": __version__,
        "websocket": "/ws",
        "node": "node-1",
        "docs": "/docs",
        "app": "/app/",
    }


@pytest.mark.parametrize("path", ["/", "/healthz"])
async def test_probes_may_ask_for_the_head_only(world: World, path: str) -> None:
    answer = await world.client.head(path)
    assert (answer.status_code, answer.content) == (200, b"")


async def test_a_process_that_answers_is_alive(world: World) -> None:
    assert (await world.client.get("/healthz")).json() == {"status": "ok"}


async def test_a_node_whose_store_is_down_is_alive_and_not_ready(world: World) -> None:
    async def down() -> None:
        raise UnavailableError("The store does not answer.")

    world.services.health.register("store", down)
    assert (await world.client.get("/healthz")).status_code == 200
    answer = await world.client.get("/readyz")
    assert answer.status_code == 503
    assert answer.json()["checks"]["store"] == "The store does not answer."


async def test_a_ready_node_says_so(world: World) -> None:
    world.services.health.register("store", world.services.store.ping)
    answer = await world.client.get("/readyz")
    assert (answer.status_code, answer.json()) == (
        200,
        {"ready": True, "checks": {"store": "ok", "draining": "ok"}},
    )


async def test_a_draining_node_is_not_ready(world: World) -> None:
    world.services.health.drain()
    answer = await world.client.get("/readyz")
    assert (answer.status_code, answer.json()["ready"]) == (503, False)


async def test_metrics_are_in_prometheus_text(world: World) -> None:
    answer = await world.client.get("/metrics")
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert "websocket_connected_users 0.0" in answer.text


async def test_the_socket_events_are_documented(world: World) -> None:
    answer = await world.client.get("/asyncapi.yaml")
    assert (answer.text, answer.headers["content-type"]) == (asyncapi(), "application/yaml")


async def test_the_routes_are_documented(world: World) -> None:
    assert (await world.client.get("/openapi.json")).json() == world.app.openapi()


async def test_the_documentation_page_may_load_its_script(world: World) -> None:
    answer = await world.client.get("/docs")
    policy = answer.headers["content-security-policy"]
    script = answer.text.split('<script src="', 1)[1].split("/", 3)
    assert f"script-src 'unsafe-inline' {script[0]}//{script[2]};" in policy
    assert "connect-src 'self';" in policy
