"""The lean HTTP client against a server that answers as it is told."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from simulator.socketio_client import Endpoint
from simulator.target.http_client import RestClient, RestError

Script = Callable[[int, bytes], bytes | None]
"""What to answer to the n-th request of all (its head and body); None: close without a word."""


class Peer:
    """Counts connections and keeps what came in."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.connections = 0
        self.requests: list[bytes] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0] or 0)
                self.requests.append(head + await reader.readexactly(length))
                answer = self.script(len(self.requests), self.requests[-1])
                if answer is None:
                    break
                writer.write(answer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def talking_to(script: Script) -> AsyncIterator[tuple[RestClient, Peer]]:
    peer = Peer(script)
    server = await asyncio.start_server(peer.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    client = RestClient(Endpoint.parse(f"http://127.0.0.1:{port}"))
    try:
        yield client, peer
    finally:
        await client.close()
        server.close()
        await server.wait_closed()


def ok(body: bytes = b"{}", extra: bytes = b"") -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n%s\r\n%s" % (len(body), extra, body)


async def test_a_body_goes_out_as_json_and_comes_back() -> None:
    async with talking_to(lambda n, request: ok(b'{"a": 1}')) as (client, peer):
        reply = await client.request("POST", "/x", body={"b": 2}, headers={"X-Y": "z"})
    assert (reply.status, reply.json()) == (200, {"a": 1})
    assert peer.requests[0].endswith(b'{"b":2}')
    assert b"X-Y: z\r\n" in peer.requests[0]


async def test_a_connection_is_kept() -> None:
    async with talking_to(lambda n, request: ok()) as (client, peer):
        for _ in range(3):
            await client.request("GET", "/")
    assert peer.connections == 1


async def test_a_connection_the_server_wants_closed_is_not_kept() -> None:
    async with talking_to(lambda n, request: ok(extra=b"Connection: close\r\n")) as (client, peer):
        await client.request("GET", "/")
        await client.request("GET", "/")
    assert peer.connections == 2


async def test_a_kept_connection_that_the_server_closed_is_replaced() -> None:
    async with talking_to(lambda n, request: None if n == 2 else ok()) as (client, peer):
        await client.request("GET", "/")
        reply = await client.request("GET", "/")
    assert (reply.status, peer.connections) == (200, 2)


async def test_a_fresh_connection_that_the_server_closes_is_an_error() -> None:
    async with talking_to(lambda n, request: None) as (client, _):
        with pytest.raises(RestError, match="closed the connection"):
            await client.request("GET", "/")


async def test_a_chunked_body_is_put_together() -> None:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    async with talking_to(lambda n, request: head + b"3\r\n[1,\r\n2\r\n2]\r\n0\r\n\r\n") as (client, _):
        assert (await client.request("GET", "/")).json() == [1, 2]


async def test_no_answer_in_time_is_an_error() -> None:
    async with talking_to(lambda n, request: b"") as (client, _):
        with pytest.raises(RestError, match=r"no answer within 0\.05 s"):
            await client.request("GET", "/", timeout_s=0.05)


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-x\r\n\r\n",
        b"HTTP/1.1 abc OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
)
async def test_an_answer_that_is_no_http_is_an_error(answer: bytes) -> None:
    async with talking_to(lambda n, request: answer) as (client, _):
        with pytest.raises(RestError):
            await client.request("GET", "/")


async def test_nobody_listening_is_an_error() -> None:
    server = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    with pytest.raises(RestError, match="cannot connect"):
        await RestClient(Endpoint.parse(f"http://127.0.0.1:{port}")).request("GET", "/")


async def test_what_is_no_json_is_told() -> None:
    async with talking_to(lambda n, request: ok(b"<html>")) as (client, _):
        with pytest.raises(RestError, match="no JSON"):
            (await client.request("GET", "/")).json()


async def test_an_answer_is_timed_after_its_request() -> None:
    async with talking_to(lambda n, request: ok()) as (client, _):
        reply = await client.request("GET", "/")
    assert reply.sent_ns < reply.answered_ns
