"""The short way in: from the HTTP head to an established session in one write, past ASGI.

uvicorn parses the head as always. If it opens a websocket session (`opening.py`), the door is asked
(`door.py`), and the answer, the Engine.IO handshake and the session are made at once: no second parser, no
scope, no task. That is more than half of what a connection cost. Everything else goes uvicorn's way.
Passed to uvicorn as `Config(http=short_way(...))`.

Source: uvicorn 0.54 `protocols/http/httptools_impl.py: handle_websocket_upgrade`; docs/adr/0003.
"""

import asyncio
from http import HTTPStatus
from typing import Any, Protocol

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from .admission import Door, Permit
from .caps import Refusal
from .opening import Opening, read_opening
from .parser import FrameParser
from .websocket import HIGH_WATER_BYTES, LOW_WATER_BYTES, FanoutProtocol


class Host(Protocol):
    """Who the sessions belong to: the Engine.IO server."""

    def welcomes(self, opening: Opening, scheme: str) -> bool:
        """May a page of this origin open a socket by the short way?"""
        ...

    def open_direct(self, protocol: "DirectProtocol", permit: Permit, answer: bytes) -> None:
        """Make the session; write `answer`, followed by the Engine.IO handshake."""
        ...


class DirectProtocol(FanoutProtocol):
    """A websocket that never was in ASGI's hands: what `FanoutProtocol` becomes by `adopt`."""

    def __init__(self, http: HttpToolsProtocol) -> None:
        # Not the library's: it makes the state machine, queue and event that this does without.
        self.transport = http.transport
        self.connections = http.connections
        self.loop = http.loop
        self.close_timer = None
        self._parser = FrameParser(http.config.ws_max_size)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take over the transport of the HTTP connection."""
        self.connections.add(self)
        self.transport.set_write_buffer_limits(HIGH_WATER_BYTES, LOW_WATER_BYTES)
        self.transport.set_protocol(self)


class ShortWayProtocol(HttpToolsProtocol):
    """One HTTP connection, which may turn out to want a websocket. `door` and `host`: see `short_way`."""

    door: Door
    host: Host
    _permit: Permit | None = None
    _opening: Opening | None = None

    def handle_websocket_upgrade(self) -> None:
        opening = read_opening(self.scope["method"], self.url, self.headers)
        if opening is None or not self.host.welcomes(opening, self.scheme or "http"):
            super().handle_websocket_upgrade()
            return
        peer = self.client[0] if self.client is not None else None
        self._opening = opening
        self._permit = self.door.come(self.door.proxies.client(peer, opening.forwarded_for), self)

    # -------------------------------------------------------------- door.Visitor

    def enter(self, permit: Permit) -> None:
        opening, self._opening, self._permit = self._opening, None, None
        if opening is None or self.transport.is_closing():
            permit.leave()
            return
        self.connections.discard(self)
        # It knows this object, which knows it: only the collector would free them.
        self.parser = None  # type: ignore[assignment]
        protocol = DirectProtocol(self)
        protocol.connection_made(self.transport)
        self.host.open_direct(protocol, permit, opening.answer)

    def turn_away(self, refusal: Refusal, retry_after_s: int) -> None:
        self._opening = self._permit = None
        self.transport.write(refused(refusal, retry_after_s))
        self.transport.close()

    # -------------------------------------------------------------- while it waits

    def data_received(self, data: bytes) -> None:
        if self._permit is not None and self._opening is not None:
            self.transport.abort()  # nobody speaks before the answer is there
            return
        super().data_received(data)

    def connection_lost(self, exc: Exception | None) -> None:
        permit, self._permit, self._opening = self._permit, None, None
        if permit is not None:
            permit.leave()
        super().connection_lost(exc)


def refused(refusal: Refusal, retry_after_s: int) -> bytes:
    """The answer to who is turned away: whole, so that it costs one write."""
    status = HTTPStatus.SERVICE_UNAVAILABLE
    text = f"Too many connections ({refusal}); come back later.\n".encode()
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}\r\nRetry-After: {retry_after_s}\r\nConnection: close\r\n"
        f"Content-Type: text/plain; charset=utf-8\r\nContent-Length: {len(text)}\r\n\r\n"
    )
    return head.encode() + text


def short_way(door: Door, host: Host) -> type[Any]:
    """The protocol class of a node with this door."""
    return type("ShortWay", (ShortWayProtocol,), {"door": door, "host": host})
