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


def unpack_heartbeat(data: bytes) -> Heartbeat | None:
    """None for other control messages. Raises BusFormatError."""
    parts = data.decode("utf-8", "replace").split(" ")
    if parts[0] != "beat":
        return None
    try:
        _, node, sequence, users = parts
        return Heartbeat(node, int(sequence), int(users))
    except ValueError as error:
        raise BusFormatError("a broken heartbeat") from error


@dataclass(frozen=True, slots=True)
class Kick:
    """End the sockets of a user: those of one token, or (None) all."""

    user_id: UserId
    jti: str | None


def pack_kick(kick: Kick) -> bytes:
    return f"kick {kick.user_id} {kick.jti if kick.jti is not None else ALL_OF_USER}".encode()


def unpack_kick(data: bytes) -> Kick | None:
    """None for other control messages. Raises BusFormatError."""
    parts = data.decode("utf-8", "replace").split(" ")
    if parts[0] != "kick":
        return None
    if len(parts) != 3 or not all(0 < len(part) <= MAX_ID_CHARS for part in parts[1:]):
        raise BusFormatError("a broken kick")
    return Kick(UserId(parts[1]), parts[2] if parts[2] != ALL_OF_USER else None)


RESYNC = b"resync"
"""Control: compare with the store now. With a number behind it: some node could not publish for so long."""


def pack_resync(silent_s: float) -> bytes:
    """silent_s: for how long something may be missing, seconds; rounded up."""
    return b"%b %d" % (RESYNC, min(MAX_SILENT_S, max(0, math.ceil(silent_s))))


def unpack_resync(data: bytes) -> float | None:
    """Seconds; 0 where it was not said. None for other control messages. Raises BusFormatError."""
    name, _, said = data.partition(b" ")
    if name != RESYNC:
        return None
    if not said:
        return 0.0
    if not said.isdigit() or len(said) > MAX_SILENT_DIGITS:
        raise BusFormatError("a broken resync")
    return float(min(MAX_SILENT_S, int(said)))
