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
from ..socketio_client.codec.http import Response, ResponseReader
from ..socketio_client.errors import ProtocolError

READ_BYTES = 65_536
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
            answer = ResponseReader(MAX_ANSWER_BYTES, bodiless=method == "HEAD")
            try:
                sent_ns = time.monotonic_ns()
                line.writer.write(message)
                response = await _read(line.reader, answer)
            except BaseException as error:
                line.writer.transport.abort()
                if isinstance(error, ProtocolError):
                    raise RestError(f"the answer broke off or is no HTTP ({error})") from error
                if not isinstance(error, OSError):
                    raise
                response, reason = None, str(error)
            else:
                reason = "it ended"
            if response is not None:
                return self._reply(line, response, sent_ns, clean=not answer.rest)
            line.writer.transport.abort()
            if not line.used or answer.started:
                said = "the answer broke off" if answer.started else "the server closed the connection"
                raise RestError(f"{said} ({reason})")
            # else the server closed a kept connection before it saw this request

    def _reply(self, line: _Line, response: Response, sent_ns: int, *, clean: bool) -> Reply:
        if response.keep_alive and clean:
            line.used = True
            self._idle.append(line)
        else:
            line.writer.transport.abort()
        return Reply(response.status, response.body, sent_ns, time.monotonic_ns())

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


async def _read(stream: asyncio.StreamReader, answer: ResponseReader) -> Response | None:
    """The response; None: the server closed before it was whole. Raises ProtocolError, OSError."""
    while data := await stream.read(READ_BYTES):
        if response := answer.feed(data):
            return response
    return answer.end()
