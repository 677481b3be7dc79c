"""Are the libraries still what the fast path was written against?

Looked at once at start. A surprise switches the fast path off with a log line, instead of corrupting frames.
"""

import inspect
from importlib.metadata import version

import engineio
import socketio
from engineio.async_socket import AsyncSocket
from socketio.async_manager import AsyncManager
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

KNOWN_VERSIONS = {"python-socketio": "5.18.", "python-engineio": "4.15.", "uvicorn": "0.54."}

_SIGNATURES: list[tuple[type, str, list[str]]] = [
    (AsyncSocket, "_upgrade_websocket", ["self", "environ"]),
    (AsyncSocket, "_websocket_handler", ["self", "ws"]),
    (AsyncSocket, "send", ["self", "pkt"]),
    (AsyncSocket, "receive", ["self", "pkt"]),
    (AsyncSocket, "close", ["self", "wait", "abort", "reason"]),
    (AsyncSocket, "schedule_ping", ["self"]),
    (AsyncSocket, "check_ping_timeout", ["self"]),
    (engineio.AsyncServer, "_handle_connect", ["self", "environ", "transport", "jsonp_index"]),
    (engineio.AsyncServer, "_trigger_event", ["self", "event", "args", "kwargs"]),
    (socketio.AsyncServer, "_engineio_server_class", ["self"]),
    (
        socketio.AsyncServer,
        "_handle_event_internal",
        ["self", "server", "sid", "eio_sid", "data", "namespace", "id"],
    ),
    (AsyncManager, "connect", ["self", "sid", "namespace"]),
    (AsyncManager, "pre_connect", ["self", "eio_sid", "namespace"]),
    (WebSocketsSansIOProtocol, "handle_connect", ["self", "event"]),
    (WebSocketsSansIOProtocol, "run_asgi", ["self"]),
    (WebSocketsSansIOProtocol, "connection_lost", ["self", "exc"]),
    (WebSocketsSansIOProtocol, "shutdown", ["self"]),
]


def unexpected() -> list[str]:
    """What differs from what the fast path expects; empty when all is well."""
    surprises = []
    for package, known in KNOWN_VERSIONS.items():
        found = version(package)
        if not found.startswith(known):
            surprises.append(f"{package} is {found}, known is {known}x")
    for owner, name, parameters in _SIGNATURES:
        method = getattr(owner, name, None)
        if method is None or list(inspect.signature(method).parameters) != parameters:
            surprises.append(f"{owner.__name__}.{name} changed")
    return surprises
