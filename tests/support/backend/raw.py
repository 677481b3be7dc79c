"""A websocket by hand, for clients that misbehave: any bytes, in any pieces, reading or not."""

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.support.backend.node import Node
from tests.support.waiting import DEADLINE_S, until

PATH = "/ws/socket.io/?EIO=4&transport=websocket"
MASK = b"\x11\x22\x33\x44"
KEY = "dGhlIHNhbXBsZSBub25jZQ=="


def opening(address: tuple[str, int], path: str = PATH, *headers: str) -> bytes:
    """The request for a websocket. headers: further lines."""
    lines = [f"GET {path} HTTP/1.1", f"Host: {address[0]}:{address[1]}", "Upgrade: websocket"]
    lines += ["Connection: Upgrade", f"Sec-WebSocket-Key: {KEY}", "Sec-WebSocket-Version: 13", *headers]
    return "\r\n".join([*lines, "\r\n"]).encode()


def client_frame(
    payload: bytes, opcode: int = 0x1, *, final: bool = True, mask: bytes = MASK, bits: int = 0
) -> bytes:
    """A masked frame as a client sends it. bits: reserved ones that are set."""
    first, size = (0x80 if final else 0) | bits | opcode, len(payload)
    if size < 126:
        head = struct.pack("!BB", first, 0x80 | size)
    elif size < 65_536:
        head = struct.pack("!BBH", first, 0x80 | 126, size)
    else:
        head = struct.pack("!BBQ", first, 0x80 | 127, size)
    return head + mask + bytes(byte ^ mask[index % 4] for index, byte in enumerate(payload))


class RawSocket:
    """An open websocket. heard: text messages in order. Answers heartbeats while it reads.

    close_code: of the server's close frame, None without one. closed: the transport has ended.
    """

    def __init__(self, sock: socket.socket) -> None:
        self.heard: list[str] = []
        self.closed = False
        self.close_code: int | None = None
        self.pongs = 0
        self.answers_pings = True
        self._sock = sock
        self._reader: asyncio.Task[None] | None = None

    # -------------------------------------------------------------- out

    async def send_bytes(self, data: bytes) -> None:
        with contextlib.suppress(ConnectionError):
            await asyncio.get_running_loop().sock_sendall(self._sock, data)

    async def send(self, *texts: str) -> None:
        """Send Engine.IO packets, all in one piece."""
        await self.send_bytes(b"".join(client_frame(text.encode()) for text in texts))

    # -------------------------------------------------------------- in

    def read(self) -> None:
        """Start reading."""
        self._reader = asyncio.create_task(self._read())

    async def _read(self) -> None:
        stream = b""
        try:
            while data := await asyncio.get_running_loop().sock_recv(self._sock, 65_536):
                stream += data
                stream = await self._take(stream)
        except ConnectionError:
            pass
        self.closed = True

    async def _take(self, stream: bytes) -> bytes:
        while len(stream) >= 2:
            size, start = stream[1], 2
            if size >= 126:
                start = 4 if size == 126 else 10
                size = int.from_bytes(stream[2:start], "big")
            if len(stream) < start + size:
                break
            await self._frame(stream[0] & 0x0F, stream[start : start + size])
            stream = stream[start + size :]
        return stream

    async def _frame(self, opcode: int, payload: bytes) -> None:
        if opcode == 0x8:
            self.close_code = int.from_bytes(payload[:2], "big")
            await self.send_bytes(client_frame(payload[:2], 0x8))
        elif opcode == 0xA:
            self.pongs += 1
        elif payload == b"2":
            if self.answers_pings:
                await self.send("3")
        else:
            self.heard.append(payload.decode())

    def saying(self, part: str) -> list[str]:
        """Messages that contain this."""
        return [text for text in self.heard if part in text]

    async def until_heard(self, part: str, count: int = 1) -> str:
        """The count-th message that contains this."""
        await until(lambda: self.closed or len(self.saying(part)) >= count, part)
        assert len(self.saying(part)) >= count, f"closed before {part!r}; heard {self.heard[-5:]}"
        return self.saying(part)[count - 1]

    async def until_closed(self) -> None:
        await until(lambda: self.closed, "the server closes the connection")

    async def end(self) -> None:
        if self._reader is not None:
            self._reader.cancel()
            await asyncio.gather(self._reader, return_exceptions=True)
        self._sock.close()


async def _handshake(node: Node, sock: socket.socket, path: str, behind: bytes) -> None:
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(sock, opening(node.address, path) + behind)
    answer = b""
    while not answer.endswith(b"\r\n\r\n"):
        byte = await loop.sock_recv(sock, 1)  # one by one: what follows belongs to the reader
        assert byte, f"refused: {answer!r}"
        answer += byte
    assert answer.startswith(b"HTTP/1.1 101"), answer


@asynccontextmanager
async def raw_socket(
    node: Node,
    *,
    path: str = PATH,
    reading: bool = True,
    receive_bytes: int | None = None,
    behind: bytes = b"",
) -> AsyncIterator[RawSocket]:
    """An open websocket without any Socket.IO on it yet.

    receive_bytes: size of the kernel's receive buffer. behind: bytes sent in one piece with the handshake.
    """
    sock = socket.socket()
    if receive_bytes is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
    sock.setblocking(False)
    raw = RawSocket(sock)
    try:
        async with asyncio.timeout(DEADLINE_S):
            await asyncio.get_running_loop().sock_connect(sock, node.address)
            await _handshake(node, sock, path, behind)
        if reading:
            raw.read()
        yield raw
    finally:
        await raw.end()
