"""Engine.IO packets: handshake and polling payloads."""

import json
from base64 import b64encode
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.socketio_client.codec import engineio
from simulator.socketio_client.errors import ProtocolError

GOOD: dict[str, Any] = {
    "sid": "abc",
    "upgrades": ["websocket"],
    "pingInterval": 25000,
    "pingTimeout": 20000,
    "maxPayload": 64000,
}


def test_a_handshake_is_read() -> None:
    handshake = engineio.decode_handshake(json.dumps(GOOD).encode())
    assert handshake == engineio.Handshake("abc", ("websocket",), 25.0, 20.0, 64000)


def test_patience_is_interval_and_timeout() -> None:
    assert engineio.decode_handshake(json.dumps(GOOD).encode()).patience_ns == 45_000_000_000


def test_max_payload_may_be_missing() -> None:
    fields = {name: value for name, value in GOOD.items() if name != "maxPayload"}
    assert engineio.decode_handshake(json.dumps(fields).encode()).max_payload_bytes == 1_000_000


@pytest.mark.parametrize(
    "change",
    [
        {"sid": ""},
        {"sid": 5},
        {"sid": "a b"},
        {"sid": "a\r\nX: y"},
        {"pingInterval": 0},
        {"pingTimeout": -1},
        {"pingTimeout": True},
        {"pingInterval": "25000"},
        {"upgrades": "websocket"},
        {"pingInterval": 1e300},
    ],
)
def test_a_handshake_that_cannot_be_kept_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ProtocolError):
        engineio.decode_handshake(json.dumps(GOOD | change).encode())


@given(st.binary(max_size=40))
def test_garbage_handshakes_are_protocol_errors(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        engineio.decode_handshake(data)


packets = st.binary(min_size=1, max_size=20).filter(lambda packet: b"\x1e" not in packet)


@given(st.lists(packets, min_size=1, max_size=5))
def test_a_payload_comes_apart_as_it_was_joined(parts: list[bytes]) -> None:
    assert engineio.split_payload(engineio.join_payload(parts)) == parts


@pytest.mark.parametrize("body", [b"", b"\x1e", b"2\x1e", b"2\x1e\x1e3"])
def test_empty_packets_are_refused(body: bytes) -> None:
    with pytest.raises(ProtocolError):
        engineio.split_payload(body)


@given(st.binary(max_size=30))
def test_binary_messages_survive_polling(payload: bytes) -> None:
    assert engineio.decode_base64(b"b" + b64encode(payload)) == payload


@pytest.mark.parametrize("packet", [b"b?", b"bQQ", b"b\xff"])
def test_what_is_not_base64_is_refused(packet: bytes) -> None:
    with pytest.raises(ProtocolError):
        engineio.decode_base64(packet)
