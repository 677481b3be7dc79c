"""The parser of client frames: however the bytes are cut, the messages are the same; garbage is refused."""

import itertools
import struct
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backend.app.realtime.websocket import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    FrameError,
    FrameParser,
)

LIMIT = 70_000
Messages = list[tuple[int, bytes]]


def client_frame(
    payload: bytes,
    opcode: int = TEXT,
    *,
    final: bool = True,
    mask: bytes = b"\1\2\3\4",
    bits: int = 0,
) -> bytes:
    first, size = (0x80 if final else 0) | bits | opcode, len(payload)
    if size < 126:
        head = struct.pack("!BB", first, 0x80 | size)
    elif size < 65_536:
        head = struct.pack("!BBH", first, 0x80 | 126, size)
    else:
        head = struct.pack("!BBQ", first, 0x80 | 127, size)
    return head + mask + bytes(byte ^ mask[index % 4] for index, byte in enumerate(payload))


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


def test_a_message_above_the_limit_is_too_big() -> None:
    assert refusal(client_frame(b"x" * (LIMIT + 1))) == 1009


def test_too_big_is_known_from_the_head_alone() -> None:
    assert refusal(b"\x81\xff" + (2**40).to_bytes(8, "big")) == 1009


def test_fragments_together_above_the_limit_are_too_big() -> None:
    half = client_frame(b"x" * 60, TEXT, final=False), client_frame(b"x" * 60, CONTINUATION)
    assert refusal(*half, limit=100) == 1009


def test_endless_empty_fragments_are_too_big() -> None:
    first, more = client_frame(b"", TEXT, final=False), client_frame(b"", CONTINUATION, final=False)
    assert refusal(first, more * 2_000) == 1009


def test_a_frame_without_mask_breaks_the_protocol() -> None:
    assert refusal(b"\x81\x05hello") == 1002


@pytest.mark.parametrize("bits", [0x10, 0x20, 0x40])
def test_reserved_bits_break_the_protocol(bits: int) -> None:
    assert refusal(client_frame(b"x", bits=bits)) == 1002


@pytest.mark.parametrize("opcode", [3, 4, 5, 6, 7, 11, 12, 13, 14, 15])
def test_unknown_opcodes_break_the_protocol(opcode: int) -> None:
    assert refusal(client_frame(b"x", opcode)) == 1002


@pytest.mark.parametrize("opcode", [PING, PONG, CLOSE])
def test_a_fragmented_control_frame_breaks_the_protocol(opcode: int) -> None:
    assert refusal(client_frame(b"x", opcode, final=False)) == 1002


def test_a_long_control_frame_breaks_the_protocol() -> None:
    assert refusal(client_frame(b"x" * 126, PING)) == 1002


def test_a_continuation_of_nothing_breaks_the_protocol() -> None:
    assert refusal(client_frame(b"x", CONTINUATION)) == 1002


def test_a_new_message_inside_a_fragmented_one_breaks_the_protocol() -> None:
    assert refusal(client_frame(b"x", TEXT, final=False), client_frame(b"y", TEXT)) == 1002
