"""WebSocket framing: the same messages however the stream is cut; garbage is a ProtocolError at worst."""

import itertools
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.socketio_client.codec.websocket import (
    BINARY,
    CLOSE,
    CONTINUATION,
    FIN,
    MAX_READ_BYTES,
    MAX_READS,
    PING,
    PONG,
    TEXT,
    FrameReader,
    ReadCache,
    accept_for,
    decode_close,
    encode_close,
    encode_frame,
)
from simulator.socketio_client.errors import ProtocolError


def server_frame(head: int, payload: bytes) -> bytes:
    """A frame as a server sends it: not masked."""
    size = len(payload)
    if size < 126:
        return bytes((head, size)) + payload
    if size < 0x10000:
        return bytes((head, 126)) + size.to_bytes(2, "big") + payload
    return bytes((head, 127)) + size.to_bytes(8, "big") + payload


def read_all(
    chunks: Iterable[bytes], max_message_bytes: int = 1 << 20
) -> tuple[list[tuple[int, bytes]], str]:
    """The messages of a stream, and the error that ended it if there was one."""
    reader = FrameReader(max_message_bytes)
    messages: list[tuple[int, bytes]] = []
    try:
        for chunk in chunks:
            messages.extend(reader.feed(chunk))  # keeps what came ahead of an error
    except ProtocolError as error:
        return messages, str(error)
    return messages, ""


def cut(stream: bytes, places: list[int]) -> list[bytes]:
    """The stream in pieces, some of them empty perhaps."""
    bounds = [0, *sorted(place % (len(stream) + 1) for place in places), len(stream)]
    return [stream[start:end] for start, end in itertools.pairwise(bounds)]


payloads = st.one_of(st.binary(max_size=20), st.sampled_from([125, 126, 127, 65535, 65536]).map(bytes))
controls = st.tuples(st.sampled_from([PING, PONG, CLOSE]), st.binary(max_size=125))
data_messages = st.tuples(st.sampled_from([TEXT, BINARY]), st.lists(payloads, min_size=1, max_size=4))


@st.composite
def streams(draw: st.DrawFn) -> tuple[list[tuple[int, bytes]], bytes]:
    """Messages in the order in which they are complete, and the stream that carries them."""
    messages: list[tuple[int, bytes]] = []
    stream = b""
    for opcode, parts in draw(st.lists(data_messages, max_size=5)):
        for index, part in enumerate(parts):
            for control in draw(st.lists(controls, max_size=1)):
                messages.append(control)
                stream += server_frame(FIN | control[0], control[1])
            last = index == len(parts) - 1
            head = (opcode if index == 0 else CONTINUATION) | (FIN if last else 0)
            stream += server_frame(head, part)
        messages.append((opcode, b"".join(parts)))
    return messages, stream


@given(streams(), st.lists(st.integers(0, 1 << 20), max_size=12))
def test_any_cut_gives_the_same_messages(
    case: tuple[list[tuple[int, bytes]], bytes], places: list[int]
) -> None:
    messages, stream = case
    assert read_all(cut(stream, places)) == (messages, "")


@given(streams())
def test_byte_by_byte_gives_the_same_messages(case: tuple[list[tuple[int, bytes]], bytes]) -> None:
    messages, stream = case
    stream = stream[:4000]
    whole = read_all([stream])
    assert read_all([stream[index : index + 1] for index in range(len(stream))]) == whole
    assert whole[0] == messages[: len(whole[0])]


@given(st.binary(max_size=300), st.lists(st.integers(0, 300), max_size=12))
def test_garbage_raises_only_protocol_errors_wherever_it_is_cut(stream: bytes, places: list[int]) -> None:
    assert read_all(cut(stream, places), 100) == read_all([stream], 100)


@given(streams(), st.binary(min_size=1, max_size=40), st.lists(st.integers(0, 1 << 20), max_size=8))
def test_messages_ahead_of_garbage_are_delivered(
    case: tuple[list[tuple[int, bytes]], bytes], garbage: bytes, places: list[int]
) -> None:
    messages, stream = case
    found, _ = read_all(cut(stream + b"\xff" + garbage, places))
    assert found == messages


@pytest.mark.parametrize(
    ("stream", "sentence"),
    [
        (b"\x81\x85\x00\x00\x00\x00hello", "masked"),
        (b"\xc1\x01a", "reserved bits"),
        (b"\x83\x01a", "unknown WebSocket opcode 3"),
        (b"\x09\x00", "control frame"),
        (b"\x89\x7e\x00\x7e", "control frame"),
        (b"\x80\x01a", "continues nothing"),
        (b"\x01\x01a\x81\x01b", "inside a fragmented one"),
        (b"\x01\x01a\x02\x01b", "inside a fragmented one"),
        (b"\x81\x7f\xff\xff\xff\xff\xff\xff\xff\xff", "larger than"),
    ],
)
def test_breaches_are_named(stream: bytes, sentence: str) -> None:
    assert sentence in read_all([stream])[1]


def test_a_single_message_may_be_as_large_as_the_bound() -> None:
    assert read_all([server_frame(FIN | TEXT, bytes(200))], 200) == ([(TEXT, bytes(200))], "")


def test_a_message_beyond_the_bound_is_refused_before_it_has_come() -> None:
    assert "larger than 200" in read_all([server_frame(FIN | TEXT, bytes(201))[:4]], 200)[1]


def test_fragments_together_may_not_pass_the_bound() -> None:
    stream = server_frame(TEXT, bytes(150)) + server_frame(FIN, bytes(51))
    assert "larger than 200" in read_all([stream], 200)[1]


@given(st.sampled_from([TEXT, BINARY, PING]), st.sampled_from([0, 1, 125, 126, 65535, 65536]))
def test_client_frames_are_masked_with_a_key_that_changes_nothing(opcode: int, size: int) -> None:
    payload = bytes(index % 251 for index in range(size))
    frame = encode_frame(opcode, payload)
    assert frame[0] == FIN | opcode
    assert frame[1] & 0x80
    assert frame.endswith(b"\x00\x00\x00\x00" + payload)
    unmasked = bytes((frame[0], frame[1] & 0x7F)) + frame[2 : len(frame) - size - 4] + payload
    if opcode != PING or size <= 125:
        assert read_all([unmasked]) == ([(opcode, payload)], "")


def test_close_code_and_reason() -> None:
    assert decode_close(b"\x03\xf4shutting down") == (1012, "shutting down")


def test_close_without_a_code() -> None:
    assert decode_close(b"") == (1005, "")


def test_close_with_half_a_code_is_a_breach() -> None:
    with pytest.raises(ProtocolError):
        decode_close(b"\x03")


def test_close_frame_carries_its_code() -> None:
    assert encode_close(1000)[-2:] == b"\x03\xe8"


def test_accept_key_of_the_rfc() -> None:
    """Source: RFC 6455 section 1.3."""
    assert accept_for(b"dGhlIHNhbXBsZSBub25jZQ==") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


# -------------------------------------------------------------- what was read for another client


def read_with(reader: FrameReader, pieces: list[bytes]) -> list[tuple[int, bytes]]:
    return [message for piece in pieces for message in reader.feed(piece)]


@given(st.lists(st.lists(st.binary(max_size=200), max_size=4), max_size=8), st.integers(1, 60))
def test_readers_with_and_without_memory_agree(reads: list[list[bytes]], cut: int) -> None:
    read_cache = ReadCache()
    whole = [b"".join(server_frame(FIN | TEXT, payload) for payload in payloads) for payloads in reads]
    stream = b"".join(whole)
    pieces = [stream[start : start + cut] for start in range(0, len(stream), cut)]
    expected = read_with(FrameReader(), whole)
    for given_pieces in (whole, whole, pieces, whole, pieces):
        assert read_with(FrameReader(read_cache=read_cache), given_pieces) == expected


def test_a_read_inside_a_fragmented_message_is_not_looked_up() -> None:
    read_cache = ReadCache()
    inner = server_frame(FIN | PING, b"ping!")
    read_with(FrameReader(read_cache=read_cache), [server_frame(FIN | TEXT, b"ping!"), inner])
    reader = FrameReader(read_cache=read_cache)
    pieces = [server_frame(TEXT, b"one "), inner, server_frame(FIN | CONTINUATION, b"two")]
    assert read_with(reader, pieces) == [(PING, b"ping!"), (TEXT, b"one two")]


@pytest.mark.parametrize(
    "stream",
    [
        server_frame(FIN | TEXT, b"whole") + server_frame(FIN | TEXT, b"half")[:3],
        server_frame(FIN | TEXT, bytes(MAX_READ_BYTES)),
    ],
    ids=["half a frame", "a long read"],
)
def test_what_no_other_client_will_read_is_not_remembered(stream: bytes) -> None:
    read_cache = ReadCache()
    read_with(FrameReader(read_cache=read_cache), [stream])
    assert read_cache.frames == {}


def test_memory_is_bounded() -> None:
    read_cache = ReadCache()
    reader = FrameReader(read_cache=read_cache)
    for number in range(MAX_READS + 5):
        read_with(reader, [server_frame(FIN | TEXT, b"%d" % number)])
        read_cache.note_event(b"%d" % number, ("name", b""))
    assert (len(read_cache.frames), len(read_cache.events)) == (5, 5)
