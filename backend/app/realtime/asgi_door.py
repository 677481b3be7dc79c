"""The door for those who come by ASGI: long-polling, and websockets under another web server class.

An opening waits here for its turn, or is refused with 503 and Retry-After; requests of sessions that exist
pass. The permit travels to the Engine.IO server in the scope; one that no session took is given back.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import parse_qs

from .admission import Door, Permit
from .caps import Refusal

KEY = "vouchstorm.permit"

App = Callable[[Any, Any, Any], Awaitable[None]]


def take_permit(scope: dict[str, Any]) -> Permit | None:
    """The permit of an opening, once; None under a server without a door."""
    permit: Permit | None = scope.pop(KEY, None)
    return permit


class _Waiting:
    """A visitor that waits in a coroutine."""

    def __init__(self) -> None:
        self.answer: asyncio.Future[tuple[Refusal, int] | None] = asyncio.get_running_loop().create_future()
        self.entered = False

    def enter(self, permit: Permit) -> None:
        if self.answer.done():
            permit.leave()
        else:
            self.answer.set_result(None)

    def turn_away(self, refusal: Refusal, retry_after_s: int) -> None:
        if not self.answer.done():
            self.answer.set_result((refusal, retry_after_s))


class AsgiDoor:
    """Stands in front of the Socket.IO application."""

    def __init__(self, door: Door, app: App, path: str) -> None:
        self._door = door
        self._app = app
        self._path = path

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        if not self._is_opening(scope):
            await self._app(scope, receive, send)
            return
        visitor = _Waiting()
        # Under a trusted proxy the web server has put the client's own address here.
        client = scope.get("client")
        permit = self._door.come(self._door.proxies.client(client[0] if client else None, ()), visitor)
        try:
            refusal = await visitor.answer
            if refusal is not None:
                await _refuse(scope, receive, send, *refusal)
                return
            scope[KEY], visitor.entered = permit, True
            await self._app(scope, receive, send)
        finally:
            if permit is not None and (KEY in scope or not visitor.entered):
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
    text = f"Too many connections ({refusal}); come back later.\n".encode()
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
