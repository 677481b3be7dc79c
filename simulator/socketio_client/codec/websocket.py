"""RFC 6455 framing for a client, without I/O: bytes in, messages out, frames to send.

Refuses masked frames, reserved bits and opcodes, broken fragmentation and messages beyond a bound. Text is
handed on as bytes and not checked for UTF-8.
"""

from base64 import b64encode
from collections.abc import Iterable, Iterator
from hashlib import sha1
from typing import Final

from ..errors import ProtocolError

MAX_READS: Final = 4_096
MAX_READ_BYTES: Final = 2_048
CONTINUATION: Final = 0x0
TEXT: Final = 0x1
BINARY: Final = 0x2
CLOSE: Final = 0x8
PING: Final = 0x9
PONG: Final = 0xA

FIN: Final = 0x80
FIN_TEXT: Final = FIN | TEXT
CLOSE_NORMAL: Final = 1000
CLOSE_NO_STATUS: Final = 1005
MAX_CONTROL_BYTES: Final = 125
DEFAULT_MAX_MESSAGE_BYTES: Final = 16 * 1024 * 1024
_ACCEPT_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_ZERO_KEY: Final = b"\x00\x00\x00\x00"

Message = tuple[int, bytes]
"""(opcode, payload); opcode is TEXT, BINARY, CLOSE, PING or PONG, fragments are already joined."""


class ReadCache:
    """A read of a fan-out is the same bytes for all clients of a process: taken apart once, for all of them.

    frames: a read -> its text messages, of reads that hold whole text frames only. events: a packet -> name
    and raw arguments, of plain events of the one namespace that the clients share. Bounded: forgets
    everything when full, and never remembers long reads.
    """

    __slots__ = ("events", "frames")

    def __init__(self) -> None:
        self.frames: dict[bytes, tuple[tuple[int, bytes], ...]] = {}
        self.events: dict[bytes, tuple[str, bytes]] = {}

    def note_read(self, data: bytes, messages: tuple[tuple[int, bytes], ...]) -> None:
        """The whole text frames of a read."""
        if len(data) <= MAX_READ_BYTES:
            if len(self.frames) >= MAX_READS:
                self.frames.clear()
            self.frames[data] = messages

    def note_event(self, packet: bytes, event: tuple[str, bytes]) -> None:
        """Name and arguments of a packet."""
        if len(packet) <= MAX_READ_BYTES:
            if len(self.events) >= MAX_READS:
                self.events.clear()
            self.events[packet] = event


class FrameReader:
    """Turns the byte stream from a server into messages, the same ones however the stream was cut."""

    __slots__ = (
        "_busy",
        "_fragments",
        "_joined_bytes",
        "_kept",
        "_max_bytes",
        "_need",
        "_opcode",
        "_read_cache",
    )

    def __init__(
        self, max_message_bytes: int = DEFAULT_MAX_MESSAGE_BYTES, read_cache: ReadCache | None = None
    ) -> None:
        """read_cache: shared by readers of the same bound; None: every read is taken apart anew."""
        self._max_bytes = max_message_bytes
        self._read_cache = read_cache
        self._kept: bytearray | None = None  # the start of a frame whose end has not come
        self._need = 0  # bytes that _kept must hold before it is worth a look
        self._opcode = CONTINUATION  # of the message being joined; CONTINUATION: none
        self._fragments: list[bytes] | None = None
        self._joined_bytes = 0
        self._busy = False  # a kept start or an unfinished message: no short cut

    def feed(self, data: bytes) -> Iterable[Message]:
        """The messages that are complete with `data`, in order.

        Consume the result before the next call. Iterating raises ProtocolError where the stream breaks the
        protocol, after every message ahead of that point.
        """
        # One whole unfragmented text frame per read is what a fan-out looks like from here.
        if self._busy:
            return self._read(data)
        read_cache = self._read_cache
        if read_cache is not None and (known := read_cache.frames.get(data)) is not None:
            return known
        if len(data) > 3 and data[0] == FIN_TEXT:
            size, start = data[1], 0
            if size == len(data) - 2 and size < 126 and size <= self._max_bytes:
                start = 2
            elif size == 126 and (data[2] << 8 | data[3]) == len(data) - 4 <= self._max_bytes:
                start = 4
            if start:
                messages = ((TEXT, data[start:]),)
                if read_cache is not None:
                    read_cache.note_read(data, messages)
                return messages
        return self._read(data) if read_cache is None else self._noted(data, read_cache)

    def _noted(self, data: bytes, read_cache: ReadCache) -> Iterator[Message]:
        """Several frames; remembered if they are whole text frames and nothing is kept of them."""
        messages: list[Message] = []
        for message in self._read(data):
            messages.append(message)
            yield message
        if not self._busy and all(opcode == TEXT for opcode, _ in messages):
            read_cache.note_read(data, tuple(messages))

    def _read(self, data: bytes) -> Iterator[Message]:
        if self._kept is not None:
            self._kept += data
            if len(self._kept) < self._need:
                return
            data = bytes(self._kept)
            self._kept = None
        pos, end = 0, len(data)
        need = 2
        while end - pos >= need:
            head, size = data[pos], data[pos + 1]
            start = pos + 2
            # Verdicts fall as soon as two bytes are known, so they do not hang on how the stream was cut.
            if head != FIN_TEXT or size > 125 or self._opcode != CONTINUATION:
                self._check_head(head, size)
            if size > 125:
                start += 2 if size == 126 else 8
                if end < start:
                    need = start - pos
                    break
                size = int.from_bytes(data[pos + 2 : start], "big")
            if size + self._joined_bytes > self._max_bytes and head & 0x08 == 0:
                raise ProtocolError(f"a WebSocket message is larger than {self._max_bytes} bytes")
            if start + size > end:
                need = start + size - pos
                break
            payload = data[start : start + size]
            pos = start + size
            need = 2
            if head == FIN_TEXT:
                yield TEXT, payload
            elif (message := self._joined(head, payload)) is not None:
                yield message
        self._keep(data, pos, need)

    def _keep(self, data: bytes, pos: int, need: int) -> None:
        if pos < len(data):
            self._kept = bytearray(data) if pos == 0 else bytearray(data[pos:])
            self._need = need
        self._busy = self._kept is not None or self._opcode != CONTINUATION

    def _check_head(self, head: int, size: int) -> None:
        """Refuse a frame by its first two bytes; `size` is the second, with the mask bit."""
        opcode = head & 0x0F
        if size & 0x80:
            raise ProtocolError("the server sent a masked WebSocket frame")
        if head & 0x70:
            raise ProtocolError("a WebSocket frame has reserved bits set")
        if opcode in (CLOSE, PING, PONG):
            if size > MAX_CONTROL_BYTES or not head & FIN:
                raise ProtocolError("a WebSocket control frame is fragmented or longer than 125 bytes")
        elif opcode == CONTINUATION:
            if self._opcode == CONTINUATION:
                raise ProtocolError("a WebSocket continuation frame continues nothing")
        elif opcode not in (TEXT, BINARY):
            raise ProtocolError(f"unknown WebSocket opcode {opcode}")
        elif self._opcode != CONTINUATION:
            raise ProtocolError("a new WebSocket message began inside a fragmented one")

    def _joined(self, head: int, payload: bytes) -> Message | None:
        opcode = head & 0x0F
        if opcode >= CLOSE or (head & FIN and opcode != CONTINUATION):
            return opcode, payload
        if self._fragments is None:
            self._opcode, self._fragments = opcode, []
        self._fragments.append(payload)
        self._joined_bytes += len(payload)
        if not head & FIN:
            return None
        message = self._opcode, b"".join(self._fragments)
        self._opcode, self._fragments, self._joined_bytes = CONTINUATION, None, 0
        return message


def encode_frame(opcode: int, payload: bytes) -> bytes:
    """One unfragmented client frame. The masking key is zero: legal framing, and free.

    A browser must choose unpredictable keys to protect proxies; a load generator talks to its own server.
    """
    size = len(payload)
    if size < 126:
        return bytes((FIN | opcode, 0x80 | size)) + _ZERO_KEY + payload
    if size < 0x10000:
        return bytes((FIN | opcode, 0xFE, size >> 8, size & 0xFF)) + _ZERO_KEY + payload
    return bytes((FIN | opcode, 0xFF)) + size.to_bytes(8, "big") + _ZERO_KEY + payload


def encode_close(code: int = CLOSE_NORMAL) -> bytes:
    """A close frame with a status code."""
    return encode_frame(CLOSE, code.to_bytes(2, "big"))


def decode_close(payload: bytes) -> tuple[int, str]:
    """Status code and reason of a close frame; 1005 if it has none. Raises ProtocolError."""
    if not payload:
        return CLOSE_NO_STATUS, ""
    if len(payload) == 1:
        raise ProtocolError("a WebSocket close frame has half a status code")
    return int.from_bytes(payload[:2], "big"), payload[2:].decode("utf-8", "replace")


def accept_for(key: bytes) -> str:
    """The Sec-WebSocket-Accept value that answers a Sec-WebSocket-Key."""
    return b64encode(sha1(key + _ACCEPT_GUID, usedforsecurity=False).digest()).decode("ascii")
