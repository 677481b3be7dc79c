"""Bytes on the wire: RFC 6455 server frames around Engine.IO/Socket.IO text packets.

Pure. A `Message` is encoded once and written to any number of sockets.
"""

import struct
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from ..contracts.types import DeliveryClass

TEXT, BINARY, CLOSE, PING, PONG = 0x1, 0x2, 0x8, 0x9, 0xA
CONTINUATION = 0x0
FIN = 0x80

ENGINE_PING = b"\x81\x012"
"""A whole frame: the Engine.IO heartbeat."""


def frame(payload: bytes, opcode: int = TEXT) -> bytes:
    """One unmasked, unfragmented frame. Source: RFC 6455 section 5.2."""
    size = len(payload)
    if size < 126:
        head = bytes((FIN | opcode, size))
    elif size < 65_536:
        head = struct.pack("!BBH", FIN | opcode, 126, size)
    else:
        head = struct.pack("!BBQ", FIN | opcode, 127, size)
    return head + payload


def close_frame(code: int, reason: str = "") -> bytes:
    """A close frame; the reason is cut to what a control frame holds."""
    text = reason.encode()[:120].decode(errors="ignore")
    return frame(struct.pack("!H", code) + text.encode(), CLOSE)


def event_packet(name: str, data: Mapping[str, Any]) -> bytes:
    """A Socket.IO EVENT packet of the default namespace: `2["name",{...}]`."""
    return b'2["%b",%b]' % (name.encode(), orjson.dumps(data))


class Message:
    """One push, ready to be written.

    packets: Socket.IO packets in order, for sockets that take them one by one (polling).
    wire: the same packets as joined websocket frames, for one write.
    version: seq of a durable push, version of a snapshot.
    names: event names, for the metrics.
    born_s: see `ports.Push`.
    trace: where its trace stood, for `traced.py`; None where nobody traces.
    """

    __slots__ = ("born_s", "delivery", "key", "names", "packets", "trace", "version", "wire")

    def __init__(
        self,
        packets: Sequence[bytes],
        delivery: DeliveryClass,
        key: str | None = None,
        version: int = 0,
        names: Sequence[str] = (),
        born_s: float = 0.0,
    ) -> None:
        self.names = names
        self.born_s = born_s
        self.packets = tuple(packets)
        self.wire = b"".join([frame(b"4" + packet) for packet in packets])
        self.delivery = delivery
        self.key = key
        self.version = version
        self.trace: object = None


def encode(
    events: Sequence[tuple[str, Mapping[str, Any]]],
    delivery: DeliveryClass,
    key: str | None = None,
    version: int = 0,
    born_s: float = 0.0,
) -> Message:
    """Encode events that belong together, once."""
    packets = [event_packet(name, data) for name, data in events]
    return Message(packets, delivery, key, version, [name for name, _ in events], born_s)
