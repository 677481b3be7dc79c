"""Openings by hand from any loopback address: how each was answered; those let in stay as long as wanted."""

import asyncio
from dataclasses import dataclass, field

from tests.support.backend.node import Node
from tests.support.backend.raw import PATH, client_frame, opening


@dataclass
class Visit:
    """One connection. status: of the answer, 0 if the connection ended without one."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)

    async def authenticate(self, token: str) -> bool:
        """Send CONNECT; was it answered by `authenticated`?"""
        self.writer.write(client_frame(f'40{{"token":"{token}"}}'.encode()))
        heard = b""
        while b'"authenticated"' not in heard:
            data = await self.reader.read(65_536)
            if not data:
                return False
            heard += data
        return True

    async def ended(self) -> None:
        """Return when the server has closed the connection."""
        while await self.reader.read(65_536):
            pass

    def leave(self) -> None:
        self.writer.transport.abort()


async def visit(
    node: Node, address: str = "127.0.0.1", *, path: str = PATH, forwarded_for: str | None = None
) -> Visit:
    """Ask for a websocket, from this address, and read the answer's head."""
    visit = await knock(node, address, path=path, forwarded_for=forwarded_for)
    return await answered(visit)


async def knock(
    node: Node, address: str = "127.0.0.1", *, path: str = PATH, forwarded_for: str | None = None
) -> Visit:
    """Ask for a websocket, from this address, and do not wait for the answer."""
    reader, writer = await asyncio.open_connection(*node.address, local_addr=(address, 0))
    stated = [f"X-Forwarded-For: {forwarded_for}"] if forwarded_for else []
    writer.write(opening(node.address, path, *stated))
    return Visit(reader, writer)


async def answered(visit: Visit) -> Visit:
    """The same visit, once its answer's head is there."""
    try:
        head = (await visit.reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    except (asyncio.IncompleteReadError, ConnectionError):
        visit.leave()
        return visit
    visit.status = int(head[0].split(" ")[1])
    visit.headers = {
        name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)
    }
    if visit.status != 101:
        visit.leave()
    return visit
