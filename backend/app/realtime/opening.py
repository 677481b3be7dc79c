"""The request that opens a websocket session in one step, read straight from its head. Pure.

Understands the one form that Socket.IO clients send: everything else - an upgrade of a polling session, a
subprotocol, another version, a key that is none - is None, and goes the libraries' way, which answers it.

Source: RFC 6455 section 4.2; Engine.IO protocol 4, handshake.
"""

import base64
import binascii
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

SOCKET_PATH: Final = b"/ws/socket.io/"
_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_QUERY: Final = frozenset((b"EIO=4", b"transport=websocket"))
_ANSWER: Final = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: %b\r\n\r\n"
)
_READ: Final = frozenset(
    (
        b"host",
        b"origin",
        b"x-forwarded-proto",
        b"x-forwarded-host",
        b"sec-websocket-key",
        b"sec-websocket-version",
    )
)

Headers = Sequence[tuple[bytes, bytes]]


@dataclass(frozen=True, slots=True)
class Opening:
    """answer: the whole head of the 101. headers: those that say where the page came from."""

    answer: bytes
    headers: Mapping[bytes, bytes]
    forwarded_for: Sequence[bytes]


def read_opening(method: str, url: bytes, headers: Headers) -> Opening | None:
    """headers: names in lower case; that they ask for a websocket has been seen before."""
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
