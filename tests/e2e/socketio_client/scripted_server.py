"""Servers that follow a script: each connection is handled by a coroutine of the test, over real sockets."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from simulator.socketio_client.codec.websocket import accept_for

OPEN = {"sid": "s1", "upgrades": [], "pingInterval": 25000, "pingTimeout": 20000, "maxPayload": 1000000}


@dataclass
class Conversation:
    """One TCP connection, from the server's side. request: the last head that was read, in lower case."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    request: dict[str, str] = field(default_factory=dict)
    first_line: str = ""

    async def read_request(self) -> bytes:
        """Read one HTTP request; its body. Raises IncompleteReadError when the client is gone."""
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        self.first_line = head[0]
        self.request = {
            name.lower(): value.strip()
            for name, _, value in (line.partition(":") for line in head[1:] if line)
        }
        return await self.reader.readexactly(int(self.request.get("content-length", 0)))

    async def answer(self, body: bytes, status: str = "200 OK", *headers: str) -> None:
        """One HTTP response."""
        lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers]
        await self.write("\r\n".join(lines).encode() + b"\r\n\r\n" + body)

    async def accept_websocket(self, *headers: str) -> None:
        """Read the handshake request and answer 101."""
        await self.read_request()
        accept = accept_for(self.request["sec-websocket-key"].encode())
        lines = ["HTTP/1.1 101 Switching Protocols", "Upgrade: websocket", "Connection: Upgrade", *headers]
        await self.write("\r\n".join([*lines, f"Sec-WebSocket-Accept: {accept}"]).encode() + b"\r\n\r\n")

    async def open_session(self, **changes: object) -> None:
        """The websocket handshake, the OPEN packet, and the answer to CONNECT."""
        await self.accept_websocket()
        await self.send(b"0" + json.dumps(OPEN | changes).encode())
        assert (await self.receive()).startswith(b"40")
        await self.send(b'40{"sid":"x1"}')

    async def send(self, packet: bytes, head: int = 0x81) -> None:
        """One WebSocket frame of fewer than 65,536 bytes."""
        size = len(packet)
        start = bytes((head, size)) if size < 126 else bytes((head, 126)) + size.to_bytes(2, "big")
        await self.write(start + packet)

    async def receive(self) -> bytes:
        """The payload of the next frame of the client, with its opcode ahead if it is not text."""
        head, size = await self.reader.readexactly(2)
        assert size & 0x80
        size &= 0x7F
        if size == 126:
            size = int.from_bytes(await self.reader.readexactly(2), "big")
        assert await self.reader.readexactly(4) == b"\0\0\0\0"
        payload = await self.reader.readexactly(size)
        return payload if head == 0x81 else bytes((head,)) + payload

    async def write(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()


Script = Callable[[Conversation], Awaitable[None]]


@asynccontextmanager
async def scripted(*scripts: Script, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """A server whose first connection follows the first script and so on, the last one for ever; its port."""
    waiting = list(scripts)
    failures: list[BaseException] = []
    running: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        running.add(task)
        script = waiting.pop(0) if len(waiting) > 1 else waiting[0]
        try:
            await script(Conversation(reader, writer))
        except (OSError, asyncio.IncompleteReadError):
            pass  # the client ended the conversation
        except asyncio.CancelledError:
            return
        except BaseException as error:  # noqa: BLE001 - raised below, where the test sees it
            failures.append(error)
        finally:
            running.discard(task)
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in list(running):
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        await asyncio.sleep(0)
    if failures:
        raise failures[0]
