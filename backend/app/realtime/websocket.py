"""The uvicorn websocket class: the library's handshake, then our own frames on the bare transport.

uvicorn and the ASGI application do the handshake as always. When the Engine.IO session is established it
*adopts* the connection: from then on no ASGI task, queue or per-connection websocket state machine is left,
incoming frames go through `parser.py`, outgoing ones are written ready-made. Passed to uvicorn as
`Config(ws=FanoutProtocol)`; under another server class the sessions use the library's own way.

Source: uvicorn 0.54 `protocols/websockets/websockets_sansio_impl.py`; docs/adr/0003.
"""

import asyncio
import socket
from http import HTTPStatus
from typing import Any, Final, Protocol

from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from .frames import BINARY, CLOSE, PING, PONG, TEXT, close_frame, frame
from .parser import FrameError, FrameParser

EXTENSION: Final = "vouchstorm.raw"
HIGH_WATER_BYTES: Final = 65_536
LOW_WATER_BYTES: Final = 16_384
TCP_USER_TIMEOUT_MS: Final = 20_000
CLOSE_TIMEOUT_S: Final = 5.0
GOING_AWAY: Final = 1012


class Sink(Protocol):
    """The session behind an adopted connection."""

    def arrived(self, frames: int, size_bytes: int) -> None:
        """So much came in; what it says follows."""
        ...

    def feed(self, message: bytes) -> None:
        """One text message arrived."""
        ...

    def refuse_binary(self) -> None:
        """A binary message arrived."""
        ...

    def paused(self) -> None:
        """The write buffer is full: stop writing."""
        ...

    def resumed(self) -> None:
        """There is room again."""
        ...

    def shut(self) -> None:
        """A close frame is the last word: write nothing more."""
        ...

    def lost(self) -> None:
        """The connection is gone; called exactly once."""
        ...


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
        if self.admission is not None and not self.admission():
            self._refuse_busy(event)
            return
        super().handle_connect(event)
        if hasattr(self, "scope"):
            # Before run_asgi has started: the task made by super() runs on the next turn of the loop.
            self.scope["extensions"][EXTENSION] = {"protocol": self}

    admission: Any = None
    """Set on a subclass: a callable that says whether one more handshake may start now."""

    def _refuse_busy(self, event: Any) -> None:
        response = self.conn.reject(HTTPStatus.SERVICE_UNAVAILABLE, "Too many connections at once.\n")
        response.headers["Retry-After"] = "1"
        self.conn.send_response(response)
        self.handshake_complete = self.close_sent = True
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.transport.close()

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
        self._shed()
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

    def _shed(self) -> None:
        """Let go of the handshake: about 20 KiB per idle connection."""
        for name in ("conn", "queue", "writable", "scope", "request", "response", "frames", "app_state"):
            self.__dict__.pop(name, None)

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
