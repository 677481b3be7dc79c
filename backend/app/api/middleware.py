"""What stands between the web server and the routes: envelope, traces, CORS, rates, limits; all pure ASGI.

They serve the REST room only: what goes to the sockets' path passes untouched, whose library answers for
itself. Each refuses with a problem document. Metric labels and span names are route templates, never paths.
"""

import ipaddress
import logging
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from fastapi import HTTPException
from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..contracts import SOCKETIO_PATH
from ..contracts.errors import Code
from ..errors import UnavailableError
from ..observability.logs import request_id
from ..observability.metrics import Metrics
from ..observability.tracing import Tracing
from ..ports import Ids
from ..services.throttle import Limit, Throttle
from ..settings import Settings
from .problems import problem_response

UNMATCHED = "unmatched"
WINDOW_S = 60
PROBES = frozenset(("/healthz", "/readyz", "/metrics"))
_IPV6_SITE_BITS = 64
_SOCKET_PREFIX = SOCKETIO_PATH.split("/")[1]
_REQUEST_ID = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "Cache-Control": "no-store",
}
_STRICT_TRANSPORT = "max-age=31536000"
"""Sent over TLS only (a trusted proxy says so): a year, this host alone."""
# What is left of a body that is too large is not read, so the connection cannot be used again.
_CLOSE = {"Connection": "close"}

_log = logging.getLogger(__name__)


class RestMiddleware:
    """`answer` gets the HTTP requests of the REST room; sockets and the lifespan go to the application."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        ours = scope["type"] == "http" and scope["path"].split("/", 2)[1:2] != [_SOCKET_PREFIX]
        await (self.answer if ours else self._app)(scope, receive, send)

    async def answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        raise NotImplementedError


class _Answer:
    """`send` that remembers the status; None until the answer starts. on_start: sees its first message."""

    def __init__(self, send: Send, on_start: Callable[[Message], None] = lambda message: None) -> None:
        self._send = send
        self._on_start = on_start
        self.status: int | None = None

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self._on_start(message)
        await self._send(message)


def _route(scope: Scope) -> str:
    return getattr(scope.get("route"), "path", UNMATCHED)


class Envelope(RestMiddleware):
    """Outermost: request id, security headers, one latency observation, one span.

    ids: names requests that come without a usable `X-Request-ID`. An answer that never started counts as 500.
    """

    def __init__(self, app: ASGIApp, *, metrics: Metrics, ids: Ids, tracing: Tracing | None = None) -> None:
        super().__init__(app)
        self._tracing = tracing or Tracing()
        self._metrics = metrics
        self._ids = ids

    async def answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        given = Headers(scope=scope).get("x-request-id", "")
        current = given if _REQUEST_ID.fullmatch(given) else self._ids.new()

        def add_headers(start: Message) -> None:
            headers = MutableHeaders(scope=start)
            headers["X-Request-ID"] = current
            if scope.get("scheme") == "https":
                headers.setdefault("Strict-Transport-Security", _STRICT_TRANSPORT)
            for name, value in _HEADERS.items():
                headers.setdefault(name, value)

        answer = _Answer(send, add_headers)
        with self._observed(scope, answer), _named(current), self._traced(scope, answer):
            await self._app(scope, receive, answer)

    @contextmanager
    def _observed(self, scope: Scope, answer: _Answer) -> Iterator[None]:
        started_s = time.perf_counter()
        self._metrics.http_in_flight.inc()
        try:
            yield
        finally:
            self._metrics.http_in_flight.dec()
            status = answer.status or 500
            seconds = time.perf_counter() - started_s
            route = _route(scope)
            self._metrics.http_request(scope["method"], route, status, seconds)
            _log.debug("%s %s %d %.1f ms", scope["method"], route, status, seconds * 1000)

    @contextmanager
    def _traced(self, scope: Scope, answer: _Answer) -> Iterator[None]:
        """A span that says method, route template and status: never a path, a query string or a header."""
        method = scope["method"]
        with self._tracing.span("request", Headers(scope=scope), **{"http.request.method": method}) as span:
            try:
                yield
            finally:
                span.update_name(f"{method} {_route(scope)}")
                span.set_attribute("http.route", _route(scope))
                span.set_attribute("http.response.status_code", answer.status or 500)


@contextmanager
def _named(current: str) -> Iterator[None]:
    token = request_id.set(current)
    try:
        yield
    finally:
        request_id.reset(token)


class Cors(RestMiddleware):
    """Starlette's CORS middleware for the listed origins; tokens travel in a header, so never credentials.

    The sockets' library checks the same origins by itself.
    """

    def __init__(self, app: ASGIApp, *, origins: tuple[str, ...]) -> None:
        super().__init__(app)
        self._guarded = CORSMiddleware(
            app,
            allow_origins=origins,
            allow_methods=("GET", "POST"),
            allow_headers=("Authorization", "Content-Type", "Idempotency-Key", "X-Request-ID"),
            expose_headers=("Location", "Idempotency-Replayed", "Retry-After", "X-Request-ID"),
            max_age=600,
        )

    async def answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._guarded(scope, receive, send)


class RestRates:
    """How many requests a minute an address and a user may make, counted in one throttle.

    Two places, because two things are known at two moments: the address with the request's head, the user
    once the token was looked at.
    """

    def __init__(self, settings: Settings, throttle: Throttle, metrics: Metrics) -> None:
        self._throttle = throttle
        self._metrics = metrics
        self._address = Limit("rest-address", settings.requests_per_address_per_min, WINDOW_S)
        self._user = Limit("rest-user", settings.requests_per_user_per_min, WINDOW_S)
        self._register = Limit("register-address", settings.registrations_per_address_per_min, WINDOW_S)

    async def address_over_s(self, scope: Scope) -> int | None:
        """Count a request of an address; seconds to wait if that is too many. Probes are not counted."""
        address = None if scope["path"] in PROBES else client_of(scope)
        return await self._over_s(self._address, address, "rest_address")

    async def check_user(self, user_id: str) -> None:
        """Count a request of a user. Raises UnavailableError(RATE_LIMITED)."""
        _check(await self._over_s(self._user, user_id, "rest_user"))

    async def check_registration(self, address: str | None) -> None:
        """Count a registration of an address. Raises UnavailableError(RATE_LIMITED)."""
        _check(await self._over_s(self._register, address, "register"))

    async def _over_s(self, limit: Limit, who: str | None, scope: str) -> int | None:
        over_s = None if who is None else await self._throttle.spend(limit, who)
        if over_s is not None:
            self._metrics.rate_limited.inc(scope)
        return over_s


def _check(over_s: int | None) -> None:
    if over_s is not None:
        raise UnavailableError("Too many requests; slow down.", Code.RATE_LIMITED, retry_after_s=over_s)


def client_of(scope: Scope) -> str | None:
    """Who sent this request: an IPv4 address, an IPv6 network of 64 bits, or None where nobody knows.

    The address is the one that the web server believes: a proxy's headers count only if it is trusted.
    """
    client = scope.get("client")
    if not client:
        return None
    try:
        address = ipaddress.ip_address(str(client[0]).partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        # One subscriber holds at least a /64: single addresses would cost them nothing.
        return str(ipaddress.ip_network((address, _IPV6_SITE_BITS), strict=False))
    return str(address)


class Rates(RestMiddleware):
    """Refuses an address before anything is read of its request."""

    def __init__(self, app: ASGIApp, *, rates: RestRates) -> None:
        super().__init__(app)
        self._rates = rates

    async def answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        app, over_s = self._app, await self._rates.address_over_s(scope)
        if over_s is not None:
            detail = "Too many requests from this address; slow down."
            app = problem_response(Code.RATE_LIMITED, detail, retry_after_s=over_s)
        await app(scope, receive, send)


class _TooLargeError(HTTPException):
    """The framework lets an HTTPException through where it would rename anything else."""

    def __init__(self) -> None:
        super().__init__(413, headers=dict(_CLOSE))


class Limits(RestMiddleware):
    """Innermost: no body above `max_body_bytes` to a route, no exception to the client.

    Its refusals carry the CORS headers and the envelope as well.
    """

    def __init__(self, app: ASGIApp, *, max_body_bytes: int) -> None:
        super().__init__(app)
        self._max_body_bytes = max_body_bytes

    async def answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        app, answer = self._app, _Answer(send)
        if _declared_bytes(scope) > self._max_body_bytes:
            detail = f"The request body is too large; at most {self._max_body_bytes} bytes are read."
            app = problem_response(Code.BODY_TOO_LARGE, detail, headers=_CLOSE)
        try:
            await app(scope, self._counting(receive), answer)
        except Exception:
            _log.exception("unexpected error while answering %s", scope["method"])
            if answer.status is not None:
                raise  # too late for a problem: the server cuts the answer off
            await problem_response(Code.INTERNAL)(scope, receive, send)

    def _counting(self, receive: Receive) -> Receive:
        """Counts the body while it streams in: neither a missing nor a lying Content-Length helps."""
        received_bytes = 0

        async def receive_counted() -> Message:
            nonlocal received_bytes
            message = await receive()
            received_bytes += len(message.get("body", b""))
            if received_bytes > self._max_body_bytes:
                raise _TooLargeError
            return message

        return receive_counted


def _declared_bytes(scope: Scope) -> int:
    declared = Headers(scope=scope).get("content-length", "")
    return int(declared) if declared.isascii() and declared.isdigit() and len(declared) < 20 else 0
