"""A Valkey (or Redis) of our own for the bus trial, and how many messages it was given."""

import asyncio
import socket
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Self

from redis.asyncio import Redis
from redis.exceptions import RedisError

from backend.app.children import end
from backend.app.errors import SetupError
from backend.stack.programs import valkey_program

from .system import ContestantError

START_TIMEOUT_S = 20.0
STOP_TIMEOUT_S = 10.0
_PUBLISHING = ("publish", "spublish")


@asynccontextmanager
async def running_valkey() -> AsyncIterator[str]:
    """The URL of a server on loopback that lives as long as the context. Raises ContestantError."""
    try:
        program = valkey_program()
    except SetupError as error:
        raise ContestantError(str(error)) from error
    with tempfile.TemporaryDirectory(prefix="vouchstorm-bench-bus-") as directory:
        port = _free_port()
        process = await asyncio.create_subprocess_exec(
            program, "--port", str(port), "--bind", "127.0.0.1", "--dir", directory, "--save", "",
            stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
            start_new_session=True,
        )  # fmt: skip
        try:
            url = f"redis://127.0.0.1:{port}/0"
            await _answers(url)
            yield url
        finally:
            await end(process, STOP_TIMEOUT_S)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def _answers(url: str) -> None:
    async with asyncio.timeout(START_TIMEOUT_S), Redis.from_url(url) as client:
        while True:
            try:
                await client.ping()
            except RedisError:
                await asyncio.sleep(0.05)
            else:
                return


class Counter:
    """Messages that were published to the server so far, on ordinary and sharded channels."""

    def __init__(self, url: str) -> None:
        self._client: Redis = Redis.from_url(url)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.aclose()

    async def read(self) -> int:
        """How many by now."""
        stats = await self._client.info("commandstats")
        return sum(int(stats.get(f"cmdstat_{name}", {}).get("calls", 0)) for name in _PUBLISHING)
