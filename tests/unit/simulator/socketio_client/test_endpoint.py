"""Endpoints and reconnect policies: pure decisions before a client connects."""

import random
import ssl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.socketio_client import Endpoint, ReconnectPolicy


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://127.0.0.1:8000", ("http", "127.0.0.1", 8000)),
        ("127.0.0.1:8000", ("http", "127.0.0.1", 8000)),
        ("ws://example.org", ("ws", "example.org", 80)),
        ("HTTP://Example.org/", ("http", "example.org", 80)),
        ("http://[::1]:81", ("http", "::1", 81)),
    ],
)
def test_urls_are_taken_apart(url: str, expected: tuple[str, str, int]) -> None:
    endpoint = Endpoint.parse(url)
    assert (endpoint.scheme, endpoint.host, endpoint.port) == expected


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("ftp://x", "http, https, ws or wss"),
        ("http://", "names no host"),
        ("http://u:p@x", "auth payload"),
        ("http://x/ws", "path is set apart"),
        ("http://x?token=1", "path is set apart"),
        ("http://x:99999", "port"),
        ("http://x:0", "port"),
    ],
)
def test_urls_that_cannot_be_meant_are_refused_with_a_reason(url: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        Endpoint.parse(url)


@pytest.mark.parametrize("path", ["/ws/socket.io/", "ws/socket.io", "/ws/socket.io"])
def test_paths_are_brought_into_one_form(path: str) -> None:
    assert Endpoint.parse("http://x", path).path == "/ws/socket.io/"


@pytest.mark.parametrize("path", ["", "/a b/", "/a?b", "/a\r\n"])
def test_paths_that_would_break_a_request_are_refused(path: str) -> None:
    with pytest.raises(ValueError, match=r"Engine\.IO path"):
        Endpoint.parse("http://x", path)


def test_the_target_of_a_new_session() -> None:
    assert Endpoint.parse("http://x").target("polling") == "/socket.io/?EIO=4&transport=polling"


def test_the_target_within_a_session() -> None:
    assert Endpoint.parse("http://x").target("websocket", "s1").endswith("&transport=websocket&sid=s1")


def test_an_ipv6_authority_has_brackets() -> None:
    assert Endpoint.parse("http://[::1]:81").authority == "[::1]:81"


@pytest.mark.parametrize("scheme", ["https", "wss"])
def test_secure_schemes_verify_by_default(scheme: str) -> None:
    endpoint = Endpoint.parse(f"{scheme}://x")
    assert endpoint.port == 443
    assert endpoint.tls is not None
    assert endpoint.tls.verify_mode is ssl.CERT_REQUIRED


def test_plain_schemes_have_no_tls() -> None:
    assert Endpoint.parse("ws://x", tls=ssl.create_default_context()).tls is None


@given(st.integers(0, 60), st.integers())
def test_default_delays_are_those_of_the_javascript_client(attempt: int, seed: int) -> None:
    delay_s = ReconnectPolicy.default().delay_for(attempt, random.Random(seed))
    assert delay_s is not None
    assert min(5.0, 0.5 * 2**attempt) <= delay_s <= min(5.0, 1.5 * 2**attempt)


def test_delays_are_reproducible_by_seed() -> None:
    policy = ReconnectPolicy.tuned()
    assert policy.delay_for(3, random.Random(7)) == policy.delay_for(3, random.Random(7))


def test_no_policy_never_comes_back() -> None:
    assert ReconnectPolicy.none().delay_for(0, random.Random(1)) is None


def test_attempts_are_counted() -> None:
    policy = ReconnectPolicy(attempts=2)
    assert [policy.delay_for(attempt, random.Random(1)) is None for attempt in range(3)] == [
        False,
        False,
        True,
    ]


@given(st.floats(0, 3600), st.integers())
def test_a_hint_of_the_server_is_a_least_wait(hint_s: float, seed: int) -> None:
    delay_s = ReconnectPolicy.default().delay_after_hint(hint_s, random.Random(seed))
    assert hint_s <= delay_s <= hint_s + 0.5 * max(hint_s, 1.0)


@pytest.mark.parametrize(
    "change", [{"delay_s": -1.0}, {"delay_max_s": 0.5}, {"jitter": 1.5}, {"attempts": -1}]
)
def test_policies_that_make_no_sense_are_refused(change: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="reconnect"):
        ReconnectPolicy(**change)  # type: ignore[arg-type]
