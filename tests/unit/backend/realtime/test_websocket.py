"""Frames to golden bytes and to another implementation's eyes; frames of clients, however they are cut."""

import itertools
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.client import ClientProtocol
from websockets.frames import Frame
from websockets.protocol import State
from websockets.uri import parse_uri

from backend.app.contracts.types import DeliveryClass
from backend.app.realtime.websocket import (
    BINARY,
    CLOSE,
    CONTINUATION,
    ENGINE_PING,
    PING,
    PONG,
    TEXT,
    FrameError,
    FrameParser,
    Message,
    close_frame,
    encode,
    frame,
)
from tests.support.backend.raw import client_frame


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


# ---------------------------------------------------------------- the parser of client frames


LIMIT = 70_000
Messages = list[tuple[int, bytes]]


@st.composite
def streams(draw: st.DrawFn) -> tuple[bytes, Messages]:
    """A valid stream and what it says: whole messages, fragmented ones, control frames in between."""
    stream, said = b"", []
    for _ in range(draw(st.integers(0, 6))):
        opcode = draw(st.sampled_from([TEXT, BINARY]))
        parts = draw(st.lists(st.one_of(st.binary(max_size=200), long_binary), min_size=1, max_size=4))
        for index, part in enumerate(parts):
            last = index == len(parts) - 1
            mask = draw(st.binary(min_size=4, max_size=4))
            stream += client_frame(part, CONTINUATION if index else opcode, final=last, mask=mask)
            if not last and draw(st.booleans()):
                control, payload = draw(st.sampled_from([PING, PONG, CLOSE])), draw(st.binary(max_size=125))
                stream += client_frame(payload, control)
                said.append((control, payload))
        said.append((opcode, b"".join(parts)))
    return stream, said


long_binary = st.sampled_from([125, 126, 127, 1_000]).map(bytes)


def cut(stream: bytes, at: list[int]) -> list[bytes]:
    edges = [0, *sorted(point % (len(stream) + 1) for point in at), len(stream)]
    return [stream[start:stop] for start, stop in itertools.pairwise(edges)]


@settings(max_examples=60)
@given(streams(), st.lists(st.integers(0, 10_000), max_size=20))
def test_any_cutting_gives_the_same_messages(case: tuple[bytes, Messages], at: list[int]) -> None:
    stream, said = case
    parser = FrameParser(LIMIT)
    assert [message for piece in cut(stream, at) for message in parser.feed(piece)] == said


@settings(max_examples=40)
@given(streams())
def test_byte_by_byte_gives_the_same_messages(case: tuple[bytes, Messages]) -> None:
    stream, said = case
    parser = FrameParser(LIMIT)
    assert [message for byte in stream for message in parser.feed(bytes([byte]))] == said


@given(st.lists(st.binary(max_size=300), max_size=10))
def test_garbage_gives_messages_or_a_frame_error(pieces: list[bytes]) -> None:
    for opcode, payload in understood(FrameParser(1_000), pieces):
        assert opcode in (TEXT, BINARY, CLOSE, PING, PONG)
        assert len(payload) <= 1_000


def understood(parser: FrameParser, pieces: list[bytes]) -> Messages:
    """The messages up to the first frame error; any other failure is raised."""
    said: Messages = []
    with suppress(FrameError):
        for piece in pieces:
            said += parser.feed(piece)
    return said


@settings(max_examples=60)
@given(streams(), st.integers(0, 10_000), st.integers(1, 255))
def test_a_flipped_byte_gives_messages_or_a_frame_error(
    case: tuple[bytes, Messages], where: int, flip: int
) -> None:
    stream = bytearray(case[0] or b"\x00")
    stream[where % len(stream)] ^= flip
    assert all(len(payload) <= LIMIT for _, payload in understood(FrameParser(LIMIT), [bytes(stream)]))


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65_535, 65_536, LIMIT])
def test_all_lengths_up_to_the_limit(size: int) -> None:
    assert FrameParser(LIMIT).feed(client_frame(b"x" * size)) == [(TEXT, b"x" * size)]


def refusal(*pieces: bytes, limit: int = LIMIT) -> int:
    """The close code that this stream earns."""
    parser = FrameParser(limit)
    with pytest.raises(FrameError) as caught:
        for piece in pieces:
            parser.feed(piece)
    return caught.value.code


NOT_LAST = client_frame(b"x", TEXT, final=False)
REFUSED: dict[str, tuple[int, tuple[bytes, ...]]] = {
    "a message above the limit": (1009, (client_frame(b"x" * (LIMIT + 1)),)),
    "too big by its head alone": (1009, (b"\x81\xff" + (2**40).to_bytes(8, "big"),)),
    "endless empty fragments": (
        1009,
        (client_frame(b"", TEXT, final=False), client_frame(b"", CONTINUATION, final=False) * 2_000),
    ),
    "a frame without mask": (1002, (b"\x81\x05hello",)),
    "a long control frame": (1002, (client_frame(b"x" * 126, PING),)),
    "a continuation of nothing": (1002, (client_frame(b"x", CONTINUATION),)),
    "a new message inside a fragmented one": (1002, (NOT_LAST, client_frame(b"y", TEXT))),
    **{f"reserved bits {bits:#x}": (1002, (client_frame(b"x", bits=bits),)) for bits in (0x10, 0x20, 0x40)},
    **{
        f"unknown opcode {opcode}": (1002, (client_frame(b"x", opcode),))
        for opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)
    },
    **{
        f"a fragmented control frame {opcode}": (1002, (client_frame(b"x", opcode, final=False),))
        for opcode in (PING, PONG, CLOSE)
    },
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_too_big_or_breaks_the_protocol_is_refused_with_its_code(what: str) -> None:
    code, pieces = REFUSED[what]
    assert refusal(*pieces) == code


def test_fragments_together_above_the_limit_are_too_big() -> None:
    half = client_frame(b"x" * 60, TEXT, final=False), client_frame(b"x" * 60, CONTINUATION)
    assert refusal(*half, limit=100) == 1009
