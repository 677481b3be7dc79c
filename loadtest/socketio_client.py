"""A Socket.IO client for gevent that costs little per received event: for Locust users by the thousand.

It reads from the event loop's own callback, without a greenlet switch per message, and takes frames and
packets apart with the simulator's framing rooms, which know no I/O. The owner's `on_event` runs in that
callback: it must neither wait nor switch. WebSocket only. Over TLS a greenlet reads instead.
"""

import logging
import os
import socket as patched_socket
import time
from base64 import b64encode
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import gevent
import orjson
from gevent import monkey
from gevent.event import AsyncResult

from simulator.socketio_client.codec import engineio, socketio
from simulator.socketio_client.codec.http import SWITCHING_PROTOCOLS, ResponseReader, encode_head
from simulator.socketio_client.codec.websocket import (
    CLOSE,
    PING,
    PONG,
    TEXT,
    FrameReader,
    accept_for,
    encode_close,
    encode_frame,
)
from simulator.socketio_client.endpoint import Endpoint
from simulator.socketio_client.errors import ProtocolError

log = logging.getLogger(__name__)

READ_BYTES = 16_384
MAX_UNSENT_BYTES = 1_048_576
READ, WRITE = 1, 2
_PREFIX = socketio.event_prefix("/")
_ARRAY_AT = len(_PREFIX) - 2

Answer = Callable[[bytes, int], None]
"""Told the raw arguments of an acknowledgement and when they came; at 0 ns when it never will."""


class LeanSocketError(Exception):
    """The socket cannot do what was asked; says why."""


class Owner(Protocol):
    """Who hears what a socket receives. Called from the event loop: must not wait."""

    def on_event(self, name: str, args: bytes, at_ns: int) -> None:
        """An event; args: the raw JSON of its arguments."""
        ...

    def on_lost(self, reason: str) -> None:
        """The connection ended without being asked to."""
        ...


class LeanSocket:
    """One connection, used once. handler_errors: times that the owner raised."""

    __slots__ = (
        "_acks",
        "_auth",
        "_endpoint",
        "_frames",
        "_http",
        "_key",
        "_next_ack",
        "_opened",
        "_over",
        "_owner",
        "_patience_ns",
        "_reader",
        "_reading",
        "_sock",
        "_unsent",
        "_writing",
        "connect_sent_ns",
        "handler_errors",
        "heard_ns",
    )

    def __init__(self, endpoint: Endpoint, owner: Owner, auth: Mapping[str, object]) -> None:
        self._endpoint = endpoint
        self._owner = owner
        self._auth = auth
        self._frames = FrameReader()
        self._http: ResponseReader | None = ResponseReader(65_536)
        self._key = b64encode(os.urandom(16))
        self._acks: dict[int, Answer] = {}
        self._next_ack = 0
        self._opened: Any = AsyncResult()
        self._over = False
        self._patience_ns = 0
        self._reader: Any = None
        self._reading: Any = None
        self._writing: Any = None
        self._sock: Any = None
        self._unsent = bytearray()
        self.connect_sent_ns = 0
        self.heard_ns = 0
        self.handler_errors = 0

    # -------------------------------------------------------------- for the owner

    def connect(self, timeout_s: float) -> None:
        """Connect and wait until the namespace answered. Raises LeanSocketError."""
        with gevent.Timeout(timeout_s, LeanSocketError(f"not connected within {timeout_s:g} s")):
            try:
                self._dial(timeout_s)
                self._opened.get()
            except OSError as error:
                raise LeanSocketError(f"cannot connect: {error.strerror or error}") from error
            except BaseException:
                self._end()
                raise

    @property
    def alive(self) -> bool:
        """Connected, and the server's heartbeat is not overdue."""
        silent_ns = time.monotonic_ns() - self.heard_ns
        return not self._over and self._sock is not None and silent_ns < (self._patience_ns or silent_ns + 1)

    def emit(self, name: str, data: object, answer: Answer | None = None) -> None:
        """Send an event. Raises LeanSocketError when the connection is gone."""
        ack_id = None
        if answer is not None:
            ack_id, self._next_ack = self._next_ack, self._next_ack + 1
            self._acks[ack_id] = answer
        self._send(socketio.encode_event("/", name, (data,), ack_id))

    def call(self, name: str, data: object, timeout_s: float) -> Any:
        """Send an event and wait for its acknowledgement: (its first argument, ns it took).

        Raises LeanSocketError: no answer in time, or the connection ended.
        """
        result: Any = AsyncResult()
        started_ns = time.monotonic_ns()
        ack_id = self._next_ack
        self.emit(name, data, lambda args, at_ns: result.set((args, at_ns)))
        try:
            with gevent.Timeout(timeout_s, LeanSocketError(f"no answer to {name} within {timeout_s:g} s")):
                args, at_ns = result.get()
        finally:
            self._acks.pop(ack_id, None)
        if not at_ns:
            raise LeanSocketError(f"the connection ended before {name} was answered")
        return socketio.load_arguments(args), at_ns - started_ns

    def close(self) -> None:
        """Say goodbye and let go."""
        if not self._over and self._sock is not None:
            self._write(
                encode_frame(TEXT, socketio.encode_disconnect("/"))
                + encode_frame(TEXT, engineio.CLOSE_PACKET)
                + encode_close()
            )
        self._end()

    def drop(self) -> None:
        """Let go without a word, as a laptop that is shut."""
        self._end()

    # -------------------------------------------------------------- connecting

    def _dial(self, timeout_s: float) -> None:
        endpoint = self._endpoint
        dialled = patched_socket.create_connection((endpoint.host, endpoint.port), timeout=timeout_s)
        dialled.setsockopt(patched_socket.IPPROTO_TCP, patched_socket.TCP_NODELAY, 1)
        headers = {
            "Host": endpoint.authority,
            "Upgrade": "websocket",
            "Connection": "Upgrade",
            "Sec-WebSocket-Key": self._key.decode("ascii"),
            "Sec-WebSocket-Version": "13",
        }
        request = encode_head("GET", endpoint.target("websocket"), headers)
        self.heard_ns = time.monotonic_ns()
        if endpoint.tls is not None:
            self._sock = endpoint.tls.wrap_socket(dialled, server_hostname=endpoint.host)
            self._sock.settimeout(None)
            self._sock.sendall(request)
            self._reader = gevent.spawn(self._read_on)
            return
        native = monkey.get_original("socket", "socket")
        self._sock = native(fileno=dialled.detach())
        self._sock.setblocking(False)
        self._reading = gevent.get_hub().loop.io(self._sock.fileno(), READ)
        self._reading.start(self._readable)
        self._write(request)

    # -------------------------------------------------------------- reading

    def _readable(self) -> None:
        """The event loop: bytes are there."""
        at_ns = time.monotonic_ns()
        try:
            data = self._sock.recv(READ_BYTES)
        except BlockingIOError:
            return
        except OSError as error:
            self._lose(f"the connection was lost: {error.strerror or error}")
            return
        self._take(data, at_ns)

    def _read_on(self) -> None:
        """The reader greenlet of a TLS connection."""
        while not self._over:
            try:
                data = self._sock.recv(READ_BYTES)
            except OSError as error:
                self._lose(f"the connection was lost: {error.strerror or error}")
                return
            self._take(data, time.monotonic_ns())

    def _take(self, data: bytes, at_ns: int) -> None:
        if not data:
            self._lose("the server closed the connection")
            return
        try:
            if self._http is not None:
                data = self._read_handshake(data)
                if not data:
                    return
            for opcode, payload in self._frames.feed(data):
                if opcode == TEXT:
                    self._packet(payload, at_ns)
                else:
                    self._control_frame(opcode, payload)
                if self._over:
                    return
        except ProtocolError as error:
            self._lose(f"the server broke the protocol: {error}")

    def _read_handshake(self, data: bytes) -> bytes:
        http = self._http
        if http is None:
            return data
        response = http.feed(data)
        if response is None:
            return b""
        self._http = None
        if response.status != SWITCHING_PROTOCOLS:
            said = response.body[:200].decode("utf-8", "replace").strip()
            raise ProtocolError(f"HTTP {response.status} {said}".strip())
        if response.headers.get("sec-websocket-accept") != accept_for(self._key):
            raise ProtocolError("the WebSocket handshake answer is not to our key")
        return http.rest

    def _packet(self, packet: bytes, at_ns: int) -> None:
        if packet.startswith(_PREFIX):
            name, args = socketio.split_event(packet, _ARRAY_AT)
            try:
                self._owner.on_event(name, args, at_ns)
            except Exception:
                self.handler_errors += 1
                log.exception("a load user failed on the event %r", name)
            return
        kind = packet[0] if packet else -1
        self.heard_ns = at_ns
        if kind == engineio.PING:
            self._write(encode_frame(TEXT, engineio.PONG_PACKET + packet[1:]))
        elif kind == engineio.MESSAGE:
            self._message(socketio.decode(packet), at_ns)
        elif kind == engineio.OPEN:
            self._patience_ns = engineio.decode_handshake(packet[1:]).patience_ns
            self.connect_sent_ns = time.monotonic_ns()
            self._send(socketio.encode_connect("/", self._auth))
        elif kind == engineio.CLOSE:
            self._lose("the server closed the session")

    def _message(self, packet: socketio.Packet, at_ns: int) -> None:
        if packet.kind == socketio.ACK and packet.ack_id is not None:
            answer = self._acks.pop(packet.ack_id, None)
            if answer is not None:
                answer(socketio.strip_array(packet.body), at_ns)
        elif packet.kind == socketio.CONNECT:
            self._opened.set(None)
        elif packet.kind == socketio.CONNECT_ERROR:
            self._lose(f"refused: {_refusal(packet.body)}")
        elif packet.kind == socketio.DISCONNECT:
            self._lose("the server disconnected the client")

    def _control_frame(self, opcode: int, payload: bytes) -> None:
        if opcode == PING:
            self._write(encode_frame(PONG, payload))
        elif opcode == CLOSE:
            self._lose(f"the server closed with code {int.from_bytes(payload[:2], 'big') or 'none'}")

    # -------------------------------------------------------------- writing

    def _send(self, packet: bytes) -> None:
        if self._over or self._sock is None:
            raise LeanSocketError("the connection is gone")
        self._write(encode_frame(TEXT, packet))

    def _write(self, data: bytes) -> None:
        if self._reader is not None:
            self._sock.sendall(data)
            return
        if self._unsent:
            self._keep(data)
            return
        try:
            sent = self._sock.send(data)
        except BlockingIOError:
            sent = 0
        except OSError:
            return  # the reading side is told, too
        if sent < len(data):
            self._keep(data[sent:])

    def _keep(self, data: bytes) -> None:
        self._unsent += data
        if len(self._unsent) > MAX_UNSENT_BYTES:
            self._lose("the server takes no data")
        elif self._writing is None:
            self._writing = gevent.get_hub().loop.io(self._sock.fileno(), WRITE)
            self._writing.start(self._writable)

    def _writable(self) -> None:
        try:
            sent = self._sock.send(self._unsent)
        except OSError:
            return
        del self._unsent[:sent]
        if not self._unsent:
            self._writing.stop()
            self._writing.close()
            self._writing = None

    # -------------------------------------------------------------- the end

    def _lose(self, reason: str) -> None:
        if self._over:
            return
        connected = self._opened.ready()
        self._end()
        if connected:
            self._owner.on_lost(reason)
        else:
            self._opened.set_exception(LeanSocketError(reason))

    def _end(self) -> None:
        if self._over:
            return
        self._over = True
        for watcher in (self._reading, self._writing):
            if watcher is not None:
                watcher.stop()
                watcher.close()
        self._reading = self._writing = None
        if self._reader is not None and self._reader is not gevent.getcurrent():
            self._reader.kill(block=False)
        if self._sock is not None:
            self._sock.close()
        acks, self._acks = self._acks, {}
        for answer in acks.values():
            answer(b"", 0)


def _refusal(body: bytes) -> str:
    try:
        return str(orjson.loads(body)["message"])
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return body[:200].decode("utf-8", "replace")
