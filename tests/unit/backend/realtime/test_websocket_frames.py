"""Frames: golden bytes, and what another implementation reads out of ours."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.client import ClientProtocol
from websockets.frames import Frame
from websockets.protocol import State
from websockets.uri import parse_uri

from backend.app.contracts.types import DeliveryClass
from backend.app.realtime.websocket import (
    ENGINE_PING,
    PONG,
    Message,
    close_frame,
    encode,
    frame,
)


def read_by_websockets(wire: bytes) -> list[Frame]:
    """What the websockets library, as a client, makes of bytes from a server."""
    client = ClientProtocol(parse_uri("ws://localhost/"), state=State.OPEN, max_size=None)
    client.receive_data(wire)
    assert client.parser_exc is None
    return [event for event in client.events_received() if isinstance(event, Frame)]


def test_the_heartbeat() -> None:
    assert ENGINE_PING == frame(b"2") == b"\x81\x012"


@pytest.mark.parametrize(
    ("size", "head"),
    [
        (0, b"\x81\x00"),
        (125, b"\x81\x7d"),
        (126, b"\x81\x7e\x00\x7e"),
        (65_535, b"\x81\x7e\xff\xff"),
        (65_536, b"\x81\x7f\x00\x00\x00\x00\x00\x01\x00\x00"),
    ],
)
def test_the_three_lengths(size: int, head: bytes) -> None:
    assert frame(b"x" * size) == head + b"x" * size


def test_a_pong() -> None:
    assert frame(b"abc", PONG) == b"\x8a\x03abc"


def test_a_close() -> None:
    assert close_frame(1012, "back soon") == b"\x88\x0b\x03\xf4back soon"


def test_a_long_reason_is_cut_to_a_control_frame() -> None:
    assert len(close_frame(1000, "x" * 500)) <= 2 + 125


@pytest.mark.parametrize("reason", ["é" * 100, "“" * 50, "x" + "é" * 100, "🦉" * 40, "xx🦉" * 40])
def test_a_cut_reason_is_still_text(reason: str) -> None:
    (received,) = read_by_websockets(close_frame(1000, reason))
    assert reason.startswith(bytes(received.data[2:]).decode())


def test_an_event_packet() -> None:
    message = encode([("pong", {"v": 1, "last_seq": None})], DeliveryClass.CONTROL)
    assert message.packets == (b'2["pong",{"v":1,"last_seq":null}]',)


def test_an_event_packet_keeps_text_as_utf8() -> None:
    message = encode([("e", {"t": "“é”"})], DeliveryClass.CONTROL)
    assert message.packets == ('2["e",{"t":"“é”"}]'.encode(),)


def test_a_message_is_one_frame_per_event_in_order() -> None:
    message = encode([("a", {"n": 1}), ("b", {"n": 2})], DeliveryClass.DURABLE, version=7)
    assert message.wire == b'\x81\x0f42["a",{"n":1}]\x81\x0f42["b",{"n":2}]'


def test_a_message_knows_its_packets_version_and_names() -> None:
    message = encode([("a", {}), ("b", {})], DeliveryClass.SNAPSHOT, "key", 7)
    assert (message.packets, message.version, message.key, list(message.names)) == (
        (b'2["a",{}]', b'2["b",{}]'),
        7,
        "key",
        ["a", "b"],
    )


@given(st.lists(st.binary(max_size=70_000), max_size=5))
def test_another_implementation_reads_the_same_messages(payloads: list[bytes]) -> None:
    packets = [payload.hex().encode() for payload in payloads]
    wire = Message(packets, DeliveryClass.CONTROL).wire
    assert [received.data for received in read_by_websockets(wire)] == [b"4" + packet for packet in packets]
