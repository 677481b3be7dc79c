"""What the Engine.IO library is told of a request: for a websocket only what it looks at.

The library's own translation makes a class and copies every header on each call: a tenth of what a
connection costs, and garbage that only the collector frees. Long-polling, rare, still goes its way.

Source: python-engineio 4.15 `async_drivers/asgi.py: translate_request` and the keys that `async_server.py`,
`base_server.py` and `async_socket.py` read.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

from engineio.async_drivers.asgi import translate_request

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
        # The library says nothing of a client that left before its request was read, and fails on that.
        return environ or _gone(scope, receive, send)
    await receive()  # websocket.connect
    return _websocket_environ(scope, receive, send)


def _gone(scope: dict[str, Any], receive: Receive, send: Any) -> dict[str, Any]:
    """A request without a query: it is refused, and nobody hears it."""
    return {
        "REQUEST_METHOD": "GET",
        "PATH_INFO": scope["path"],
        "QUERY_STRING": "",
        "asgi.receive": receive,
        "asgi.send": send,
        "asgi.scope": scope,
    }


def _websocket_environ(scope: dict[str, Any], receive: Receive, send: Any) -> dict[str, Any]:
    environ = {
        "REQUEST_METHOD": "GET",
        "PATH_INFO": scope["path"],
        "QUERY_STRING": _text(scope.get("query_string", b"")) or "",
        "asgi.receive": receive,
        "asgi.send": send,
        "asgi.scope": scope,
    }
    return environ | origin_environ(scope["headers"])


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


def _text(raw: bytes) -> str | None:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return None
