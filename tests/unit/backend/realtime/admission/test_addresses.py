"""Whose connection it is: behind nothing, behind a proxy, behind a client that lies."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.app.realtime.admission import UNKNOWN, Proxies

PROXIES = Proxies("127.0.0.1, ::1, 10.0.0.0/8")


def test_without_a_proxy_it_is_the_peer() -> None:
    assert PROXIES.client("203.0.113.7", ()) == "203.0.113.7"


def test_a_stranger_is_not_believed() -> None:
    assert PROXIES.client("203.0.113.7", [b"198.51.100.1"]) == "203.0.113.7"


def test_a_trusted_proxy_is_believed() -> None:
    assert PROXIES.client("10.1.2.3", [b"198.51.100.1"]) == "198.51.100.1"


def test_what_the_client_wrote_itself_does_not_count() -> None:
    assert PROXIES.client("127.0.0.1", [b"1.2.3.4, 198.51.100.1, 10.9.9.9"]) == "198.51.100.1"


def test_several_headers_are_one_list() -> None:
    assert PROXIES.client("127.0.0.1", [b"1.2.3.4", b"198.51.100.1"]) == "198.51.100.1"


def test_of_trusted_hops_only_the_first_is_the_client() -> None:
    assert PROXIES.client("127.0.0.1", [b"10.0.0.5, 10.0.0.6"]) == "10.0.0.5"


@pytest.mark.parametrize("hop", [b"", b"unknown", b"not an address", b"999.1.1.1", b"\xff\xfe", b"1.2.3"])
def test_beyond_what_is_no_address_nothing_is_believed(hop: bytes) -> None:
    assert PROXIES.client("127.0.0.1", [b"198.51.100.1, " + hop]) == "127.0.0.1"


@pytest.mark.parametrize(
    ("hop", "address"),
    [
        (b"198.51.100.1:4711", "198.51.100.1"),
        (b"[2001:db8::1]:4711", "2001:db8::/64"),
        (b"[2001:db8::1]", "2001:db8::/64"),
        (b"2001:db8::1", "2001:db8::/64"),
        (b"::ffff:198.51.100.1", "198.51.100.1"),
    ],
)
def test_ports_and_brackets_are_left_out(hop: bytes, address: str) -> None:
    assert PROXIES.client("127.0.0.1", [hop]) == address


def test_one_ipv6_site_is_one_address() -> None:
    assert PROXIES.client("2001:db8::1", ()) == PROXIES.client("2001:db8::ffff", ())


def test_two_ipv6_sites_are_two() -> None:
    assert PROXIES.client("2001:db8:0:1::1", ()) != PROXIES.client("2001:db8:0:2::1", ())


def test_a_peer_without_an_address_has_a_name() -> None:
    assert PROXIES.client(None, [b"198.51.100.1"]) == UNKNOWN


def test_a_star_believes_everybody() -> None:
    assert Proxies("*").client("203.0.113.7", [b"1.2.3.4, 198.51.100.1"]) == "1.2.3.4"


def test_without_trusted_proxies_nobody_is_believed() -> None:
    assert Proxies("").client("127.0.0.1", [b"1.2.3.4"]) == "127.0.0.1"


@given(st.lists(st.binary(max_size=40), max_size=4))
def test_no_header_is_too_odd(values: list[bytes]) -> None:
    assert PROXIES.client("127.0.0.1", values)
