"""The websocket transport: one asyncio protocol per connection, as little Python per frame as will do.

Read through `Protocol.data_received`: uvloop reads into one buffer for the whole process, and
`BufferedProtocol` was measured slower (6.6 against 5.9 us a message, most of it the kernel).
"""

import asyncio
import time
from typing import cast

from .codec.engineio import Handshake
from .codec.http import SWITCHING_PROTOCOLS, Response, ResponseReader
from .codec.websocket import (
    BINARY,
    CLOSE,
    PING,
    PONG,
    TEXT,
    FrameReader,
    ReadCache,
    accept_for,
    decode_close,
    encode_close,
    encode_frame,
)
from .connector import Connector, end, reset, settled
from .errors import ProtocolError
from .transport import LinkFailure, LinkOwner

MAX_REFUSAL_BYTES = 64 * 1024


class WebsocketLink(asyncio.Protocol):
    """owner may be exchanged at any time: a probe that succeeded changes hands."""

    __slots__ = (
        "_closing",
        "_connector",
        "_dial_task",
        "_done",
        "_frames",
        "_key",
        "_reader",
        "_target",
        "_transport",
        "_writable",
        "owner",
    )

    def __init__(
        self,
        connector: Connector,
        owner: LinkOwner,
        sid: str | None = None,
        read_cache: ReadCache | None = None,
    ) -> None:
        """sid: of the polling session to upgrade; None begins a session of its own."""
        self.owner = owner
        self._connector = connector
        self._target = connector.endpoint.target("websocket", sid)
        self._frames = FrameReader(read_cache=read_cache)
        self._reader: ResponseReader | None = None  # only until the handshake is through
        self._key = b""
        self._transport: asyncio.Transport | None = None
        self._dial_task: asyncio.Task[None] | None = None
        self._writable = False
        self._closing = False
        self._done = False

    def open(self) -> None:
        self._dial_task = asyncio.get_running_loop().create_task(self._dialled())

    async def _dialled(self) -> None:
        try:
            await self._connector.dial(lambda: self)
        except (OSError, ValueError) as error:  # ValueError: a host name that cannot be encoded
            self._fail(LinkFailure("transport error", f"cannot connect: {error}"))
        finally:
            self._dial_task = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        if self._done:
            self._transport.abort()
            return
        request, self._key = self._connector.upgrade_request(self._target)
        self._target = ""
        self._reader = ResponseReader(MAX_REFUSAL_BYTES)
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        """asyncio: bytes came. The hot path of the whole simulator."""
        at_ns = time.monotonic_ns()
        if self._reader is not None:
            data = self._read_handshake(data, at_ns)
            if not data:
                return
        try:
            for opcode, payload in self._frames.feed(data):
                if self._done:  # an earlier message made the owner abort
                    return
                if opcode == TEXT:
                    self.owner.packet(payload, at_ns)
                elif opcode == BINARY:
                    self.owner.binary(payload, at_ns)
                else:
                    self._control(opcode, payload)
        except ProtocolError as error:
            self._fail(LinkFailure("protocol error", str(error)))

    def _read_handshake(self, data: bytes, at_ns: int) -> bytes:
        """Feed the HTTP answer; gives the bytes behind it once it is complete and good."""
        reader = self._reader
        assert reader is not None  # noqa: S101 - only called while there is one
        try:
            response = reader.feed(data)
        except ProtocolError as error:
            self._fail(LinkFailure("protocol error", str(error)))
            return b""
        if response is None:
            return b""
        self._reader = None
        self._connector.remember(response)
        refusal = _refusal(response, self._key)
        if refusal is not None:
            self._fail(refusal)
            return b""
        self._writable = True
        self.owner.link_ready(self, at_ns)
        return reader.rest

    def _control(self, opcode: int, payload: bytes) -> None:
        if self._transport is None:
            return
        if opcode == PING:
            self._transport.write(encode_frame(PONG, payload))
        elif opcode == CLOSE:
            code, reason = decode_close(payload)
            if not self._closing:
                self._transport.write(encode_frame(CLOSE, payload[:2]))
            self._fail(LinkFailure("transport close", f"the server closed with code {code} {reason}".strip()))

    def handshaken(self, handshake: Handshake) -> None:
        """Nothing to note: a websocket needs neither sid nor bounds."""

    def send(self, packet: bytes) -> bool:
        if not self._writable or self._transport is None or self._closing:
            return False
        self._transport.write(encode_frame(TEXT, packet))
        return True

    def pause_writing(self) -> None:
        self._writable = False

    def resume_writing(self) -> None:
        self._writable = self._reader is None

    def pause_reading(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    def close(self) -> None:
        if self._transport is None or self._reader is not None:
            self._fail(LinkFailure("transport close", "closed before it was open"))
        elif not self._closing:
            self._closing = True
            self._transport.write(encode_close())

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        response = self._reader.end() if self._reader is not None and exc is None else None
        if response is not None:  # a refusal whose body ends with the connection
            self._fail(http_refusal(response))
            return
        when = "during the WebSocket handshake" if self._reader is not None else "by the server"
        detail = f"the connection was closed {when}" if exc is None else f"the connection was lost: {exc}"
        self._fail(LinkFailure("transport error" if exc else "transport close", detail))

    def _fail(self, failure: LinkFailure) -> None:
        if self._done:
            return
        self._done = True
        if self._transport is not None:
            end(self._transport)
        self.owner.link_lost(self, failure, time.monotonic_ns())

    def abort(self) -> None:
        self._done = True
        if self._dial_task is not None and self._dial_task is not asyncio.current_task():
            self._dial_task.cancel()
        if self._transport is not None:
            reset(self._transport)

    async def settled(self) -> None:
        await settled(self._dial_task)


def _refusal(response: Response, key: bytes) -> LinkFailure | None:
    """Why a handshake answer is not the one that was asked for; None if it is."""
    if response.status != SWITCHING_PROTOCOLS:
        return http_refusal(response)
    if response.headers.get("upgrade", "").lower() != "websocket":
        return LinkFailure("protocol error", "the server switched to something that is not a WebSocket")
    if response.headers.get("sec-websocket-accept") != accept_for(key):
        return LinkFailure("protocol error", "the WebSocket handshake answer is not to our key")
    return None


def http_refusal(response: Response) -> LinkFailure:
    """The failure that an unexpected HTTP status stands for."""
    said = response.body[:200].decode("utf-8", "replace").strip()
    return LinkFailure(
        "transport error",
        f"the server answered HTTP {response.status}" + (f": {said}" if said else ""),
        status=response.status,
        retry_after_s=response.retry_after_s if response.status == 503 else None,
    )
