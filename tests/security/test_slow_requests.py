"""Clients that are slow on purpose over HTTP are ended; the merely slow, and websockets, are not."""

import asyncio
import socket
from collections.abc import Iterator

import pytest

from backend.app.process.node import MAX_HEAD_BYTES
from tests.support.backend.node import Node, running_node
from tests.support.backend.rest import Rest
from tests.support.backend.sockets import connected
from tests.support.waiting import DEADLINE_S, until_async

DEADLINE = 2.0


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """A node with little patience."""
    with running_node(tmp_path_factory.mktemp("patience"), request_deadline_s=DEADLINE) as started:
        yield started


async def opened(node: Node) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection(*node.address)


async def ended(reader: asyncio.StreamReader) -> bytes:
    """What came before the node closed the connection."""
    heard = b""
    try:
        async with asyncio.timeout(DEADLINE_S):
            while part := await reader.read(65_536):
                heard += part
    except ConnectionError:
        pass
    return heard


@pytest.mark.parametrize(
    "beginning",
    [
        b"",
        b"G",
        b"GET / HTTP/1.1\r\nHost: x\r\nX-A: ",
        b"POST /api/auth/login HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{",
    ],
    ids=["nothing", "a letter", "half a head", "half a body"],
)
async def test_a_request_that_does_not_become_whole_is_ended(node: Node, beginning: bytes) -> None:
    reader, writer = await opened(node)
    writer.write(beginning)
    await ended(reader)
    writer.transport.abort()


async def test_a_byte_now_and_then_does_not_help(node: Node) -> None:
    reader, writer = await opened(node)
    dribble = asyncio.create_task(dribbling(writer))
    await ended(reader)
    dribble.cancel()
    writer.transport.abort()


async def dribbling(writer: asyncio.StreamWriter) -> None:
    writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nX-A: ")
    while not writer.is_closing():
        writer.write(b"a")
        await asyncio.sleep(DEADLINE / 10)


async def test_a_second_request_that_dribbles_is_ended_too(node: Node) -> None:
    reader, writer = await opened(node)
    writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
    assert b"200" in await reader.readuntil(b"\r\n\r\n")
    dribble = asyncio.create_task(dribbling(writer))
    await ended(reader)
    dribble.cancel()
    writer.transport.abort()


async def test_a_head_without_end_is_refused_and_not_kept(node: Node) -> None:
    before = node.metrics()["process_resident_memory_bytes"]
    reader, writer = await opened(node)
    writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nX-A: " + b"x" * 8 * 2**20)
    heard = await ended(reader)
    assert b" 431 " in heard or not heard  # the answer is lost where the kernel resets for what nobody read
    writer.transport.abort()
    assert node.metrics()["process_resident_memory_bytes"] - before < 6 * 2**20


async def test_the_refusal_of_a_head_is_a_whole_answer(node: Node) -> None:
    reader, writer = await opened(node)
    beginning = b"GET / HTTP/1.1\r\nHost: x\r\nX-A: "
    writer.write(beginning.ljust(MAX_HEAD_BYTES + 1, b"x"))  # nothing is left unread when it is refused
    head, _, body = (await ended(reader)).partition(b"\r\n\r\n")
    assert f"Content-Length: {len(body)}".encode() in head.split(b"\r\n")
    writer.transport.abort()


async def test_a_head_below_the_bound_is_read(node: Node) -> None:
    reader, writer = await opened(node)
    padding = b"x" * (MAX_HEAD_BYTES - 1_000)
    writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-A: " + padding + b"\r\n\r\n")
    assert b" 200 " in await reader.readuntil(b"\r\n\r\n")
    writer.transport.abort()


async def test_a_large_body_is_not_taken_for_a_head(node: Node) -> None:
    async with Rest(node.url) as rest:
        answer = await rest.post("/api/auth/login", body={"username": "x", "password": "y" * 60_000})
    assert answer.status_code == 422


async def test_a_slow_but_steady_client_is_served(node: Node) -> None:
    reader, writer = await opened(node)
    for part in (b"GET /heal", b"thz HTTP/1.1\r\n", b"Host: x\r\n", b"\r\n"):
        writer.write(part)
        await asyncio.sleep(DEADLINE / 20)
    assert b" 200 " in await reader.readuntil(b"\r\n\r\n")
    writer.transport.abort()


async def test_an_answer_that_nobody_reads_is_given_up(node: Node) -> None:
    async with Rest(node.url) as rest:
        ann = await rest.account()
        for _ in range(60):
            await rest.post("/api/claims", ann, {"title": "A long claim", "body": "x" * 9_000})
    before = node.metrics()["http_abandoned_total"]
    with socket.socket() as greedy:
        greedy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2_048)
        greedy.connect(node.address)
        greedy.sendall(b"GET /api/claims?limit=100 HTTP/1.1\r\nHost: x\r\n\r\n" * 4)

        async def given_up() -> bool:
            return (await asyncio.to_thread(node.metrics))["http_abandoned_total"] > before

        await until_async(given_up, "the greedy client is given up")


async def test_a_websocket_outlives_the_deadline(node: Node) -> None:
    async with Rest(node.url) as rest:
        ann = await rest.account()
    async with (
        connected(node.url, ann) as socket_,
        connected(node.url, ann, transports=["polling"]) as polling,
    ):
        reader, writer = await opened(node)
        await ended(reader)  # opened later, ended for its silence
        writer.transport.abort()
        await socket_.settle()
        await polling.settle()
        assert not socket_.gone


async def test_an_idle_connection_between_requests_is_kept(node: Node) -> None:
    reader, writer = await opened(node)
    other, silent = await opened(node)
    for _ in range(2):
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b" 200 " in await reader.readuntil(b"\r\n\r\n")
        await reader.readuntil(b"}")
        await ended(other)  # a deadline goes by
    writer.transport.abort()
    silent.transport.abort()
