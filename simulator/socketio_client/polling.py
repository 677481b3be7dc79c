"""The long-polling transport: a GET that always hangs, and POSTs one after another.

Keeps order both ways: one GET and one POST at a time, later packets wait in a bounded outbox. For an upgrade
it can fall silent between two requests without losing anything.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Final, cast

from .codec.engineio import (
    BASE64,
    CLOSE_PACKET,
    DEFAULT_MAX_PAYLOAD_BYTES,
    Handshake,
    decode_base64,
    join_payload,
    split_payload,
)
from .codec.http import Response, ResponseReader
from .connector import Connector, end, reset, settled
from .errors import ProtocolError
from .transport import LinkFailure, LinkOwner
from .websocket import http_refusal

MAX_PACKETS_PER_POST: Final = 16  # python-engineio refuses more
MAX_OUTBOX_BYTES: Final = 256 * 1024
OnResponse = Callable[[Response, int], None]
OnFailure = Callable[[LinkFailure, int], None]


class HttpChannel:
    """One keep-alive HTTP connection that carries one request at a time, dialled when needed.

    on_response(response, at_ns) for each request, or on_failure(failure, at_ns) once and never again. A
    request that a reused connection lost before the first byte of an answer is sent once more on a fresh one,
    as browsers do: the server had closed the idle connection in the meantime.
    """

    __slots__ = (
        "_closed",
        "_connector",
        "_dial_task",
        "_fresh",
        "_on_failure",
        "_on_response",
        "_paused",
        "_reader",
        "_request",
        "_wire",
    )

    def __init__(self, connector: Connector, on_response: OnResponse, on_failure: OnFailure) -> None:
        self._connector = connector
        self._on_response = on_response
        self._on_failure = on_failure
        self._wire: _Wire | None = None
        self._dial_task: asyncio.Task[None] | None = None
        self._request = b""  # in flight, b"" if none
        self._reader: ResponseReader | None = None
        self._fresh = True  # whether the connection has answered nothing yet
        self._paused = False
        self._closed = False

    @property
    def busy(self) -> bool:
        """Whether a request is in flight."""
        return bool(self._request)

    def request(self, method: str, target: str, body: bytes = b"") -> None:
        """Send a request; only when not busy."""
        assert not self._request  # noqa: S101 - one request at a time is what keeps the order
        self._request = self._connector.request(method, target, body)
        self._reader = ResponseReader()
        transport = None if self._wire is None else self._wire.transport
        if transport is None or transport.is_closing():
            self._dial()
        else:
            transport.write(self._request)

    def _dial(self) -> None:
        self._wire = _Wire(self)
        self._dial_task = asyncio.get_running_loop().create_task(self._dialled(self._wire))

    async def _dialled(self, wire: "_Wire") -> None:
        try:
            await self._connector.dial(lambda: wire)
        except (OSError, ValueError) as error:  # ValueError: a host name that cannot be encoded
            self._fail("transport error", f"cannot connect: {error}")
        finally:
            self._dial_task = None

    def connected(self, wire: "_Wire", transport: asyncio.Transport) -> None:
        """A dialled connection is up."""
        if wire is not self._wire or self._closed:
            transport.abort()
            return
        self._fresh = True
        if self._paused:
            transport.pause_reading()
        transport.write(self._request)

    def received(self, wire: "_Wire", data: bytes, at_ns: int) -> None:
        if wire is not self._wire or self._closed:
            return
        if self._reader is None:  # some proxies say 408 before they close an idle connection
            self._drop_wire()
            return
        try:
            response = self._reader.feed(data)
        except ProtocolError as error:
            self._fail("protocol error", str(error))
            return
        if response is not None:
            self._answered(response, at_ns)

    def _answered(self, response: Response, at_ns: int) -> None:
        self._fresh = False
        self._request, self._reader = b"", None
        self._connector.remember(response)
        if not response.keep_alive:
            self._drop_wire()
        self._on_response(response, at_ns)

    def _drop_wire(self) -> None:
        wire, self._wire = self._wire, None
        if wire is not None and wire.transport is not None:
            end(wire.transport)

    def disconnected(self, wire: "_Wire", error: Exception | None) -> None:
        """A connection ended; harmless between two requests."""
        if wire is not self._wire or self._closed:
            return
        self._wire = None
        reader = self._reader
        if reader is None:
            return
        response = reader.end() if error is None else None
        if response is not None:
            self._answered(response, time.monotonic_ns())
        elif not self._fresh and not reader.started:
            self._dial()
        else:
            self._fail("transport close", f"the server closed during a request ({error or 'end of stream'})")

    def _fail(self, reason: str, detail: str) -> None:
        if not self._closed:
            self.abort()
            self._on_failure(LinkFailure(reason, detail), time.monotonic_ns())

    def pause_reading(self) -> None:
        """Leave incoming bytes in the kernel, on later connections too."""
        self._paused = True
        transport = None if self._wire is None else self._wire.transport
        if transport is not None and not transport.is_closing():
            transport.pause_reading()

    def resume_reading(self) -> None:
        self._paused = False
        transport = None if self._wire is None else self._wire.transport
        if transport is not None and not transport.is_closing():
            transport.resume_reading()

    def close(self) -> None:
        """End quietly: nothing is called afterwards."""
        self._let_go(end)

    def abort(self) -> None:
        """Reset the connection now: nothing is called afterwards."""
        self._let_go(reset)

    def _let_go(self, finish: Callable[[asyncio.Transport], None]) -> None:
        self._closed = True
        self._request, self._reader = b"", None
        if self._dial_task is not None and self._dial_task is not asyncio.current_task():
            self._dial_task.cancel()
        wire, self._wire = self._wire, None
        if wire is not None and wire.transport is not None:
            finish(wire.transport)

    async def settled(self) -> None:
        await settled(self._dial_task)


class _Wire(asyncio.Protocol):
    """One TCP connection of a channel, so that a late word of an old one is known as such."""

    __slots__ = ("_channel", "transport")

    def __init__(self, channel: HttpChannel) -> None:
        self._channel = channel
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self._channel.connected(self, self.transport)

    def data_received(self, data: bytes) -> None:
        self._channel.received(self, data, time.monotonic_ns())

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = None
        self._channel.disconnected(self, exc)


class PollingLink:
    """Two HTTP channels and an outbox."""

    __slots__ = (
        "_closing",
        "_connector",
        "_done",
        "_gets",
        "_max_post_bytes",
        "_on_silent",
        "_outbox",
        "_outbox_bytes",
        "_posts",
        "_sid",
        "_target",
        "owner",
    )

    def __init__(self, connector: Connector, owner: LinkOwner) -> None:
        self._connector = connector
        self.owner = owner
        self._gets = HttpChannel(connector, self._polled, self._failed)
        self._posts = HttpChannel(connector, self._posted, self._failed)
        self._target = connector.endpoint.target("polling")
        self._sid: str | None = None
        self._max_post_bytes = DEFAULT_MAX_PAYLOAD_BYTES
        self._outbox: list[bytes] = []
        self._outbox_bytes = 0
        self._on_silent: Callable[[], None] | None = None
        self._closing = False
        self._done = False

    def open(self) -> None:
        """Ask for a session; the OPEN packet comes in the answer."""
        self._gets.request("GET", self._target)

    def handshaken(self, handshake: Handshake) -> None:
        """From now on requests carry the sid."""
        self._sid = handshake.sid
        self._target = self._connector.endpoint.target("polling", handshake.sid)
        self._max_post_bytes = handshake.max_payload_bytes

    def send(self, packet: bytes) -> bool:
        if self._sid is None or self._done or self._closing:
            return False
        if self._outbox_bytes + len(packet) > MAX_OUTBOX_BYTES:
            return False
        self._outbox.append(packet)
        self._outbox_bytes += len(packet) + 1
        self._flush()
        return True

    def _flush(self) -> None:
        if not self._outbox or self._posts.busy or self._on_silent is not None:
            return
        batch = [self._outbox[0]]
        size = len(batch[0])
        for packet in self._outbox[1:MAX_PACKETS_PER_POST]:
            size += 1 + len(packet)
            if size > self._max_post_bytes:
                break
            batch.append(packet)
        del self._outbox[: len(batch)]
        body = join_payload(batch)
        self._outbox_bytes -= len(body) + 1
        self._posts.request("POST", self._target, body)

    def _polled(self, response: Response, at_ns: int) -> None:
        if response.status != 200:
            self._failed(http_refusal(response), at_ns)
            return
        try:
            for packet in split_payload(response.body):
                if packet[0] == BASE64:
                    self.owner.binary(decode_base64(packet), at_ns)
                else:
                    self.owner.packet(packet, at_ns)
                if self._done:
                    return
        except ProtocolError as error:
            self._failed(LinkFailure("protocol error", str(error)), at_ns)
            return
        if self._on_silent is None and not self._closing and not self._gets.busy:
            self._gets.request("GET", self._target)
        self._fall_silent()

    def _posted(self, response: Response, at_ns: int) -> None:
        if response.status != 200:
            self._failed(http_refusal(response), at_ns)
        elif self._closing and not self._outbox:
            self._failed(LinkFailure("transport close", "closed by the client"), at_ns)
        else:
            self._flush()
            self._fall_silent()

    def silence(self, on_silent: Callable[[], None]) -> None:
        """Start no further request; call `on_silent` once the ones in flight are answered."""
        self._on_silent = on_silent
        self._fall_silent()

    def _fall_silent(self) -> None:
        if self._on_silent is not None and not self._gets.busy and not self._posts.busy:
            self._on_silent()

    def speak(self) -> None:
        """Go on after a silence that led to nothing."""
        self._on_silent = None
        if not self._done:
            if not self._gets.busy:
                self._gets.request("GET", self._target)
            self._flush()

    def retire(self) -> list[bytes]:
        """End without a word, and give the packets that were never sent."""
        self._done = True
        self._gets.close()
        self._posts.close()
        return self._outbox

    def pause_reading(self) -> None:
        self._gets.pause_reading()

    def resume_reading(self) -> None:
        self._gets.resume_reading()

    def close(self) -> None:
        """Post what is left and a CLOSE packet; `link_lost` follows with the answer."""
        if not self.send(CLOSE_PACKET):
            failure = LinkFailure("transport close", "closed before it was open")
            self._failed(failure, time.monotonic_ns())
        self._closing = True

    def _failed(self, failure: LinkFailure, at_ns: int) -> None:
        if not self._done:
            self.retire()
            self.owner.link_lost(self, failure, at_ns)

    def abort(self) -> None:
        self._done = True
        self._gets.abort()
        self._posts.abort()

    async def settled(self) -> None:
        await self._gets.settled()
        await self._posts.settled()
