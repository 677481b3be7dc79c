"""What travels between nodes comes out as it went in; anything else is refused."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.app.contracts.types import DeliveryClass, UserId
from backend.app.realtime.bus import messages
from backend.app.realtime.websocket import encode

ORIGIN = b"12345678"

names = st.sampled_from(["new_notification", "validation_count_update", "x"])
payloads = st.dictionaries(
    st.text(max_size=20), st.text(max_size=50) | st.integers(-(2**53), 2**53), max_size=5
)


@given(
    events=st.lists(st.tuples(names, payloads), min_size=1, max_size=4),
    delivery=st.sampled_from(DeliveryClass),
    key=st.none() | st.text(alphabet="abcdef0123456789:", max_size=80),
    version=st.integers(0, 2**53),
)
def test_a_message_survives_the_bus(events, delivery, key, version) -> None:
    sent = encode(events, delivery, key, version)
    got = messages.unpack(messages.pack(ORIGIN, sent))
    assert (got.wire, got.packets, list(got.names)) == (sent.wire, sent.packets, list(sent.names))
    assert (got.delivery, got.key, got.version) == (delivery, key, version)


def test_the_origin_is_read_without_the_rest() -> None:
    assert messages.origin_of(messages.pack(ORIGIN, encode([("x", {})], DeliveryClass.CONTROL))) == ORIGIN


@given(st.binary(max_size=200))
def test_garbage_is_refused(data: bytes) -> None:
    try:
        message = messages.unpack(data)
    except messages.BusFormatError:
        return
    assert all(packet.startswith(b'2["') for packet in message.packets)


def test_a_huge_message_is_refused() -> None:
    data = messages.pack(ORIGIN, encode([("x", {})], DeliveryClass.CONTROL)) + b" " * messages.MAX_BYTES
    with pytest.raises(messages.BusFormatError):
        messages.unpack(data)


def test_a_key_that_is_not_text_is_refused() -> None:
    data = messages.pack(ORIGIN, encode([("x", {})], DeliveryClass.SNAPSHOT, "key", 1))
    with pytest.raises(messages.BusFormatError):
        messages.unpack(data.replace(b"key", b"\xff\xfe\xfd"))


@pytest.mark.parametrize(
    ("packed", "control"),
    [
        (messages.pack_heartbeat, messages.Heartbeat("node-1", 7, 300)),
        (messages.pack_kick, messages.Kick(UserId("ann"), "0123456789abcdef")),
        (messages.pack_kick, messages.Kick(UserId("ann"), None)),
        (messages.pack_resync, messages.Resync(61)),
    ],
)
def test_a_control_message_survives_the_bus(packed: Callable[[Any], bytes], control: object) -> None:
    assert messages.unpack_control(packed(control)) == control


@pytest.mark.parametrize(
    ("silent_s", "said_s"), [(0.0, 0), (0.2, 1), (61.0, 61), (-3.0, 0), (1e12, 2_592_000)]
)
def test_a_resync_says_for_how_long(silent_s: float, said_s: float) -> None:
    packed = messages.pack_resync(messages.Resync(silent_s))
    assert messages.unpack_control(packed) == messages.Resync(said_s)


def test_a_resync_of_the_older_form_says_nothing_about_it() -> None:
    assert messages.unpack_control(b"resync") == messages.Resync(0)


def test_what_a_later_version_says_is_passed_over() -> None:
    assert messages.unpack_control(b"hello node-1") is None


@pytest.mark.parametrize(
    "data",
    [
        *(b"beat node seven 1", b"kick", b"kick ann", b"kick  x", b"kick ann x y", b"kick ann " + b"x" * 65),
        *(b"resync -1", b"resync soon", b"resync 1 2", b"resync " + b"9" * 13),
    ],
)
def test_a_broken_control_message_is_refused(data: bytes) -> None:
    with pytest.raises(messages.BusFormatError):
        messages.unpack_control(data)


def test_a_room_finds_its_channel_and_back() -> None:
    assert messages.room_of(messages.room_channel("user:a:b")) == "user:a:b"
