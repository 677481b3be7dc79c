"""Socket.IO packets: names and raw arguments taken apart without parsing the JSON."""

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from simulator.socketio_client.codec import socketio
from simulator.socketio_client.codec.socketio import Packet, decode, split_event
from simulator.socketio_client.errors import ProtocolError

values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
names = st.text(max_size=12) | st.sampled_from(["message", 'a"b', "a\\", 'x",y', "é", "", ",", ",x"])


def as_values(args: bytes) -> list[object]:
    parsed: list[object] = json.loads(b"[" + args + b"]")
    return parsed


@given(names, st.lists(values, max_size=3), st.booleans(), st.booleans())
def test_any_event_splits_into_its_name_and_raw_arguments(
    name: str, args: list[object], spaced: bool, escaped: bool
) -> None:
    separators = (" , ", " : ") if spaced else (",", ":")
    text = json.dumps([name, *args], separators=separators, ensure_ascii=escaped)
    found, raw = split_event(b"42" + text.encode("utf-8", "surrogatepass"), 2)
    assert found == name
    assert as_values(raw) == args


def test_the_arguments_are_handed_on_as_they_came() -> None:
    assert split_event(b'42["a",{"x": 1.50},[ ]]', 2) == ("a", b'{"x": 1.50},[ ]')


def test_an_event_without_arguments_has_empty_arguments() -> None:
    assert split_event(b'42["pong"]', 2) == ("pong", b"")


@given(st.binary(max_size=30))
@example(b"[]")
@example(b'["')
@example(b'["a"')
@example(b'["a",')
@example(b'["\xff",1]')
@example(b'["a" 1]')
@example(b"[1,2]")
@example(b'["a\\",1]')
def test_garbage_in_place_of_an_event_is_a_protocol_error_at_worst(array: bytes) -> None:
    try:
        name, args = split_event(b"42" + array, 2)
    except ProtocolError:
        return
    assert isinstance(name, str)
    assert args in array


@given(st.binary(max_size=30).map(lambda tail: b"4" + tail))
def test_garbage_packets_are_protocol_errors_at_worst(packet: bytes) -> None:
    try:
        found = decode(packet)
    except ProtocolError:
        return
    assert packet.endswith(found.body)


@pytest.mark.parametrize(
    ("packet", "expected"),
    [
        (b'40{"sid":"x"}', Packet(socketio.CONNECT, "/", None, 0, b'{"sid":"x"}')),
        (b"40/admin,", Packet(socketio.CONNECT, "/admin", None, 0, b"")),
        (b"41", Packet(socketio.DISCONNECT, "/", None, 0, b"")),
        (b'42["a"]', Packet(socketio.EVENT, "/", None, 0, b'["a"]')),
        (b'4217["a"]', Packet(socketio.EVENT, "/", 17, 0, b'["a"]')),
        (b'42/x,17["a"]', Packet(socketio.EVENT, "/x", 17, 0, b'["a"]')),
        (b"433[1,2]", Packet(socketio.ACK, "/", 3, 0, b"[1,2]")),
        (b'44{"message":"no"}', Packet(socketio.CONNECT_ERROR, "/", None, 0, b'{"message":"no"}')),
        (b'452-["a",1]', Packet(socketio.BINARY_EVENT, "/", None, 2, b'["a",1]')),
        (b"461-/x,9[1]", Packet(socketio.BINARY_ACK, "/x", 9, 1, b"[1]")),
    ],
)
def test_packets_come_apart(packet: bytes, expected: Packet) -> None:
    assert decode(packet) == expected


@pytest.mark.parametrize(
    "packet", [b"4", b"47", b'45["a"]', b'421-["a"]', b"43[1]", b'451234567890-["a"]', b"2"]
)
def test_packets_that_contradict_themselves_are_refused(packet: bytes) -> None:
    with pytest.raises(ProtocolError):
        decode(packet)


@given(
    st.sampled_from(["/", "/admin"]), names, st.lists(values, max_size=3), st.none() | st.integers(1, 10**9)
)
def test_an_encoded_event_decodes_to_itself(
    namespace: str, name: str, args: list[object], ack_id: int | None
) -> None:
    packet = decode(socketio.encode_event(namespace, name, args, ack_id))
    assert (packet.kind, packet.namespace, packet.ack_id) == (socketio.EVENT, namespace, ack_id)
    found, raw = split_event(packet.body, 0)
    assert (found, as_values(raw)) == (name, args)


def test_connect_carries_the_auth_payload() -> None:
    assert socketio.encode_connect("/", {"token": "t"}) == b'40{"token":"t"}'


def test_connect_without_auth_is_bare() -> None:
    assert socketio.encode_connect("/admin", None) == b"40/admin,"


def test_disconnect_names_its_namespace() -> None:
    assert socketio.encode_disconnect("/admin") == b"41/admin,"


def test_an_acknowledgement_carries_its_id() -> None:
    assert socketio.encode_ack("/", 12) == b"4312[]"


@pytest.mark.parametrize(("args", "value"), [(b"", None), (b"7", 7), (b'1,"a"', (1, "a")), (b"[1]", [1])])
def test_arguments_as_python_values(args: bytes, value: object) -> None:
    assert socketio.load_arguments(args) == value


def test_arguments_that_are_no_json_are_a_protocol_error() -> None:
    with pytest.raises(ProtocolError):
        socketio.load_arguments(b"1,")


def test_the_prefix_of_plain_events_fits_what_is_encoded() -> None:
    packet = socketio.encode_event("/admin", "a", [])
    assert packet.startswith(socketio.event_prefix("/admin"))
