"""Socket.IO protocol 5 inside Engine.IO messages: packets apart and together, as little JSON as can be.

Every packet here still carries Engine.IO's leading `4`. Names are decoded; arguments stay raw JSON text.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from json import JSONDecoder
from typing import Any, Final

import orjson

from ..errors import ProtocolError

CONNECT: Final = 0
DISCONNECT: Final = 1
EVENT: Final = 2
ACK: Final = 3
CONNECT_ERROR: Final = 4
BINARY_EVENT: Final = 5
BINARY_ACK: Final = 6

MAX_ACK_DIGITS: Final = 16
_HEAD: Final = re.compile(rb"4([0-6])(?:(\d{1,9})-)?(?:(/[^,]*),)?(\d{1,%d}(?!\d))?" % MAX_ACK_DIGITS)
_DECODER: Final = JSONDecoder()
_SPACE: Final = b" \t\r\n"


@dataclass(frozen=True, slots=True)
class Packet:
    """A decoded packet. body: raw JSON text, b"" if none. attachments: binary messages that follow."""

    kind: int
    namespace: str
    ack_id: int | None
    attachments: int
    body: bytes


def decode(packet: bytes) -> Packet:
    """Take an Engine.IO message apart. Raises ProtocolError; the JSON of the body is not looked at."""
    head = _HEAD.match(packet)
    if head is None:
        raise ProtocolError("an Engine.IO message is not a Socket.IO packet")
    kind, attachments, namespace, ack_id = head.groups()
    binary = kind in (b"5", b"6")
    if binary != (attachments is not None):
        raise ProtocolError("a Socket.IO packet and its attachment count do not fit")
    if kind in (b"3", b"6") and ack_id is None:
        raise ProtocolError("an acknowledgement has no id")
    return Packet(
        int(kind),
        _text(namespace) if namespace else "/",
        int(ack_id) if ack_id else None,
        int(attachments) if attachments else 0,
        packet[head.end() :],
    )


def _text(raw: bytes) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ProtocolError("a name in a Socket.IO packet is not UTF-8") from error


@lru_cache(maxsize=1024)
def _plain_name(raw: bytes) -> str | None:
    """An event name without quotes and escapes as text; None for anything else. A server has few names."""
    if b'"' in raw or b"\\" in raw:
        return None
    return _text(raw)


def split_event(packet: bytes, start: int) -> tuple[str, bytes]:
    """Name and raw arguments of the event array that begins at `packet[start]` and ends the packet.

    The arguments are the text between the comma after the name and the closing bracket, unparsed. Raises
    ProtocolError if there is no such array or its first item is no string.
    """
    end = packet.find(b'",', start + 2)
    if end > 0 and packet[start + 1] == 0x22 and packet[-1] == 0x5D and packet[start] == 0x5B:
        name = _plain_name(packet[start + 2 : end])
        if name is not None:
            return name, packet[end + 2 : -1]
    return _split_unusual(packet[start:])


def _split_unusual(array: bytes) -> tuple[str, bytes]:
    """The same with white space and escapes, at leisure."""
    inner = strip_array(array).lstrip(_SPACE)
    if not inner.startswith(b'"'):
        raise ProtocolError("an event has no name")
    text = _text(inner)
    try:
        name, stop = _DECODER.raw_decode(text)
    except ValueError as error:
        raise ProtocolError("an event's name is not a JSON string") from error
    rest = text[stop:].lstrip(" \t\r\n")
    if rest and not rest.startswith(","):
        raise ProtocolError("an event's name is not followed by arguments")
    return name, rest[1:].encode("utf-8", "surrogatepass")


def strip_array(body: bytes) -> bytes:
    """The text between the brackets of a JSON array. Raises ProtocolError if they are not there."""
    body = body.strip(_SPACE)
    if len(body) < 2 or not body.startswith(b"[") or not body.endswith(b"]"):
        raise ProtocolError("a Socket.IO packet does not hold a JSON array")
    return body[1:-1]


def load_arguments(args: bytes) -> Any:
    """Raw arguments as Python values: None for none, the value for one, a tuple for several."""
    try:
        values = orjson.loads(b"[" + args + b"]")
    except orjson.JSONDecodeError as error:
        raise ProtocolError("the arguments of a packet are not JSON") from error
    if not values:
        return None
    return values[0] if len(values) == 1 else tuple(values)


def event_prefix(namespace: str) -> bytes:
    """How every plain event of a namespace begins: up to and including the quote before its name."""
    return b"42" + _address(namespace) + b'["'


def encode_connect(namespace: str, auth: Mapping[str, object] | None) -> bytes:
    """CONNECT, with the auth payload if there is one."""
    return b"40" + _address(namespace) + (b"" if auth is None else orjson.dumps(dict(auth)))


def encode_disconnect(namespace: str) -> bytes:
    """DISCONNECT from a namespace."""
    return b"41" + _address(namespace)


def encode_event(namespace: str, name: str, args: Sequence[object], ack_id: int | None = None) -> bytes:
    """EVENT; with an id the server is asked to acknowledge. Arguments are anything orjson can dump."""
    wanted = b"" if ack_id is None else b"%d" % ack_id
    return b"42" + _address(namespace) + wanted + orjson.dumps([name, *args])


def encode_ack(namespace: str, ack_id: int, args: Sequence[object] = ()) -> bytes:
    """The answer to an event that came with an id."""
    return b"43" + _address(namespace) + b"%d" % ack_id + orjson.dumps(list(args))


def _address(namespace: str) -> bytes:
    return b"" if namespace == "/" else namespace.encode("utf-8") + b","
