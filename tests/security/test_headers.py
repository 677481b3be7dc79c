"""Security headers of a real node, and whose word counts on where a request came from."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import httpx
import pytest

from tests.support.backend.node import Node, running_node

PROXY, STRANGER = "127.0.0.1", "127.0.0.2"
LIMIT = 5


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """A node that trusts one proxy and serves few requests of one address."""
    settings = {"requests_per_address_per_min": LIMIT, "trusted_proxies": PROXY}
    with running_node(tmp_path_factory.mktemp("headers"), **settings) as started:
        yield started


@asynccontextmanager
async def coming_from(node: Node, address: str) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.AsyncHTTPTransport(local_address=address)
    async with httpx.AsyncClient(base_url=node.url, transport=transport) as http:
        yield http


PATHS = ["/healthz", "/metrics", "/readyz"]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("X-Content-Type-Options", "nosniff"),
        ("X-Frame-Options", "DENY"),
        ("Referrer-Policy", "no-referrer"),
        ("Cross-Origin-Opener-Policy", "same-origin"),
        ("Cross-Origin-Resource-Policy", "same-origin"),
    ],
)
async def test_every_answer_carries_the_header(node: Node, path: str, header: str, value: str) -> None:
    async with coming_from(node, PROXY) as http:
        assert (await http.get(path)).headers[header] == value


@pytest.mark.parametrize("path", [*PATHS, "/app/"])
async def test_nothing_may_be_framed(guarded_node: Node, path: str) -> None:
    async with coming_from(guarded_node, PROXY) as http:
        assert "frame-ancestors 'none'" in (await http.get(path)).headers["Content-Security-Policy"]


async def test_the_web_ui_speaks_to_its_own_origin_only(guarded_node: Node) -> None:
    async with coming_from(guarded_node, PROXY) as http:
        policy = (await http.get("/app/")).headers["Content-Security-Policy"]
    assert "connect-src 'self';" in policy
    assert "unsafe" not in policy


async def test_the_servers_name_is_not_told(node: Node) -> None:
    async with coming_from(node, PROXY) as http:
        assert "server" not in (await http.get("/healthz")).headers


# ---------------------------------------------------------------- a proxy's word


async def test_tls_at_a_trusted_proxy_is_made_lasting(node: Node) -> None:
    async with coming_from(node, PROXY) as http:
        answer = await http.get("/healthz", headers={"X-Forwarded-Proto": "https"})
    assert answer.headers["Strict-Transport-Security"].startswith("max-age=")


async def test_without_tls_nothing_is_said_of_it(node: Node) -> None:
    async with coming_from(node, PROXY) as http:
        assert "Strict-Transport-Security" not in (await http.get("/healthz")).headers


async def test_a_strangers_word_on_tls_does_not_count(node: Node) -> None:
    async with coming_from(node, STRANGER) as http:
        answer = await http.get("/healthz", headers={"X-Forwarded-Proto": "https"})
    assert "Strict-Transport-Security" not in answer.headers


async def served(node: Node, source: str, forwarded: list[str]) -> int:
    """How many of these requests were answered; one request for each X-Forwarded-For."""
    async with coming_from(node, source) as http:
        answers = [await http.get("/api/badges", headers={"X-Forwarded-For": value}) for value in forwarded]
    return [answer.status_code for answer in answers].count(200)


async def test_a_stranger_cannot_change_their_address(node: Node) -> None:
    assert await served(node, STRANGER, [f"10.1.0.{number}" for number in range(20)]) <= 2 * LIMIT


async def test_clients_of_a_trusted_proxy_are_told_apart(node: Node) -> None:
    assert await served(node, PROXY, [f"10.2.0.{number}" for number in range(20)]) == 20


async def test_a_client_of_a_trusted_proxy_cannot_prepend_an_address(node: Node) -> None:
    assert await served(node, PROXY, [f"10.3.0.{number}, 10.4.0.1" for number in range(20)]) <= 2 * LIMIT
