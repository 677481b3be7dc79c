"""The uvicorn websocket class: the library's handshake, then our own frames on the bare transport.

uvicorn and the ASGI application do the handshake as always. When the Engine.IO session is established it
*adopts* the connection: no ASGI task, queue or state machine of the library is left. Incoming frames go
through `FrameParser`, outgoing ones are encoded once (`Message`) and written to any number of sockets. Passed
to uvicorn as `Config(ws=FanoutProtocol)`; under another server class the sessions use the library's own way.

Source: RFC 6455 section 5; uvicorn 0.54 `protocols/websockets/websockets_sansio_impl.py`; docs/adr/0003.
"""

import asyncio
import socket
import struct
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol

import orjson
from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import apply_mask  # type: ignore[attr-defined]

from ..contracts.types import DeliveryClass
from ..observability.tracing import Mark

TEXT, BINARY, CLOSE, PING, PONG = 0x1, 0x2, 0x8, 0x9, 0xA
CONTINUATION = 0x0
FIN = 0x80

ENGINE_PING = b"\x81\x012"
"""A whole frame: the Engine.IO heartbeat."""


def frame(payload: bytes, opcode: int = TEXT) -> bytes:
    """One unmasked, unfragmented frame."""
    size = len(payload)
    if size < 126:
        head = bytes((FIN | opcode, size))
    elif size < 65_536:
        head = struct.pack("!BBH", FIN | opcode, 126, size)
    else:
        head = struct.pack("!BBQ", FIN | opcode, 127, size)
    return head + payload


def close_frame(code: int, reason: str = "") -> bytes:
    """A close frame; the reason is cut to what a control frame holds."""
    text = reason.encode()[:120].decode(errors="ignore")
    return frame(struct.pack("!H", code) + text.encode(), CLOSE)


class Message:
    """One push, ready to be written.

    packets: Socket.IO packets in order, for sockets that take them one by one (polling).
    wire: the same packets as joined websocket frames, for one write.
    version: seq of a durable push, version of a snapshot.
    names: event names, for the metrics.
    born_s: see `ports.Push`.
    trace: where its trace stood; None where nobody traces.
    """

    __slots__ = ("born_s", "delivery", "key", "names", "packets", "trace", "version", "wire")

    def __init__(
        self,
        packets: Sequence[bytes],
        delivery: DeliveryClass,
        key: str | None = None,
        version: int = 0,
        names: Sequence[str] = (),
        born_s: float = 0.0,
    ) -> None:
        self.names = names
        self.born_s = born_s
        self.packets = tuple(packets)
        self.wire = b"".join([frame(b"4" + packet) for packet in packets])
        self.delivery = delivery
        self.key = key
        self.version = version
        self.trace: Mark | None = None


def encode(
    events: Sequence[tuple[str, Mapping[str, Any]]],
    delivery: DeliveryClass,
    key: str | None = None,
    version: int = 0,
    born_s: float = 0.0,
) -> Message:
    """Encode events that belong together, once: Socket.IO EVENT packets `2["name",{...}]`."""
    packets = [b'2["%b",%b]' % (name.encode(), orjson.dumps(data)) for name, data in events]
    return Message(packets, delivery, key, version, [name for name, _ in events], born_s)


class Outbox:
    """What waits for a slow direct socket: messages in order, and the newest snapshot per key."""

    __slots__ = ("bytes", "latest", "messages")

    def __init__(self) -> None:
        self.messages: deque[bytes] = deque()
        self.latest: dict[str, bytes] = {}
        self.bytes = 0

    def __bool__(self) -> bool:
        return bool(self.messages or self.latest)

    def __len__(self) -> int:
        return len(self.messages) + len(self.latest)

    def put(self, message: Message) -> None:
        if message.delivery is DeliveryClass.SNAPSHOT and message.key is not None:
            self.bytes += len(message.wire) - len(self.latest.pop(message.key, b""))
            self.latest[message.key] = message.wire
        else:
            self.bytes += len(message.wire)
            self.messages.append(message.wire)

    def take(self) -> bytes:
        """The next to write. Durable before snapshots: those only matter when they are the last word."""
        if self.messages:
            wire = self.messages.popleft()
        else:
            key = next(iter(self.latest))
            wire = self.latest.pop(key)
        self.bytes -= len(wire)
        return wire


class FrameError(Exception):
    """The peer broke the protocol; `code` is the close code to answer with."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code


class FrameParser:
    """Turns what a client sends into whole messages. Bounded: a message never exceeds `max_bytes`.

    No extension is negotiated: reserved bits must be zero.
    """

    __slots__ = ("_fragment_bytes", "_fragment_opcode", "_fragments", "_max_bytes", "_partial")

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._partial = b""
        self._fragments: list[bytes] | None = None
        self._fragment_opcode = 0
        self._fragment_bytes = 0

    def feed(self, data: bytes) -> list[tuple[int, bytes]]:
        """(opcode, payload) of every message completed by this chunk; control frames among them.

        Raises FrameError; the parser must not be fed again after that.
        """
        if self._partial:
            data = self._partial + data
            self._partial = b""
        messages: list[tuple[int, bytes]] = []
        position, end = 0, len(data)
        while end - position >= 2:
            first, second = data[position], data[position + 1]
            size = second & 0x7F
            start = position + 6
            if size == 126:
                start += 2
            elif size == 127:
                start += 8
            if end < start - 4:
                break
            if size >= 126:
                size = int.from_bytes(data[position + 2 : start - 4], "big")
            self._check(first, second, size)
            stop = start + size
            if end < stop:
                break
            payload = apply_mask(data[start:stop], data[start - 4 : start]) if size else b""
            self._take(first, payload, messages)
            position = stop
        if position < end:
            self._partial = data[position:] if position else data
        return messages

    def _check(self, first: int, second: int, size: int) -> None:
        if first & 0x70:
            raise FrameError(1002, "reserved bits are set")
        if not second & 0x80:
            raise FrameError(1002, "client frames must be masked")
        opcode = first & 0x0F
        if opcode >= 8 and (size > 125 or not first & 0x80):
            raise FrameError(1002, "bad control frame")
        if opcode not in (CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG):
            raise FrameError(1002, "unknown opcode")
        if size > self._max_bytes:
            raise FrameError(1009, "message too big")

    def _take(self, first: int, payload: bytes, messages: list[tuple[int, bytes]]) -> None:
        opcode, final = first & 0x0F, bool(first & 0x80)
        if opcode >= 8 or (final and opcode and self._fragments is None):
            messages.append((opcode, payload))
            return
        if (opcode == CONTINUATION) == (self._fragments is None):
            raise FrameError(1002, "bad fragmentation")
        if self._fragments is None:
            self._fragments, self._fragment_opcode, self._fragment_bytes = [], opcode, 0
        self._fragments.append(payload)
        self._fragment_bytes += len(payload)
        if self._fragment_bytes > self._max_bytes or len(self._fragments) > 1_024:
            raise FrameError(1009, "message too big")
        if final:
            messages.append((self._fragment_opcode, b"".join(self._fragments)))
            self._fragments = None


EXTENSION: Final = "vouchstorm.raw"
HIGH_WATER_BYTES: Final = 65_536
LOW_WATER_BYTES: Final = 16_384
TCP_USER_TIMEOUT_MS: Final = 20_000
CLOSE_TIMEOUT_S: Final = 5.0
GOING_AWAY: Final = 1012


class Sink(Protocol):
    """The session behind an adopted connection.

    arrived: so much came in; what it says follows. feed: one text message. refuse_binary: a binary one.
    paused: the write buffer is full. resumed: there is room again. shut: a close frame is the last word,
    nothing more may be written. lost: the connection is gone; called exactly once.
    """

    def arrived(self, frames: int, size_bytes: int) -> None: ...

    def feed(self, message: bytes) -> None: ...

    def refuse_binary(self) -> None: ...

    def paused(self) -> None: ...

    def resumed(self) -> None: ...

    def shut(self) -> None: ...

    def lost(self) -> None: ...


class FanoutProtocol(WebSocketsSansIOProtocol):
    """One websocket connection; `adopt` hands it to a session."""

    sink: Sink | None = None
    _parser: FrameParser | None = None
    _broken: FrameError | None = None
    closing = False
    write_paused = False

    # -------------------------------------------------------------- before adoption

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.transport.set_write_buffer_limits(HIGH_WATER_BYTES, LOW_WATER_BYTES)
        raw = transport.get_extra_info("socket")
        if raw is not None and raw.family in (socket.AF_INET, socket.AF_INET6):
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, TCP_USER_TIMEOUT_MS)

    def handle_connect(self, event: Any) -> None:
        super().handle_connect(event)
        if hasattr(self, "scope"):
            # Before run_asgi has started: the task made by super() runs on the next turn of the loop.
            self.scope["extensions"][EXTENSION] = {"protocol": self}

    async def run_asgi(self) -> None:
        """As the library's, but an adopted connection outlives its ASGI call."""
        try:
            await self.app(self.scope, self.receive, self.send)
        except ClientDisconnected:
            pass
        except Exception:
            self.logger.exception("Exception in ASGI application\n")
            self.send_500_response()
        if self.sink is None and self.close_timer is None:
            self.transport.close()

    # -------------------------------------------------------------- adoption

    def adopt(self, sink: Sink) -> None:
        """Take the connection away from ASGI; what already arrived is fed to the sink in order.

        Call in the same turn of the loop as the last ASGI send or receive.
        """
        self.sink = sink
        arrived = []
        while not self.queue.empty():
            arrived.append(self.queue.get_nowait())
        if self.read_paused:
            self.read_paused = False
            self.transport.resume_reading()
        self.stop_keepalive()
        # About 20 KiB per idle connection that only the handshake needs.
        for name in ("conn", "queue", "writable", "scope", "request", "response", "frames", "app_state"):
            self.__dict__.pop(name, None)
        if self._broken is not None:
            self.close(self._broken.code, str(self._broken))
            return
        for message in arrived:
            if message["type"] == "websocket.receive":
                text = message.get("text")
                if text is None:
                    sink.refuse_binary()
                else:
                    sink.feed(text.encode())

    # -------------------------------------------------------------- events of the transport

    def data_received(self, data: bytes) -> None:
        sink = self.sink
        if sink is None:
            self._follow(data)
            super().data_received(data)
            return
        if self.closing or self._parser is None:
            return
        try:
            messages = self._parser.feed(data)
        except FrameError as error:
            self.close(error.code, str(error))
            return
        sink.arrived(len(messages), len(data))
        for opcode, payload in messages:
            if opcode == TEXT:
                sink.feed(payload)
            elif opcode == BINARY:
                sink.refuse_binary()
            elif opcode == PING and not self.write_paused:
                self.transport.write(frame(payload, PONG))
            elif opcode == CLOSE:
                self.close(1000)
            if self.transport.is_closing():
                return

    def _follow(self, data: bytes) -> None:
        """Keep our parser in step with the library's, so that it can take over in the middle of a frame."""
        if self._parser is None:
            self._parser = FrameParser(self.config.ws_max_size)
            data = data.partition(b"\r\n\r\n")[2]  # the first data are the handshake
        try:
            self._parser.feed(data)
        except FrameError as error:
            self._broken = error  # the library will say so, too, unless it is more patient

    def pause_writing(self) -> None:
        self.write_paused = True
        if self.sink is None:
            super().pause_writing()
        else:
            self.sink.paused()

    def resume_writing(self) -> None:
        self.write_paused = False
        if self.sink is None:
            super().resume_writing()
        else:
            self.sink.resumed()

    def connection_lost(self, exc: Exception | None) -> None:
        if self.sink is None:
            super().connection_lost(exc)
            return
        self.connections.discard(self)
        self.closing = self.disconnected = True
        if self.close_timer is not None:
            self.close_timer.cancel()
            self.close_timer = None
        self.sink.lost()

    def shutdown(self) -> None:
        """uvicorn stops: say 1012 (come back later) and go."""
        if self.sink is None:
            super().shutdown()
        else:
            self.close(GOING_AWAY)

    # -------------------------------------------------------------- closing

    def close(self, code: int = 1000, reason: str = "") -> None:
        """Send a close frame after what is buffered, then end; a peer that takes nothing is aborted."""
        if self.closing:
            return
        self.closing = True
        if self.sink is not None:
            self.sink.shut()
        self.transport.write(close_frame(code, reason))
        self.transport.close()
        # close() waits for the buffer, for ever if the peer never reads: only abort() frees it.
        self.close_timer = self.loop.call_later(CLOSE_TIMEOUT_S, self.transport.abort)

    def abort(self) -> None:
        """Drop the connection now, whatever is buffered."""
        self.closing = True
        self.transport.abort()
