"""A Valkey (or Redis) of our own for the bus trial, and how many messages it was given."""

import asyncio
import socket
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from redis.asyncio import Redis
from redis.exceptions import RedisError

from backend.app.errors import SetupError
from backend.stack.programs import valkey_program

from .contestant import ContestantError

START_TIMEOUT_S = 20.0
STOP_TIMEOUT_S = 10.0


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
        )  # fmt: skip
        try:
            url = f"redis://127.0.0.1:{port}/0"
            await _answers(url)
            yield url
        finally:
            process.terminate()
            async with asyncio.timeout(STOP_TIMEOUT_S):
                await process.wait()


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


async def published(url: str) -> int:
    """Messages that were published to the server since it started, on ordinary and sharded channels."""
    async with Redis.from_url(url) as client:
        stats = await client.info("commandstats")
    return sum(int(stats.get(f"cmdstat_{name}", {}).get("calls", 0)) for name in ("publish", "spublish"))
