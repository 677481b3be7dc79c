"""Cross-origin access by configuration: off unless origins are listed.

Covers the REST room only; the sockets' library checks the same origins by itself.
"""

from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from .middleware import is_ours

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
