"""The last guard before the routes: no body above the limit, no exception to the client.

Pure ASGI, innermost, so that its refusals carry the CORS headers and the envelope as well. The body is
counted while it streams in: neither a missing nor a lying Content-Length helps.
"""

import logging

from fastapi import HTTPException
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..contracts.errors import Code
from .middleware import is_ours
from .problems import problem_response

_log = logging.getLogger(__name__)

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
