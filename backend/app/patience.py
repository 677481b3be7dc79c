"""How long a node waits for a client over HTTP, and how much of a head it reads: neither for ever.

uvicorn bounds the pause between two requests and nothing else: a connection that says nothing, a head that
comes a byte a minute or never ends, an answer that nobody reads, each would be held as long as its client
likes. Here one clock sweeps over those that are being waited for. Websockets are no business of this room:
their deadlines are in `realtime/`. Passed to uvicorn by `node.py`.

Source: uvicorn 0.54 `protocols/http/httptools_impl.py: HttpToolsProtocol`; RFC 6585 (431).
"""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from .contracts.rest import Problem

MAX_HEAD_BYTES = 32_768
SWEEP_S = 0.5


def _refusal(status: int, phrase: str, code: str, detail: str) -> bytes:
    """A whole answer with a problem document, after which the connection ends."""
    title = code.replace("_", " ").capitalize()
    problem = Problem(
        type=f"urn:vouchstorm:problem:{code}", title=title, status=status, detail=detail, code=code
    )
    body = problem.model_dump_json(exclude_none=True).encode()
    head = (
        f"HTTP/1.1 {status} {phrase}\r\nConnection: close\r\n"
        f"Content-Type: application/problem+json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


REFUSALS = {
    431: _refusal(
        431,
        "Request Header Fields Too Large",
        "head_too_large",
        f"The request's head is longer than {MAX_HEAD_BYTES} bytes; send fewer or shorter headers.",
    )
}
"""Status -> all that is written to the client, head and body."""


class Patience:
    """The connections of a node that are waited for.

    deadline_s: for the whole request, from the connection or its first byte on; and for an answer's reader
    who takes nothing. most: when more are waited for, the one that was waited for longest is ended.
    """

    def __init__(self, deadline_s: float, most: int) -> None:
        self._deadline_s = deadline_s
        self._most = most
        self._since_s: dict[HttpToolsProtocol, float] = {}
        self._sweeping = False
        self.ended = 0

    def __len__(self) -> int:
        return len(self._since_s)

    def begin(self, protocol: HttpToolsProtocol) -> None:
        """Wait for this one from now on; who is waited for already has no more time than before."""
        if protocol in self._since_s:
            return
        if len(self._since_s) >= self._most:
            self._end(next(iter(self._since_s)))
        loop = asyncio.get_running_loop()
        self._since_s[protocol] = loop.time()
        if not self._sweeping:
            self._sweeping = True
            loop.call_later(SWEEP_S, self._sweep)

    def done(self, protocol: HttpToolsProtocol) -> None:
        """It did its part, or is gone. Idempotent."""
        self._since_s.pop(protocol, None)

    def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        due_s = loop.time() - self._deadline_s
        while self._since_s:
            protocol, since_s = next(iter(self._since_s.items()))
            if since_s > due_s:
                break
            self._end(protocol)
        self._sweeping = bool(self._since_s)
        if self._sweeping:
            loop.call_later(SWEEP_S, self._sweep)

    def _end(self, protocol: HttpToolsProtocol) -> None:
        self.done(protocol)
        # A websocket may have taken the transport over by now.
        if protocol.transport.get_protocol() is protocol:
            self.ended += 1
            protocol.transport.abort()


class PatientProtocol(HttpToolsProtocol):
    """One HTTP connection that is not waited for without end. `patience`: see `patient`."""

    patience: Patience
    _in_request = False
    _in_head = False
    _head_bytes = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)  # type: ignore[arg-type]
        self.patience.begin(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self.patience.done(self)
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        self._in_request = self._in_head = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._in_head, self._head_bytes = False, 0
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._in_request = False
        self.patience.done(self)
        super().on_message_complete()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._in_request:
            self.patience.begin(self)
        if self._in_head:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES and not self.transport.is_closing():
                self.transport.write(REFUSALS[431])
                self.transport.close()

    def pause_writing(self) -> None:
        super().pause_writing()
        self.patience.begin(self)

    def resume_writing(self) -> None:
        super().resume_writing()
        if not self._in_request:
            self.patience.done(self)


def patient(protocol: type[Any], patience: Patience) -> type[Any]:
    """This HTTP protocol class, with patience."""
    return type("Patient", (PatientProtocol, protocol), {"patience": patience})
