"""Dials sockets and writes request heads, with the address, headers, cookies and source of one client.

Keeps the cookies a load balancer hands out (sticky sessions) across reconnects, as a browser does.
"""

import asyncio
import contextlib
import ipaddress
import random
import socket
import struct
import sys
from base64 import b64encode
from collections.abc import Callable, Mapping
from typing import Final

from .codec.http import Response, encode_head
from .endpoint import Endpoint

_IP_BIND_ADDRESS_NO_PORT: Final = 24  # Linux; missing in the socket module of Python 3.11
_RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)
MAX_COOKIES: Final = 50


class Connector:
    """What all connections of a client share. header_lines: encoded, each with its CRLF.

    receive_buffer_bytes: SO_RCVBUF of every socket, set before it connects; None: the kernel's choice.
    """

    __slots__ = ("_cookies", "_header_lines", "_rng", "endpoint", "receive_buffer_bytes", "source_ip")

    def __init__(
        self, endpoint: Endpoint, header_lines: bytes, source_ip: str | None, rng: random.Random
    ) -> None:
        self.endpoint = endpoint
        self.source_ip = source_ip
        self.receive_buffer_bytes: int | None = None
        self._header_lines = header_lines
        self._rng = rng
        self._cookies: dict[str, str] | None = None  # most clients never get one

    async def dial(self, protocol: Callable[[], asyncio.Protocol]) -> None:
        """Connect TCP (and TLS) and hand the transport to the protocol; tries each address of the host.

        Raises OSError (ssl.SSLError is one) when none answers, ValueError when the name is impossible.
        """
        loop = asyncio.get_running_loop()
        sock = await self._connected_socket(loop)
        endpoint = self.endpoint
        try:
            await loop.create_connection(
                protocol,
                sock=sock,
                ssl=endpoint.tls,
                server_hostname=endpoint.host if endpoint.tls is not None else None,
            )
        except BaseException:
            sock.close()
            raise

    async def _connected_socket(self, loop: asyncio.AbstractEventLoop) -> socket.socket:
        failure: OSError | None = None
        for family, address in await self._addresses(loop):
            sock = socket.socket(family, socket.SOCK_STREAM)
            try:
                sock.setblocking(False)
                if self.receive_buffer_bytes is not None:
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self.receive_buffer_bytes)
                self._bind(sock)
                await loop.sock_connect(sock, address)
                return sock
            except OSError as error:
                sock.close()
                failure = error
            except BaseException:
                sock.close()
                raise
        raise failure or OSError(f"{self.endpoint.host} has no address")

    async def _addresses(
        self, loop: asyncio.AbstractEventLoop
    ) -> list[tuple[socket.AddressFamily, tuple[str, int]]]:
        host, port = self.endpoint.host, self.endpoint.port
        try:
            version = ipaddress.ip_address(host).version
        except ValueError:
            found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            return [(family, (str(address[0]), port)) for family, _, _, _, address in found]
        return [(socket.AF_INET if version == 4 else socket.AF_INET6, (host, port))]

    def _bind(self, sock: socket.socket) -> None:
        if self.source_ip is None:
            return
        if sys.platform == "linux":
            # The port is then chosen at connect, unique per pair of addresses: far more of them.
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.IPPROTO_IP, _IP_BIND_ADDRESS_NO_PORT, 1)
        sock.bind((self.source_ip, 0))

    def request(self, method: str, target: str, body: bytes = b"") -> bytes:
        """A whole keep-alive request."""
        headers = {"Host": self.endpoint.authority, "Accept": "*/*"}
        if method == "POST":
            headers["Content-Type"] = "text/plain;charset=UTF-8"
            headers["Content-Length"] = str(len(body))
        return self._head(method, target, headers) + body

    def upgrade_request(self, target: str) -> tuple[bytes, bytes]:
        """A WebSocket handshake request, and the key that its answer must prove to have seen."""
        key = b64encode(self._rng.randbytes(16))
        headers = {
            "Host": self.endpoint.authority,
            "Upgrade": "websocket",
            "Connection": "Upgrade",
            "Sec-WebSocket-Key": key.decode("ascii"),
            "Sec-WebSocket-Version": "13",
        }
        return self._head("GET", target, headers), key

    def _head(self, method: str, target: str, headers: dict[str, str]) -> bytes:
        if self._cookies:
            headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in self._cookies.items())
        return encode_head(method, target, headers, self._header_lines)

    def remember(self, response: Response) -> None:
        """Keep the response's cookies; at most fifty names."""
        for name, value in response.cookies.items():
            cookies = self._cookies = self._cookies or {}
            if value is None:
                cookies.pop(name, None)
            elif name in cookies or len(cookies) < MAX_COOKIES:
                cookies[name] = value

    @property
    def cookies(self) -> Mapping[str, str]:
        """The cookies kept so far."""
        return self._cookies or {}


def reset(transport: asyncio.Transport) -> None:
    """Abort a connection so that the peer sees a TCP reset, not an orderly end."""
    sock = transport.get_extra_info("socket")
    if sock is not None:
        with contextlib.suppress(OSError):  # already closed by the peer: nothing left to reset
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
    transport.abort()


async def settled(dial_task: asyncio.Task[None] | None) -> None:
    """Wait until a dial that was cancelled has ended, and a transport that was closed has said so."""
    if dial_task is not None:
        await asyncio.wait([dial_task])
    await asyncio.sleep(0)  # connection_lost comes in the next turn of the loop


def end(transport: asyncio.Transport) -> None:
    """Close a connection, without waiting for a peer that does not take what is still to be sent."""
    if transport.get_write_buffer_size():
        transport.abort()
    else:
        transport.close()
