"""What every HTTP answer carries and leaves behind: request id, security headers, one latency observation.

Pure ASGI, outermost; adds nothing to the sockets' path, whose library answers for itself. Metric labels are
route templates, never paths.
"""

import logging
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..contracts import SOCKETIO_PATH
from ..observability.logs import request_id
from ..observability.metrics import Metrics
from ..ports import Ids

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

    def __init__(self, app: ASGIApp, *, metrics: Metrics, ids: Ids) -> None:
        self._app = app
        self._metrics = metrics
        self._ids = ids

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not is_ours(scope):
            await self._app(scope, receive, send)
            return
        current = self._request_id(scope)
        with self._observed(scope) as statuses, _named(current):

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
