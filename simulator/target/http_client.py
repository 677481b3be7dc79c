"""A lean keep-alive HTTP/1.1 client on asyncio streams, with deadlines.

For publishing at a steady rate from the process that also measures: a request costs about a tenth of a
millisecond of CPU. Refuses answers above a size bound. Follows no redirects, knows no cookies.
"""

import asyncio
import json
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..socketio_client import Endpoint

MAX_ANSWER_BYTES = 16 * 2**20
MAX_IDLE = 256


class RestError(Exception):
    """No usable answer: the connection failed, the deadline passed, or the answer broke the protocol."""


@dataclass(frozen=True, slots=True)
class Reply:
    """sent_ns: when the request was written; answered_ns: when the whole answer was there (monotonic)."""

    status: int
    body: bytes
    sent_ns: int
    answered_ns: int

    def json(self) -> Any:
        """The body as JSON. Raises RestError when it is not."""
        try:
            return json.loads(self.body)
        except ValueError as error:
            raise RestError(f"the answer with status {self.status} is no JSON") from error


@dataclass(slots=True)
class _Line:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    used: bool = False


class RestClient:
    """Requests to one server. At most as many connections as requests under way at once."""

    def __init__(self, endpoint: Endpoint, headers: Mapping[str, str] | None = None) -> None:
        self._endpoint = endpoint
        self._head = "".join(f"{name}: {value}\r\n" for name, value in (headers or {}).items())
        self._idle: deque[_Line] = deque(maxlen=MAX_IDLE)

    async def request(
        self,
        method: str,
        path: str,
        *,
        body: object = None,
        headers: Mapping[str, str] | None = None,
        timeout_s: float = 10.0,
    ) -> Reply:
        """One request. A kept connection that the server closed meanwhile is replaced once.

        Raises RestError.
        """
        message = self._message(method, path, body, headers or {})
        try:
            async with asyncio.timeout(timeout_s):
                return await self._exchange(message, method)
        except TimeoutError as error:
            raise RestError(f"no answer within {timeout_s:g} s") from error

    async def close(self) -> None:
        """Close the kept connections."""
        while self._idle:
            line = self._idle.pop()  # kept alive: a writer dropped before its transport ends complains
            line.writer.transport.abort()

    def _message(self, method: str, path: str, body: object, headers: Mapping[str, str]) -> bytes:
        content = b"" if body is None else json.dumps(body, separators=(",", ":")).encode()
        lines = [f"{method} {path} HTTP/1.1\r\nHost: {self._endpoint.authority}\r\n", self._head]
        lines += [f"{name}: {value}\r\n" for name, value in headers.items()]
        if body is not None:
            lines.append("Content-Type: application/json\r\n")
        if body is not None or method in ("POST", "PUT", "PATCH"):
            lines.append(f"Content-Length: {len(content)}\r\n")
        return "".join(lines).encode() + b"\r\n" + content

    async def _exchange(self, message: bytes, method: str) -> Reply:
        while True:
            line = await self._line()
            try:
                sent_ns = time.monotonic_ns()
                line.writer.write(message)
                head = await line.reader.readuntil(b"\r\n\r\n")
            except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
                line.writer.transport.abort()
                if line.used and not getattr(error, "partial", b""):
                    continue  # the server closed a kept connection before it saw this request
                raise RestError(
                    f"the server closed the connection ({error or type(error).__name__})"
                ) from error
            except BaseException:
                line.writer.transport.abort()
                raise
            return await self._answer(line, head, method, sent_ns)

    async def _line(self) -> _Line:
        while self._idle:
            line = self._idle.pop()
            if not line.reader.at_eof() and not line.writer.is_closing():
                return line
            line.writer.transport.abort()
        endpoint = self._endpoint
        try:
            reader, writer = await asyncio.open_connection(
                endpoint.host, endpoint.port, ssl=endpoint.tls, limit=2**20
            )
        except OSError as error:
            raise RestError(f"cannot connect to {endpoint.authority} ({error.strerror or error})") from error
        return _Line(reader, writer)

    async def _answer(self, line: _Line, head: bytes, method: str, sent_ns: int) -> Reply:
        try:
            status, headers = _parse_head(head)
            body = await _read_body(line.reader, status, headers, method)
        except BaseException as error:
            line.writer.transport.abort()
            if isinstance(
                error, ValueError | OSError | asyncio.IncompleteReadError | asyncio.LimitOverrunError
            ):
                raise RestError(f"the answer broke off or is no HTTP ({error})") from error
            raise
        answered_ns = time.monotonic_ns()
        if headers.get("connection", "").lower() == "close":
            line.writer.transport.abort()
        else:
            line.used = True
            self._idle.append(line)
        return Reply(status, body, sent_ns, answered_ns)


def _parse_head(head: bytes) -> tuple[int, dict[str, str]]:
    first, *rest = head.decode("latin-1").rstrip("\r\n").split("\r\n")
    version, status, *_ = first.split(" ")
    if not version.startswith("HTTP/1."):
        raise ValueError("not HTTP/1")
    pairs = (line.partition(":") for line in rest)
    return int(status), {name.strip().lower(): value.strip() for name, _, value in pairs}


async def _read_body(
    reader: asyncio.StreamReader, status: int, headers: Mapping[str, str], method: str
) -> bytes:
    if method == "HEAD" or status in (204, 304):
        return b""
    if headers.get("transfer-encoding", "").lower() == "chunked":
        return await _read_chunks(reader)
    length = int(headers.get("content-length", "0"))
    if not 0 <= length <= MAX_ANSWER_BYTES:
        raise ValueError("too large")
    return await reader.readexactly(length) if length else b""


async def _read_chunks(reader: asyncio.StreamReader) -> bytes:
    body = bytearray()
    while True:
        size = int((await reader.readline()).split(b";")[0], 16)
        if size == 0:
            while (await reader.readline()).strip():
                pass
            return bytes(body)
        if len(body) + size > MAX_ANSWER_BYTES:
            raise ValueError("too large")
        body += await reader.readexactly(size)
        await reader.readexactly(2)
