"""The head of a websocket opening, and the environment that is made of it: what the libraries would make."""

import base64
import hashlib
from typing import Any

import pytest
from engineio.async_drivers.asgi import translate_request
from hypothesis import given
from hypothesis import strategies as st

from backend.app.realtime.http_upgrade import environ_of, read_opening

URL = b"/ws/socket.io/?EIO=4&transport=websocket"
KEY = b"dGhlIHNhbXBsZSBub25jZQ=="
HEADERS = [
    (b"host", b"example.org"),
    (b"upgrade", b"websocket"),
    (b"connection", b"Upgrade"),
    (b"sec-websocket-key", KEY),
    (b"sec-websocket-version", b"13"),
]


def without(name: bytes) -> list[tuple[bytes, bytes]]:
    return [header for header in HEADERS if header[0] != name]


def test_the_answer_is_that_of_the_standard() -> None:
    opening = read_opening("GET", URL, HEADERS)
    assert opening is not None
    assert b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n" in opening.answer


@pytest.mark.parametrize(
    "url",
    [
        b"/ws/socket.io/?transport=websocket&EIO=4",
        b"/ws/socket.io?EIO=4&transport=websocket",
        b"/ws/socket.io/?EIO=4&transport=websocket&t=Pabc123",
    ],
)
def test_the_order_and_a_cache_buster_do_not_matter(url: bytes) -> None:
    assert read_opening("GET", url, HEADERS) is not None


@pytest.mark.parametrize(
    "url",
    [
        b"/",
        b"/ws/socket.io/",
        b"/ws/socket.io/x?EIO=4&transport=websocket",
        b"/other/ws/socket.io/?EIO=4&transport=websocket",
        b"/ws/socket.io/?EIO=3&transport=websocket",
        b"/ws/socket.io/?EIO=4&transport=polling",
        b"/ws/socket.io/?EIO=4&transport=websocket&sid=abc",
        b"/ws/socket.io/?EIO=4&transport=websocket&EIO=4",
        b"/ws/socket.io/?EIO=4&EIO=4",
        b"/ws/socket.io/?EIO=4&transport=websocket&j=1",
        b"/ws/socket.io/?EIO=4&transport=web%73ocket",
    ],
)
def test_everything_else_is_left_to_the_libraries(url: bytes) -> None:
    assert read_opening("GET", url, HEADERS) is None


@pytest.mark.parametrize("method", ["POST", "HEAD", "OPTIONS", "get", ""])
def test_other_methods_are_left_to_the_libraries(method: str) -> None:
    assert read_opening(method, URL, HEADERS) is None


@pytest.mark.parametrize("key", [b"", b"short", KEY[:-1], KEY + b"=", b"!" * 24, KEY[:-4] + b"AAAA"])
def test_a_key_that_is_none_is_left_to_the_libraries(key: bytes) -> None:
    headers = [*without(b"sec-websocket-key"), (b"sec-websocket-key", key)]
    assert read_opening("GET", URL, headers) is None


@pytest.mark.parametrize("version", [b"12", b"8", b"13, 8", b""])
def test_other_versions_are_left_to_the_libraries(version: bytes) -> None:
    headers = [*without(b"sec-websocket-version"), (b"sec-websocket-version", version)]
    assert read_opening("GET", URL, headers) is None


@pytest.mark.parametrize(
    "header",
    [
        (b"sec-websocket-protocol", b"chat"),
        (b"content-length", b"5"),
        (b"transfer-encoding", b"chunked"),
        (b"host", b"another"),
        (b"sec-websocket-key", KEY),
    ],
)
def test_what_is_said_twice_or_not_by_such_a_client_is_left_to_the_libraries(
    header: tuple[bytes, bytes],
) -> None:
    assert read_opening("GET", URL, [*HEADERS, header]) is None


def test_where_the_page_came_from_is_kept() -> None:
    opening = read_opening("GET", URL, [*HEADERS, (b"origin", b"http://example.org")])
    assert opening is not None
    assert opening.headers == {b"host": b"example.org", b"origin": b"http://example.org"}


def test_every_forwarded_for_is_kept_in_order() -> None:
    headers = [*HEADERS, (b"x-forwarded-for", b"1.1.1.1"), (b"x-forwarded-for", b"2.2.2.2")]
    opening = read_opening("GET", URL, headers)
    assert opening is not None
    assert opening.forwarded_for == [b"1.1.1.1", b"2.2.2.2"]


@given(st.binary(min_size=16, max_size=16))
def test_any_key_gets_its_own_answer(key: bytes) -> None:
    sent = base64.b64encode(key)
    opening = read_opening("GET", URL, [*without(b"sec-websocket-key"), (b"sec-websocket-key", sent)])
    assert opening is not None
    guid = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
    expected = hashlib.sha1(sent + guid, usedforsecurity=False).digest()
    assert b"Accept: " + base64.b64encode(expected) in opening.answer


@given(
    st.text(max_size=8),
    st.binary(max_size=80),
    st.lists(
        st.tuples(st.sampled_from([b"host", b"origin", b"sec-websocket-key", b"x"]), st.binary(max_size=30))
    ),
)
def test_no_head_is_too_odd(method: str, url: bytes, headers: list[tuple[bytes, bytes]]) -> None:
    read_opening(method, url, headers)


# ---------------------------------------------------------------- the environment


READ_BY_THE_LIBRARY = (
    "HTTP_CONNECTION",
    "HTTP_HOST",
    "HTTP_ORIGIN",
    "HTTP_UPGRADE",
    "HTTP_USER_AGENT",
    "HTTP_X_FORWARDED_HOST",
    "HTTP_X_FORWARDED_PROTO",
    "PATH_INFO",
    "QUERY_STRING",
    "REQUEST_METHOD",
    "asgi.receive",
    "asgi.scope",
    "asgi.send",
    "wsgi.url_scheme",
)


def a_scope(*headers: tuple[bytes, bytes], query: bytes = b"EIO=4&transport=websocket") -> dict[str, Any]:
    return {
        "type": "websocket",
        "path": "/ws/socket.io/",
        "query_string": query,
        "headers": [
            (b"host", b"a.example"),
            (b"connection", b"Upgrade"),
            (b"upgrade", b"websocket"),
            *headers,
        ],
    }


async def receive() -> dict[str, Any]:
    return {"type": "websocket.connect"}


async def send(event: dict[str, Any]) -> None:
    raise AssertionError(f"nothing is to be sent: {event}")


@pytest.mark.parametrize(
    "headers",
    [
        (),
        ((b"origin", b"https://a.example"), (b"user-agent", b"browser")),
        ((b"x-forwarded-proto", b"https"), (b"x-forwarded-host", b"b.example")),
        ((b"x-forwarded-host", b"b.example"), (b"x-forwarded-host", b"c.example")),
        ((b"Origin", b"https://a.example"), (b"accept-language", b"de")),
        ((b"origin", b"\xff\xfe"),),
    ],
)
async def test_what_the_library_reads_is_as_in_its_own_translation(headers: Any) -> None:
    scope = a_scope(*headers)
    ours = await environ_of(scope, receive, send)
    stock = await translate_request(scope, receive, send)
    assert {key: ours.get(key) for key in READ_BY_THE_LIBRARY} == {
        key: stock.get(key) for key in READ_BY_THE_LIBRARY
    }


async def test_a_query_that_is_no_text_is_empty() -> None:
    environ = await environ_of(a_scope(query=b"\xff"), receive, send)
    assert environ["QUERY_STRING"] == ""


async def test_no_header_that_nobody_reads_is_kept() -> None:
    environ = await environ_of(a_scope((b"authorization", b"secret")), receive, send)
    assert "secret" not in environ.values()


async def test_long_polling_goes_the_librarys_way() -> None:
    async def request() -> dict[str, Any]:
        return {"type": "http.request", "body": b"40", "more_body": False}

    environ = await environ_of(a_scope() | {"type": "http", "method": "POST"}, request, send)
    assert await environ["wsgi.input"].read(2) == b"40"


async def test_a_client_that_left_before_its_request_was_read_makes_a_request_without_a_query() -> None:
    async def left() -> dict[str, Any]:
        return {"type": "http.disconnect"}

    scope = {
        "type": "http",
        "method": "GET",
        "path": "/ws/socket.io/",
        "query_string": b"EIO=4",
        "headers": [],
    }
    environ = await environ_of(scope, left, None)
    assert (environ["REQUEST_METHOD"], environ["QUERY_STRING"]) == ("GET", "")
