"""What was read for one client is the same for the next, and nothing else is ever remembered."""

from hypothesis import given
from hypothesis import strategies as st

from simulator.socketio_client.codec.websocket import (
    FIN,
    MAX_READ_BYTES,
    MAX_READS,
    PING,
    TEXT,
    FrameReader,
    ReadCache,
)


def frame(payload: bytes, opcode: int = TEXT, fin: int = FIN) -> bytes:
    """As a server sends it."""
    size = len(payload)
    head = bytes((fin | opcode, size)) if size < 126 else bytes((fin | opcode, 126)) + size.to_bytes(2, "big")
    return head + payload


def read_all(reader: FrameReader, pieces: list[bytes]) -> list[tuple[int, bytes]]:
    return [message for piece in pieces for message in reader.feed(piece)]


@given(st.lists(st.lists(st.binary(max_size=200), max_size=4), max_size=8), st.integers(1, 60))
def test_readers_with_and_without_memory_agree(reads: list[list[bytes]], cut: int) -> None:
    read_cache = ReadCache()
    whole = [b"".join(frame(payload) for payload in payloads) for payloads in reads]
    stream = b"".join(whole)
    pieces = [stream[start : start + cut] for start in range(0, len(stream), cut)]
    expected = read_all(FrameReader(), whole)
    for given_pieces in (whole, whole, pieces, whole, pieces):
        assert read_all(FrameReader(read_cache=read_cache), given_pieces) == expected


def test_a_read_inside_a_fragmented_message_is_not_looked_up() -> None:
    read_cache = ReadCache()
    inner = frame(b"ping!", PING)
    read_all(FrameReader(read_cache=read_cache), [frame(b"ping!"), inner])
    reader = FrameReader(read_cache=read_cache)
    pieces = [frame(b"one ", fin=0), inner, frame(b"two", opcode=0)]
    assert read_all(reader, pieces) == [(PING, b"ping!"), (TEXT, b"one two")]


def test_half_a_frame_is_not_remembered() -> None:
    read_cache = ReadCache()
    read_all(FrameReader(read_cache=read_cache), [frame(b"whole") + frame(b"half")[:3]])
    assert read_cache.frames == {}


def test_long_reads_are_not_remembered() -> None:
    read_cache = ReadCache()
    read_all(FrameReader(read_cache=read_cache), [frame(bytes(MAX_READ_BYTES))])
    assert read_cache.frames == {}


def test_memory_is_bounded() -> None:
    read_cache = ReadCache()
    reader = FrameReader(read_cache=read_cache)
    for number in range(MAX_READS + 5):
        read_all(reader, [frame(b"%d" % number)])
        read_cache.note_event(b"%d" % number, ("name", b""))
    assert (len(read_cache.frames), len(read_cache.events)) == (5, 5)
