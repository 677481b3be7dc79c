"""What travels between nodes: one pre-encoded message per push. Pure.

The receiver learns from the channel name which room it is for and from fixed offsets who sent it; it parses
nothing else before it knows that the room is wanted, and it never decodes or encodes JSON.
"""

import math
import struct
from dataclasses import dataclass

from ...contracts.types import DeliveryClass, UserId
from ..websocket import Message

FORMAT = 2
_HEAD = struct.Struct("!B8sBQHBd")
_SEPARATOR = b"\x1e"  # never occurs in JSON text
_CLASSES = tuple(DeliveryClass)
MAX_BYTES = 1_048_576

MAX_SILENT_S = 30 * 86_400
MAX_SILENT_DIGITS = 12

MAX_ID_CHARS = 64
ALL_OF_USER = "*"

ROOM_PREFIX = "vouchstorm:room:"
BEAT_PREFIX = "vouchstorm:beat:"
CONTROL_CHANNEL = "vouchstorm:control"


class BusFormatError(ValueError):
    """Not a message of ours: counted and dropped, the bus is not trusted blindly."""


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """sequence: proves to its sender that the bus delivers; users: connected there, for the total."""

    node: str
    sequence: int
    users: int


@dataclass(frozen=True, slots=True)
class Kick:
    """End the sockets of a user: those of one token, or (None) all."""

    user_id: UserId
    jti: str | None


@dataclass(frozen=True, slots=True)
class Resync:
    """Compare with the store now; silent_s: for how long something may be missing, seconds, 0: not said."""

    silent_s: float = 0.0


def room_channel(room: str) -> str:
    return ROOM_PREFIX + room


def room_of(channel: str) -> str:
    """The room behind a room channel."""
    return channel[len(ROOM_PREFIX) :]


def pack(origin: bytes, message: Message) -> bytes:
    """origin: 8 bytes that identify the sending process."""
    key = (message.key or "").encode()
    head = _HEAD.pack(
        FORMAT,
        origin,
        _CLASSES.index(message.delivery),
        message.version,
        len(key),
        message.key is not None,
        message.born_s,
    )
    return b"".join((head, key, _SEPARATOR.join(message.packets)))


def origin_of(data: bytes) -> bytes:
    """Who sent it. Raises BusFormatError."""
    if len(data) < _HEAD.size or data[0] != FORMAT or len(data) > MAX_BYTES:
        raise BusFormatError("not a message of this format")
    return data[1:9]


def unpack(data: bytes) -> Message:
    """Raises BusFormatError."""
    origin_of(data)
    _, _, delivery, version, key_size, has_key, born_s = _HEAD.unpack_from(data)
    body = data[_HEAD.size :]
    packets = body[key_size:].split(_SEPARATOR)
    if delivery >= len(_CLASSES) or not all(packet.startswith(b'2["') for packet in packets):
        raise BusFormatError("a broken message")
    names = [packet[3 : packet.find(b'"', 3)].decode("ascii", "replace") for packet in packets]
    try:
        key = body[:key_size].decode() if has_key else None
    except UnicodeDecodeError as error:
        raise BusFormatError("a broken key") from error
    return Message(packets, _CLASSES[delivery], key, version, names, born_s)


def pack_heartbeat(beat: Heartbeat) -> bytes:
    return f"beat {beat.node} {beat.sequence} {beat.users}".encode()


def pack_kick(kick: Kick) -> bytes:
    return f"kick {kick.user_id} {kick.jti if kick.jti is not None else ALL_OF_USER}".encode()


def pack_resync(resync: Resync) -> bytes:
    """Rounded up to whole seconds."""
    return b"resync %d" % min(MAX_SILENT_S, max(0, math.ceil(resync.silent_s)))


def unpack_control(data: bytes) -> Heartbeat | Kick | Resync | None:
    """None for other control messages. Raises BusFormatError."""
    kind, *parts = data.decode("utf-8", "replace").split(" ")
    try:
        if kind == "beat":
            node, sequence, users = parts
            return Heartbeat(node, int(sequence), int(users))
        if kind == "kick":
            user_id, jti = parts
            if not all(0 < len(part) <= MAX_ID_CHARS for part in parts):
                raise ValueError("an id of another length")
            return Kick(UserId(user_id), jti if jti != ALL_OF_USER else None)
        if kind == "resync":
            said = " ".join(parts) if parts else "0"
            if not (said.isascii() and said.isdigit() and len(said) <= MAX_SILENT_DIGITS):
                raise ValueError("no number of seconds")
            return Resync(min(MAX_SILENT_S, int(said)))
    except ValueError as error:
        raise BusFormatError(f"a broken {kind}") from error
    return None
