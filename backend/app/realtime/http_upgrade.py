"""From the HTTP head to an established session in one write, past ASGI; and the slower ways in beside it.

uvicorn parses the head as always. If it opens a websocket session (`read_opening`), admission is asked, and
the answer, the Engine.IO handshake and the session are made at once: no second parser, no scope, no task.
That is more than half of what a connection cost. Everything else goes uvicorn's way and is admitted in
`AsgiAdmission`. Passed to uvicorn as `Config(http=upgrade_protocol(...))`.

Source: RFC 6455 section 4.2; Engine.IO protocol 4, handshake; uvicorn 0.54, `httptools_impl.py`;
python-engineio 4.15, `async_drivers/asgi.py`; docs/adr/0003.
"""

import asyncio
import base64
import binascii
import hashlib
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final, Protocol
from urllib.parse import parse_qs

from engineio.async_drivers.asgi import translate_request
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from .admission import Admission, Permit, Refusal
from .websocket import HIGH_WATER_BYTES, LOW_WATER_BYTES, FanoutProtocol, FrameParser

SOCKET_PATH: Final = b"/ws/socket.io/"
_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_QUERY: Final = frozenset((b"EIO=4", b"transport=websocket"))
_ANSWER: Final = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: %b\r\n\r\n"
)
_READ: Final = frozenset(
    b"host origin x-forwarded-proto x-forwarded-host sec-websocket-key sec-websocket-version".split()
)

Headers = Sequence[tuple[bytes, bytes]]


@dataclass(frozen=True, slots=True)
class Opening:
    """answer: the whole head of the 101. headers: those that say where the page came from."""

    answer: bytes
    headers: Mapping[bytes, bytes]
    forwarded_for: Sequence[bytes]


def read_opening(method: str, url: bytes, headers: Headers) -> Opening | None:
    """The one form that Socket.IO clients send; None for all else, which the libraries answer.

    headers: names in lower case; that they ask for a websocket has been seen before.
    """
    path, _, query = url.partition(b"?")
    if method != "GET" or path not in (SOCKET_PATH, SOCKET_PATH[:-1]) or not _plain(query):
        return None
    found: dict[bytes, bytes] = {}
    forwarded_for = []
    for name, value in headers:
        if name in _READ:
            if name in found:
                return None
            found[name] = value
        elif name == b"x-forwarded-for":
            forwarded_for.append(value)
        elif name in (b"sec-websocket-protocol", b"content-length", b"transfer-encoding"):
            return None
    key = found.pop(b"sec-websocket-key", b"")
    if found.pop(b"sec-websocket-version", b"") != b"13" or not _is_key(key):
        return None
    accept = base64.b64encode(hashlib.sha1(key + _GUID, usedforsecurity=False).digest())
    return Opening(_ANSWER % accept, found, forwarded_for)


def _plain(query: bytes) -> bool:
    """Does it ask for a new websocket session, and say nothing else but a cache buster?"""
    said = [part for part in query.split(b"&") if not part.startswith(b"t=")]
    return len(said) == len(_QUERY) and _QUERY.issuperset(said) and said[0] != said[1]


def _is_key(key: bytes) -> bool:
    try:
        return len(key) == 24 and len(base64.b64decode(key, validate=True)) == 16
    except binascii.Error:
        return False


class Host(Protocol):
    """Who the sessions belong to: the Engine.IO server."""

    def welcomes(self, opening: Opening, scheme: str) -> bool: ...

    def open_direct(self, protocol: "DirectProtocol", permit: Permit, answer: bytes) -> None: ...


class DirectProtocol(FanoutProtocol):
    """A websocket that never was in ASGI's hands: what `FanoutProtocol` becomes by `adopt`."""

    def __init__(self, http: HttpToolsProtocol) -> None:
        # Not the library's: it makes the state machine, queue and event that this does without.
        self.transport = http.transport
        self.connections = http.connections
        self.loop = http.loop
        self.close_timer = None
        self._parser = FrameParser(http.config.ws_max_size)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take over the transport of the HTTP connection."""
        self.connections.add(self)
        self.transport.set_write_buffer_limits(HIGH_WATER_BYTES, LOW_WATER_BYTES)
        self.transport.set_protocol(self)


class UpgradeProtocol(HttpToolsProtocol):
    """One HTTP connection, which may turn out to want a websocket; see `upgrade_protocol`."""

    admission: Admission
    host: Host
    _permit: Permit | None = None
    _opening: Opening | None = None

    def handle_websocket_upgrade(self) -> None:
        opening = read_opening(self.scope["method"], self.url, self.headers)
        if opening is None or not self.host.welcomes(opening, self.scheme or "http"):
            super().handle_websocket_upgrade()
            return
        peer = self.client[0] if self.client is not None else None
        self._opening = opening
        self._permit = self.admission.come(self.admission.proxies.client(peer, opening.forwarded_for), self)

    # -------------------------------------------------------------- admission.Pending

    def admit(self, permit: Permit) -> None:
        opening, self._opening, self._permit = self._opening, None, None
        if opening is None or self.transport.is_closing():
            permit.leave()
            return
        self.connections.discard(self)
        # It knows this object, which knows it: only the collector would free them.
        self.parser = None  # type: ignore[assignment]
        protocol = DirectProtocol(self)
        protocol.connection_made(self.transport)
        self.host.open_direct(protocol, permit, opening.answer)

    def refuse(self, refusal: Refusal, retry_after_s: int) -> None:
        self._opening = self._permit = None
        self.transport.write(refused(refusal, retry_after_s))
        self.transport.close()

    # -------------------------------------------------------------- while it waits

    def data_received(self, data: bytes) -> None:
        if self._permit is not None and self._opening is not None:
            self.transport.abort()  # nobody speaks before the answer is there
            return
        super().data_received(data)

    def connection_lost(self, exc: Exception | None) -> None:
        permit, self._permit, self._opening = self._permit, None, None
        if permit is not None:
            permit.leave()
        super().connection_lost(exc)


def refused(refusal: Refusal, retry_after_s: int) -> bytes:
    """The answer to who is turned away: whole, so that it costs one write."""
    status = HTTPStatus.SERVICE_UNAVAILABLE
    text = _apology(refusal)
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}\r\nRetry-After: {retry_after_s}\r\nConnection: close\r\n"
        f"Content-Type: text/plain; charset=utf-8\r\nContent-Length: {len(text)}\r\n\r\n"
    )
    return head.encode() + text


def _apology(refusal: Refusal) -> bytes:
    return f"Too many connections ({refusal}); come back later.\n".encode()


def upgrade_protocol(admission: Admission, host: Host) -> type[Any]:
    """The protocol class of a node with this admission."""
    return type("NodeUpgradeProtocol", (UpgradeProtocol,), {"admission": admission, "host": host})


KEY = "vouchstorm.permit"

App = Callable[[Any, Any, Any], Awaitable[None]]


def take_permit(scope: dict[str, Any]) -> Permit | None:
    """The permit of an opening, once; None under a server without admission."""
    permit: Permit | None = scope.pop(KEY, None)
    return permit


class _PendingRequest:
    """Waits in a coroutine."""

    def __init__(self) -> None:
        self.answer: asyncio.Future[tuple[Refusal, int] | None] = asyncio.get_running_loop().create_future()
        self.entered = False

    def admit(self, permit: Permit) -> None:
        if self.answer.done():
            permit.leave()
        else:
            self.answer.set_result(None)

    def refuse(self, refusal: Refusal, retry_after_s: int) -> None:
        if not self.answer.done():
            self.answer.set_result((refusal, retry_after_s))


class AsgiAdmission:
    """Admission of long-polling, and of websockets under another web server class.

    An opening waits here for its turn, or is refused with 503 and Retry-After; requests of sessions that
    exist pass. The permit travels in the scope; one that no session took is given back.
    """

    def __init__(self, admission: Admission, app: App, path: str) -> None:
        self._admission = admission
        self._app = app
        self._path = path

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        if not self._is_opening(scope):
            await self._app(scope, receive, send)
            return
        pending = _PendingRequest()
        # Under a trusted proxy the web server has put the client's own address here.
        client = scope.get("client")
        permit = self._admission.come(
            self._admission.proxies.client(client[0] if client else None, ()), pending
        )
        try:
            refusal = await pending.answer
            if refusal is not None:
                await _refuse(scope, receive, send, *refusal)
                return
            scope[KEY], pending.entered = permit, True
            await self._app(scope, receive, send)
        finally:
            if permit is not None and (KEY in scope or not pending.entered):
                permit.leave()

    def _is_opening(self, scope: Mapping[str, Any]) -> bool:
        if scope["type"] not in ("http", "websocket") or not scope["path"].startswith(self._path):
            return False
        if scope["type"] == "http" and scope["method"] != "GET":
            return False
        # As text: bytes that are no ASCII once unquoted would raise.
        return "sid" not in parse_qs(scope.get("query_string", b"").decode("latin-1"))


async def _refuse(scope: Mapping[str, Any], receive: Any, send: Any, refusal: Refusal, retry_s: int) -> None:
    headers = [(b"retry-after", str(retry_s).encode()), (b"content-type", b"text/plain; charset=utf-8")]
    text = _apology(refusal)
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 503, "headers": headers})
        await send({"type": "http.response.body", "body": text})
        return
    await receive()  # websocket.connect
    if "websocket.http.response" in scope.get("extensions", {}):
        await send({"type": "websocket.http.response.start", "status": 503, "headers": headers})
        await send({"type": "websocket.http.response.body", "body": text})
    else:
        await send({"type": "websocket.close", "code": 1013})


Receive = Callable[[], Awaitable[Mapping[str, Any]]]

_HEADERS = {
    b"origin": "HTTP_ORIGIN",
    b"host": "HTTP_HOST",
    b"connection": "HTTP_CONNECTION",
    b"upgrade": "HTTP_UPGRADE",
    b"user-agent": "HTTP_USER_AGENT",
    b"x-forwarded-proto": "HTTP_X_FORWARDED_PROTO",
    b"x-forwarded-host": "HTTP_X_FORWARDED_HOST",
}


async def environ_of(scope: dict[str, Any], receive: Receive, send: Any) -> dict[str, Any]:
    """The WSGI-like environment of an ASGI request; its first event has been received."""
    if scope["type"] != "websocket":
        environ: dict[str, Any] = await translate_request(scope, receive, send)
        # Empty if the client left before its request was read: without a query it is refused, unheard.
        return environ or _bare_environ(scope, receive, send, "")
    # The library's translation copies every header: a tenth of what a connection costs.
    await receive()  # websocket.connect
    query = _text(scope.get("query_string", b"")) or ""
    return _bare_environ(scope, receive, send, query) | origin_environ(scope["headers"])


def _bare_environ(scope: dict[str, Any], receive: Receive, send: Any, query: str) -> dict[str, Any]:
    return {
        "REQUEST_METHOD": "GET",
        "PATH_INFO": scope["path"],
        "QUERY_STRING": query,
        "asgi.receive": receive,
        "asgi.send": send,
        "asgi.scope": scope,
    }


def origin_environ(headers: Iterable[tuple[bytes, bytes]], scheme: str = "http") -> dict[str, str]:
    """Of the environment what says where a page came from, and whether an upgrade is wanted."""
    environ: dict[str, str] = {}
    for name, raw in headers:
        key = _HEADERS.get(name.lower())
        value = _text(raw) if key is not None else None
        if key is not None and value is not None:
            environ[key] = f"{environ[key]},{value}" if key in environ else value
    environ["wsgi.url_scheme"] = environ.get("HTTP_X_FORWARDED_PROTO", scheme)
    return environ


def slim_environ(environ: dict[str, Any]) -> dict[str, Any]:
    """What the application may want to know of a connection for its whole life; the rest is let go."""
    scope = environ["asgi.scope"]
    client = scope.get("client") or ("unknown", 0)
    slim = {key: environ[key] for key in ("HTTP_ORIGIN", "HTTP_USER_AGENT") if key in environ}
    return slim | {"REMOTE_ADDR": client[0]}


def _text(raw: bytes) -> str | None:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return None
