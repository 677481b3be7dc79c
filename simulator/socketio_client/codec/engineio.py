"""Engine.IO protocol 4: packet types, the handshake packet, and the payload of a long poll. No I/O.

A packet is its type digit followed by its data, as bytes.
"""

import binascii
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson

from ..errors import ProtocolError

OPEN: Final = ord("0")
CLOSE: Final = ord("1")
PING: Final = ord("2")
PONG: Final = ord("3")
MESSAGE: Final = ord("4")
UPGRADE: Final = ord("5")
NOOP: Final = ord("6")
BASE64: Final = ord("b")

CLOSE_PACKET: Final = b"1"
PONG_PACKET: Final = b"3"
PROBE_PING: Final = b"2probe"
PROBE_PONG: Final = b"3probe"
UPGRADE_PACKET: Final = b"5"
SEPARATOR: Final = b"\x1e"
DEFAULT_MAX_PAYLOAD_BYTES: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Handshake:
    """What the server says first. upgrades: names of the transports it would rather speak."""

    sid: str
    upgrades: tuple[str, ...]
    ping_interval_s: float
    ping_timeout_s: float
    max_payload_bytes: int

    @property
    def patience_ns(self) -> int:
        """A server that sent no PING for so long is dead."""
        return int((self.ping_interval_s + self.ping_timeout_s) * 1e9)


def decode_handshake(data: bytes) -> Handshake:
    """The data of an OPEN packet. Raises ProtocolError if a field is missing or out of range."""
    fields = load_json(data, "the Engine.IO handshake")
    if not isinstance(fields, dict):
        raise ProtocolError("the Engine.IO handshake is not a JSON object")
    sid, upgrades = fields.get("sid"), fields.get("upgrades", [])
    if not isinstance(sid, str) or not sid or not sid.isascii() or not sid.isprintable() or " " in sid:
        raise ProtocolError("the Engine.IO handshake has no usable sid")
    if not isinstance(upgrades, list):
        raise ProtocolError("the Engine.IO handshake's upgrades are not a list")
    return Handshake(
        sid,
        tuple(str(name) for name in upgrades),
        _positive(fields, "pingInterval") / 1e3,
        _positive(fields, "pingTimeout") / 1e3,
        int(_positive(fields, "maxPayload", DEFAULT_MAX_PAYLOAD_BYTES)),
    )


def _positive(fields: dict[str, Any], name: str, default: float | None = None) -> float:
    number = fields.get(name, default)
    if isinstance(number, bool) or not isinstance(number, int | float) or not 0 < number <= 1e12:
        raise ProtocolError(f"the Engine.IO handshake's {name} is not a positive number")
    return float(number)


def load_json(data: bytes, what: str) -> Any:
    """Parse JSON from the peer; `what` names it in the ProtocolError."""
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise ProtocolError(f"{what} is not JSON") from error


def split_payload(body: bytes) -> list[bytes]:
    """The packets of a long-poll answer. Raises ProtocolError on an empty packet."""
    packets = body.split(SEPARATOR)
    if not all(packets):
        raise ProtocolError("a polling payload holds an empty packet")
    return packets


def join_payload(packets: Sequence[bytes]) -> bytes:
    """The body of a POST."""
    return SEPARATOR.join(packets)


def decode_base64(packet: bytes) -> bytes:
    """The bytes of a `b...` packet, the form of a binary message in a polling payload."""
    try:
        return binascii.a2b_base64(packet[1:], strict_mode=True)
    except binascii.Error as error:
        raise ProtocolError("a binary packet is not base64") from error
