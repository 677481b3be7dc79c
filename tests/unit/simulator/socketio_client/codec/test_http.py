"""HTTP/1.1 responses: read in any pieces, refused within bounds."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.socketio_client.codec.http import (
    MAX_HEAD_BYTES,
    Response,
    ResponseReader,
    decode_head,
    encode_head,
    encode_headers,
)
from simulator.socketio_client.errors import ProtocolError


def pieces(stream: bytes, places: list[int]) -> list[bytes]:
    bounds = [0, *sorted(place % (len(stream) + 1) for place in places), len(stream)]
    return [stream[start:end] for start, end in itertools.pairwise(bounds)]


def read(chunks: list[bytes], max_body_bytes: int = 1000) -> tuple[Response | None, bytes]:
    """The response in the chunks, and the bytes behind it."""
    reader = ResponseReader(max_body_bytes)
    for index, chunk in enumerate(chunks):
        response = reader.feed(chunk)
        if response is not None:
            return response, reader.rest + b"".join(chunks[index + 1 :])
    return reader.end(), reader.rest


def chunked(body: bytes, sizes: list[int]) -> bytes:
    stream, start = b"", 0
    for size in sizes:
        part = body[start : start + size]
        start += size
        if part:
            stream += b"%x;ext=1\r\n%b\r\n" % (len(part), part)
    rest = body[start:]
    stream += b"%X\r\n%b\r\n" % (len(rest), rest) if rest else b""
    return stream + b"0\r\nTrailer: x\r\n\r\n"


cuts = st.lists(st.integers(0, 2000), max_size=8)


@given(st.binary(max_size=300), cuts, st.binary(max_size=10))
def test_a_response_with_a_length_is_read_in_any_pieces(body: bytes, places: list[int], after: bytes) -> None:
    stream = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body + after
    response, rest = read(pieces(stream, places))
    assert response is not None
    assert (response.status, response.body, rest) == (200, body, after)


@given(st.binary(max_size=300), st.lists(st.integers(1, 100), max_size=4), cuts, st.binary(max_size=10))
def test_a_chunked_response_is_read_in_any_pieces(
    body: bytes, sizes: list[int], places: list[int], after: bytes
) -> None:
    stream = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(body, sizes) + after
    response, rest = read(pieces(stream, places))
    assert response is not None
    assert (response.body, rest) == (body, after)


@given(st.binary(max_size=100), cuts)
def test_a_response_without_a_length_ends_with_the_connection(body: bytes, places: list[int]) -> None:
    response, _ = read(pieces(b"HTTP/1.1 200 OK\r\n\r\n" + body, places))
    assert response is not None
    assert (response.body, response.keep_alive) == (body, False)


@given(st.binary(max_size=200), cuts)
def test_garbage_raises_only_protocol_errors(stream: bytes, places: list[int]) -> None:
    for start in (b"", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"):
        try:
            read(pieces(start + stream, places), 100)
        except ProtocolError:
            continue


def test_switching_protocols_leaves_the_frames_behind_it() -> None:
    response, rest = read([b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n\x81\x01a"])
    assert response is not None
    assert (response.status, rest) == (101, b"\x81\x01a")


def test_an_interim_response_is_passed_over() -> None:
    stream = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n"
    response, _ = read([stream])
    assert response is not None
    assert response.status == 204


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/2 200 OK",
        b"HTTP/1.1 abc",
        b"HTTP/1.1 200 OK\r\nno colon",
        b"HTTP/1.1 200 OK\r\n : x",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1001",
        b"HTTP/1.1 200 OK\r\nContent-Length: " + b"9" * 5000,
    ],
)
def test_heads_that_cannot_be_kept_are_refused(head: bytes) -> None:
    with pytest.raises(ProtocolError):
        read([head + b"\r\n\r\n"])


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
ENDLESS = {
    "head": b"HTTP/1.1 200 OK\r\nX: " + b"a" * MAX_HEAD_BYTES,
    "chunked body": CHUNKED + (b"64\r\n" + bytes(100) + b"\r\n") * 11,
    "body": b"HTTP/1.1 200 OK\r\n\r\n" + bytes(1001),
}


@pytest.mark.parametrize("stream", ENDLESS.values(), ids=ENDLESS)
def test_what_does_not_end_is_refused(stream: bytes) -> None:
    with pytest.raises(ProtocolError):
        read([stream])


def test_a_broken_chunked_body_is_not_ended_by_the_connection() -> None:
    assert read([b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab"])[0] is None


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("30", 30.0), ("0", 0.0), ("99999999", 3600.0), ("soon", None), ("-1", None), ("", None)],
)
def test_retry_after_in_seconds(value: str, seconds: float | None) -> None:
    assert decode_head(f"HTTP/1.1 503 Busy\r\nRetry-After: {value}".encode()).retry_after_s == seconds


def test_cookies_are_collected() -> None:
    head = b"HTTP/1.1 200 OK\r\nSet-Cookie: lb=a1; Path=/; HttpOnly\r\nset-cookie: io=x=y"
    assert decode_head(head).cookies == {"lb": "a1", "io": "x=y"}


def test_a_cookie_of_no_age_is_to_be_forgotten() -> None:
    assert decode_head(b"HTTP/1.1 200 OK\r\nSet-Cookie: lb=a1; max-age=0").cookies == {"lb": None}


@pytest.mark.parametrize(
    ("head", "alive"),
    [
        (b"HTTP/1.1 200 OK", True),
        (b"HTTP/1.1 200 OK\r\nConnection: close", False),
        (b"HTTP/1.0 200 OK", False),
        (b"HTTP/1.0 200 OK\r\nConnection: Keep-Alive", True),
    ],
)
def test_keep_alive(head: bytes, alive: bool) -> None:
    assert decode_head(head).keep_alive is alive


def test_a_request_head() -> None:
    head = encode_head("GET", "/x", {"Host": "h:1"}, encode_headers({"X-A": "b"}))
    assert head == b"GET /x HTTP/1.1\r\nHost: h:1\r\nX-A: b\r\n\r\n"


@pytest.mark.parametrize(
    "headers", [{"a\r\nb": "c"}, {"a": "b\r\nc"}, {"": "x"}, {"a:": "b"}, {"a": "\u20ac"}]
)
def test_headers_that_would_break_the_request_are_refused(headers: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="header"):
        encode_headers(headers)
