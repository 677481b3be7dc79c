"""HTTP/1.1 as far as long polling and the WebSocket handshake need it, without I/O.

Reads one response at a time (Content-Length, chunked, or until the peer closes), within bounds. Writes
request heads. Refuses header values with line breaks.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from ..errors import ProtocolError

MAX_HEAD_BYTES: Final = 16 * 1024
DEFAULT_MAX_BODY_BYTES: Final = 16 * 1024 * 1024
SWITCHING_PROTOCOLS: Final = 101
MAX_RETRY_AFTER_S: Final = 3600.0


@dataclass(slots=True)
class Response:
    """headers: names in lower case, the last one wins. cookies: name -> value, None for one to forget."""

    status: int
    headers: dict[str, str]
    cookies: dict[str, str | None]
    keep_alive: bool
    body: bytes = b""

    @property
    def retry_after_s(self) -> float | None:
        """Retry-After in seconds, at most an hour; None if absent or given as a date."""
        value = self.headers.get("retry-after", "").strip()
        return min(float(value), MAX_RETRY_AFTER_S) if value.isascii() and value.isdigit() else None


@dataclass(slots=True)
class ResponseReader:
    """Collects one response. rest: bytes that came after it (WebSocket frames after a 101).

    bodiless: the answer to HEAD, which has no body whatever its head says.
    """

    max_body_bytes: int = DEFAULT_MAX_BODY_BYTES
    bodiless: bool = False
    rest: bytes = b""
    _buffer: bytearray = field(default_factory=bytearray)
    _response: Response | None = None
    _body: bytearray = field(default_factory=bytearray)
    _left: int | None = None  # bytes of body, or of the current chunk, still to come; None: until the end
    _chunked: bool = False

    @property
    def started(self) -> bool:
        """Whether any byte of the response has come."""
        return self._response is not None or bool(self._buffer)

    def feed(self, data: bytes) -> Response | None:
        """The response once it is complete, None before that. Raises ProtocolError."""
        self._buffer += data
        while self._response is None:
            end = self._buffer.find(b"\r\n\r\n")
            if end < 0 or end > MAX_HEAD_BYTES:
                if len(self._buffer) > MAX_HEAD_BYTES:
                    raise ProtocolError(f"an HTTP response head is longer than {MAX_HEAD_BYTES} bytes")
                return None
            self._begin(bytes(self._buffer[:end]))
            del self._buffer[: end + 4]
        return self._read_chunks() if self._chunked else self._read_plain(self._response)

    def end(self) -> Response | None:
        """The peer closed: the response, if the close is what ends it."""
        if self._response is None or self._chunked or self._left is not None:
            return None
        return self._finish(self._response)

    def _begin(self, head: bytes) -> None:
        response = decode_head(head)
        if 100 <= response.status < 200 and response.status != SWITCHING_PROTOCOLS:
            return  # 100 Continue and its kin announce the real answer
        self._response = response
        self._chunked = "chunked" in response.headers.get("transfer-encoding", "").lower()
        length = response.headers.get("content-length")
        if self.bodiless or response.status in (SWITCHING_PROTOCOLS, 204, 304):
            self._chunked, self._left = False, 0
        elif self._chunked:
            self._left = 0
        elif length is not None:
            if not (
                length.isascii()
                and length.isdigit()
                and len(length) < 16
                and int(length) <= self.max_body_bytes
            ):
                raise ProtocolError("an HTTP response has an unusable Content-Length")
            self._left = int(length)
        else:
            response.keep_alive = False

    def _read_plain(self, response: Response) -> Response | None:
        taken = len(self._buffer) if self._left is None else min(self._left, len(self._buffer))
        self._take(taken)
        if self._left is None:
            return None
        self._left -= taken
        return self._finish(response) if self._left == 0 else None

    def _read_chunks(self) -> Response | None:
        """Chunked body: `_left` counts the current chunk and its line break."""
        while True:
            if self._left:
                if len(self._buffer) < self._left:
                    return None
                if self._buffer[self._left - 2 : self._left] != b"\r\n":
                    raise ProtocolError("an HTTP chunk does not end where it should")
                self._take(self._left - 2)
                del self._buffer[:2]
                self._left = 0
            line_end = self._buffer.find(b"\r\n")
            if line_end < 0:
                if len(self._buffer) > 1024:
                    raise ProtocolError("an HTTP chunk size is too long")
                return None
            size = _chunk_size(bytes(self._buffer[:line_end]))
            if size == 0:
                return self._skip_trailer(line_end)
            if size + len(self._body) > self.max_body_bytes:
                raise ProtocolError(f"an HTTP response is longer than {self.max_body_bytes} bytes")
            del self._buffer[: line_end + 2]
            self._left = size + 2

    def _skip_trailer(self, line_end: int) -> Response | None:
        end = self._buffer.find(b"\r\n\r\n", line_end)
        if end < 0:
            if len(self._buffer) > MAX_HEAD_BYTES:
                raise ProtocolError("an HTTP trailer is too long")
            return None
        del self._buffer[: end + 4]
        assert self._response is not None  # noqa: S101 - only called while one is being read
        return self._finish(self._response)

    def _take(self, count: int) -> None:
        self._body += self._buffer[:count]
        del self._buffer[:count]
        if len(self._body) > self.max_body_bytes:
            raise ProtocolError(f"an HTTP response is longer than {self.max_body_bytes} bytes")

    def _finish(self, response: Response) -> Response:
        response.body = bytes(self._body)
        self.rest = bytes(self._buffer)
        return response


def _chunk_size(line: bytes) -> int:
    digits = line.split(b";", 1)[0].strip()
    if not 0 < len(digits) <= 8 or any(digit not in b"0123456789abcdefABCDEF" for digit in digits):
        raise ProtocolError("an HTTP chunk has no size")
    return int(digits, 16)


def decode_head(head: bytes) -> Response:
    """Status line and headers, without the empty line that ends them. Raises ProtocolError."""
    first, *lines = head.decode("latin-1").split("\r\n")
    version, _, rest = first.partition(" ")
    status = rest[:3]
    if version not in ("HTTP/1.1", "HTTP/1.0") or not (
        status.isascii() and status.isdigit() and len(status) == 3
    ):
        raise ProtocolError("the answer is not HTTP/1.1")
    headers: dict[str, str] = {}
    cookies: dict[str, str | None] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or not name or name != name.strip():
            raise ProtocolError("an HTTP response header has no name")
        name = name.lower()
        if name == "set-cookie":
            key, content = _decode_cookie(value)
            if key and key.isprintable() and (content or "").isprintable():
                cookies[key] = content
        else:
            headers[name] = value.strip()
    connection = headers.get("connection", "").lower()
    alive = "keep-alive" in connection if version == "HTTP/1.0" else "close" not in connection
    return Response(int(status), headers, cookies, alive)


def _decode_cookie(value: str) -> tuple[str, str | None]:
    """Name and value; None if Max-Age says forget it. Domain, path and Expires are not looked at."""
    pair, *attributes = value.split(";")
    name, _, content = pair.strip().partition("=")
    for attribute in attributes:
        key, _, number = attribute.strip().partition("=")
        if key.lower() == "max-age" and (number == "0" or number.startswith("-")):
            return name, None
    return name, content


def encode_head(method: str, target: str, headers: Mapping[str, str], fixed: bytes = b"") -> bytes:
    """A request head with its empty line; `fixed` are header lines that are ready, each with its CRLF."""
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"{method} {target} HTTP/1.1\r\n{lines}".encode("latin-1") + fixed + b"\r\n"


def encode_headers(headers: Mapping[str, str]) -> bytes:
    """Header lines, ready to be sent. Raises ValueError on a name or value that would break the request."""
    for name, value in headers.items():
        if not name or any(not 0x21 <= ord(char) <= 0x7E or char == ":" for char in name):
            raise ValueError(f"{name!r} is no HTTP header name")
        if any(char in "\r\n\0" for char in value) or not all(ord(char) < 256 for char in value):
            raise ValueError(f"the value of HTTP header {name!r} has characters that cannot be sent")
    return "".join(f"{name}: {value}\r\n" for name, value in headers.items()).encode("latin-1")
