"""The environment of a websocket request: what the library reads, and nothing for it to choke on."""

from typing import Any

import pytest
from engineio.async_drivers.asgi import translate_request

from backend.app.realtime.http_upgrade import environ_of

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
