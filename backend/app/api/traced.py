"""A span around each REST request; put between envelope and routes where tracing is on, and only there.

Says method, route template and status: never a path, a query string or a header. The caller's
`traceparent` is the parent.
"""

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..observability.tracing import Tracing
from .middleware import UNMATCHED, is_ours


class Traced:
    """Middleware; the envelope outside of it has named the request."""

    def __init__(self, app: ASGIApp, *, tracing: Tracing) -> None:
        self._app = app
        self._tracing = tracing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not is_ours(scope):
            await self._app(scope, receive, send)
            return
        method = scope["method"]
        status = 500

        async def send_noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        with self._tracing.span("request", Headers(scope=scope), **{"http.request.method": method}) as span:
            try:
                await self._app(scope, receive, send_noted)
            finally:
                route = getattr(scope.get("route"), "path", UNMATCHED)
                span.update_name(f"{method} {route}")
                span.set_attribute("http.route", route)
                span.set_attribute("http.response.status_code", status)
