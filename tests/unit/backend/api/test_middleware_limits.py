"""The body limit, declared, streamed and lied about; and answers that break in the middle."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from backend.app.api.middleware import Limits
from tests.support.backend.rest_app import PASSWORD, World, rest_world

LIMIT_BYTES = 1_024


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
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
    world: World, streamed: bool, headers: dict[str, str]
) -> None:
    content = stream(11) if streamed else b" " * (LIMIT_BYTES + 1)
    answer = await world.client.post("/api/auth/login", content=content, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")
    assert answer.headers["connection"] == "close"
    assert streamed or "1024 bytes" in answer.json()["detail"]


async def test_a_body_at_the_limit_is_read(world: World) -> None:
    await world.person("anna")
    body = f'{{"username": "anna", "password": "{PASSWORD}"'.encode()
    content = body + b" " * (LIMIT_BYTES - len(body) - 1) + b"}"
    answer = await world.client.post(
        "/api/auth/login", content=content, headers={"Content-Type": "application/json"}
    )
    assert (len(content), answer.status_code) == (LIMIT_BYTES, 200)


async def test_a_body_nobody_asked_for_is_not_read(world: World) -> None:
    pulled = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal pulled
        while pulled < 1000:
            pulled += 1
            yield b" " * 100

    answer = await world.client.request("GET", "/healthz", content=endless())
    assert answer.status_code == 200
    assert pulled * 100 <= LIMIT_BYTES + 100


@pytest.mark.parametrize("declared", ["-1", "many", "1e9", "9" * 40, "\xb2"], ids=repr)
async def test_a_nonsensical_length_does_not_break_anything(world: World, declared: str) -> None:
    headers = {b"content-length": declared.encode("latin-1"), b"content-type": b"application/json"}
    answer = await world.client.post("/api/auth/login", content=stream(1), headers=headers)
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
