"""An incremental parser for the frames a websocket client sends. Pure.

Source: RFC 6455 section 5. No extension is negotiated, so reserved bits must be zero; client frames must be
masked; control frames must be whole and short.
"""

from websockets.frames import apply_mask  # type: ignore[attr-defined]

from .frames import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT


class FrameError(Exception):
    """The peer broke the protocol; `code` is the close code to answer with."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code


class FrameParser:
    """Turns chunks of bytes into whole messages. Bounded: a message never exceeds `max_bytes`."""

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
