"""What fuzzing found once, kept as it was."""

import asyncio

import httpx
import pytest

from tests.support.backend.node import Node


@pytest.mark.parametrize("query", ["%ff", "%C3=1", "EIO=4&x=%80", "sid=%ff", "EIO=4&transport=%ed%a0%80"])
async def test_a_query_that_is_no_text_is_refused_in_order(fuzzed_node: Node, query: str) -> None:
    async with httpx.AsyncClient(base_url=fuzzed_node.url) as http:
        answer = await http.get(f"/ws/socket.io/?{query}")
    assert answer.status_code in (200, 400)
    assert "Traceback" not in fuzzed_node.log()


@pytest.mark.parametrize(
    "path", ["/ws/socket.io/?EIO=4", "/ws/socket.io/?EIO=4&transport=polling&sid=x", "/"]
)
async def test_a_client_that_leaves_in_the_middle_of_its_request_is_forgotten(
    fuzzed_node: Node, path: str
) -> None:
    for _ in range(20):
        _, writer = await asyncio.open_connection(*fuzzed_node.address)
        writer.write(f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nab".encode())
        writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nab".encode())
        await writer.drain()
        writer.transport.abort()
    async with httpx.AsyncClient(base_url=fuzzed_node.url) as http:
        assert (await http.get("/healthz")).status_code == 200
    assert "Traceback" not in fuzzed_node.log()
