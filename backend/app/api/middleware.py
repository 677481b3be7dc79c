"""What every HTTP answer carries and leaves behind: request id, security headers, one latency observation.

Pure ASGI, outermost; adds nothing to the sockets' path, whose library answers for itself. Metric labels are
route templates, never paths.
"""

import ipaddress
import logging
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

from fastapi import Depends, HTTPException, Request
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
_SOCKET_PREFIX = SOCKETIO_PATH.split("/")[1]
_REQUEST_ID = re.compile(r"[A-Za-z0-9_.-]{1,64}")

_log = logging.getLogger(__name__)

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


def is_ours(scope: Scope) -> bool:
    """Whether this is an HTTP request for the REST room: not a socket's transport, not the lifespan."""
    return scope["type"] == "http" and not _is_under_socket_path(scope["path"])


def _is_under_socket_path(path: str) -> bool:
    return path.split("/", 2)[1:2] == [_SOCKET_PREFIX]


class Envelope:
    """Outermost middleware. `ids` names requests that come without a usable `X-Request-ID`."""

    def __init__(self, app: ASGIApp, *, metrics: Metrics, ids: Ids, tracing: Tracing | None = None) -> None:
        self._app = app
        self._tracing = tracing or Tracing()
        self._metrics = metrics
        self._ids = ids

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not is_ours(scope):
            await self._app(scope, receive, send)
            return
        current = self._request_id(scope)
        with self._observed(scope) as statuses, _named(current), self._traced(scope, statuses):

            async def send_enveloped(message: Message) -> None:
                if message["type"] == "http.response.start":
                    statuses.append(message["status"])
                    _add_headers(MutableHeaders(scope=message), current, scope.get("scheme") == "https")
                await send(message)

            await self._app(scope, receive, send_enveloped)

    def _request_id(self, scope: Scope) -> str:
        given = Headers(scope=scope).get("x-request-id", "")
        return given if _REQUEST_ID.fullmatch(given) else self._ids.new()

    @contextmanager
    def _observed(self, scope: Scope) -> Iterator[list[int]]:
        """Yields the list that takes the status; an answer that never started counts as 500."""
        statuses: list[int] = []
        started_s = time.perf_counter()
        self._metrics.http_in_flight.inc()
        try:
            yield statuses
        finally:
            self._metrics.http_in_flight.dec()
            status = statuses[0] if statuses else 500
            seconds = time.perf_counter() - started_s
            route = getattr(scope.get("route"), "path", UNMATCHED)
            self._metrics.http_request(scope["method"], route, status, seconds)
            _log.debug("%s %s %d %.1f ms", scope["method"], route, status, seconds * 1000)

    @contextmanager
    def _traced(self, scope: Scope, statuses: list[int]) -> Iterator[None]:
        """A span that says method, route template and status: never a path, a query string or a header."""
        method = scope["method"]
        with self._tracing.span("request", Headers(scope=scope), **{"http.request.method": method}) as span:
            try:
                yield
            finally:
                route = getattr(scope.get("route"), "path", UNMATCHED)
                span.update_name(f"{method} {route}")
                span.set_attribute("http.route", route)
                span.set_attribute("http.response.status_code", statuses[0] if statuses else 500)


@contextmanager
def _named(current: str) -> Iterator[None]:
    token = request_id.set(current)
    try:
        yield
    finally:
        request_id.reset(token)


def _add_headers(headers: MutableHeaders, current: str, encrypted: bool) -> None:
    headers["X-Request-ID"] = current
    if encrypted:
        headers.setdefault("Strict-Transport-Security", _STRICT_TRANSPORT)
    for name, value in _HEADERS.items():
        headers.setdefault(name, value)


# Cross-origin access by configuration: off unless origins are listed.
#
# Covers the REST room only; the sockets' library checks the same origins by itself.

_MAX_AGE_S = 600
_EXPOSED = ("Location", "Idempotency-Replayed", "Retry-After", "X-Request-ID")


class Cors:
    """Starlette's CORS middleware for the listed origins; tokens travel in a header, so never credentials."""

    def __init__(self, app: ASGIApp, *, origins: tuple[str, ...]) -> None:
        self._app = app
        self._guarded = CORSMiddleware(
            app,
            allow_origins=origins,
            allow_methods=("GET", "POST"),
            allow_headers=("Authorization", "Content-Type", "Idempotency-Key", "X-Request-ID"),
            expose_headers=_EXPOSED,
            max_age=_MAX_AGE_S,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await (self._guarded if is_ours(scope) else self._app)(scope, receive, send)


# The last guard before the routes: no body above the limit, no exception to the client.
#
# Pure ASGI, innermost, so that its refusals carry the CORS headers and the envelope as well. The body
# is
# counted while it streams in: neither a missing nor a lying Content-Length helps.

# What is left of the body is not read, so the connection cannot be used again.
_CLOSE = {"Connection": "close"}


class _TooLargeError(HTTPException):
    """The framework lets an HTTPException through where it would rename anything else."""

    def __init__(self) -> None:
        super().__init__(413, headers=dict(_CLOSE))


class Limits:
    """Innermost middleware. max_body_bytes: the largest body that reaches a route."""

    def __init__(self, app: ASGIApp, *, max_body_bytes: int) -> None:
        self._app = app
        self._max_body_bytes = max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not is_ours(scope):
            await self._app(scope, receive, send)
            return
        if self._declared_bytes(scope) > self._max_body_bytes:
            await self._too_large()(scope, receive, send)
            return
        await self._guarded(scope, self._counting(receive), send)

    def _declared_bytes(self, scope: Scope) -> int:
        declared = Headers(scope=scope).get("content-length", "")
        return int(declared) if declared.isascii() and declared.isdigit() and len(declared) < 20 else 0

    def _too_large(self) -> ASGIApp:
        detail = f"The request body is too large; at most {self._max_body_bytes} bytes are read."
        return problem_response(Code.BODY_TOO_LARGE, detail, headers=_CLOSE)

    def _counting(self, receive: Receive) -> Receive:
        received_bytes = 0

        async def receive_counted() -> Message:
            nonlocal received_bytes
            message = await receive()
            received_bytes += len(message.get("body", b""))
            if received_bytes > self._max_body_bytes:
                raise _TooLargeError
            return message

        return receive_counted

    async def _guarded(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = False

        async def send_noted(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self._app(scope, receive, send_noted)
        except Exception:
            _log.exception("unexpected error while answering %s", scope["method"])
            if started:
                raise  # too late for a problem: the server cuts the answer off
            await problem_response(Code.INTERNAL)(scope, receive, send)


# How many requests a minute an address and a user may make; what is too many gets a 429 with `Retry-
# After`.
#
# Two places, because two things are known at two moments: the address with the request's head
# (`Rates`, the
# middleware), the user once the token was looked at (`deps.authenticated`). Probes are never refused.
# The
# address is the one that the web server believes: a proxy's headers count only if the proxy is
# trusted.

WINDOW_S = 60
PROBES = frozenset(("/healthz", "/readyz", "/metrics"))
_IPV6_SITE_BITS = 64


def client_of(scope: Scope) -> str | None:
    """Who sent this request: an IPv4 address, an IPv6 network of 64 bits, or None where nobody knows."""
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


class RestRates:
    """The limits of the REST room, counted in one throttle."""

    def __init__(self, settings: Settings, throttle: Throttle, metrics: Metrics) -> None:
        self._throttle = throttle
        self._metrics = metrics
        self._address = Limit("rest-address", settings.requests_per_address_per_min, WINDOW_S)
        self._user = Limit("rest-user", settings.requests_per_user_per_min, WINDOW_S)
        self._register = Limit("register-address", settings.registrations_per_address_per_min, WINDOW_S)

    async def address_over_s(self, scope: Scope) -> int | None:
        """Count a request of an address; seconds to wait if that is too many."""
        address = client_of(scope)
        if address is None or scope["path"] in PROBES:
            return None
        over_s = await self._throttle.spend(self._address, address)
        if over_s is not None:
            self._metrics.rate_limited.inc("rest_address")
        return over_s

    async def check_user(self, user_id: str) -> None:
        """Count a request of a user. Raises UnavailableError(RATE_LIMITED)."""
        over_s = await self._throttle.spend(self._user, user_id)
        if over_s is not None:
            self._metrics.rate_limited.inc("rest_user")
            raise _too_many(over_s)

    async def check_registration(self, address: str | None) -> None:
        """Count a registration of an address. Raises UnavailableError(RATE_LIMITED)."""
        over_s = await self._throttle.spend(self._register, address) if address is not None else None
        if over_s is not None:
            self._metrics.rate_limited.inc("register")
            raise _too_many(over_s)


def _too_many(over_s: int) -> UnavailableError:
    return UnavailableError("Too many requests; slow down.", Code.RATE_LIMITED, retry_after_s=over_s)


class Rates:
    """Middleware: refuses an address before anything is read of its request."""

    def __init__(self, app: ASGIApp, *, rates: RestRates) -> None:
        self._app = app
        self._rates = rates

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        over_s = await self._rates.address_over_s(scope) if is_ours(scope) else None
        if over_s is None:
            await self._app(scope, receive, send)
            return
        refusal = problem_response(
            Code.RATE_LIMITED, "Too many requests from this address; slow down.", retry_after_s=over_s
        )
        await refusal(scope, receive, send)


async def rates_of(request: Request) -> RestRates:
    """The node's limits, as `router.install` left them."""
    rates: RestRates = request.app.state.rates
    return rates


RatesDep = Annotated[RestRates, Depends(rates_of)]
