"""The benchmark's own ends of the wire: frames, handshake, what counts as an event, the CPU clock."""

import os
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.bench.plan import EVENT_PREFIX, FIRST_NUMBER, packet
from loadtest.bench.process_stats import cpu_s, memory
from loadtest.bench.servers.frame_sender import server_frame
from loadtest.bench.sockets import connect_packet, split_frames, upgrade_request


def test_an_event_is_about_150_bytes() -> None:
    assert 130 <= len(server_frame(packet(FIRST_NUMBER))) <= 170


def test_every_event_has_the_same_length() -> None:
    assert len({len(packet(FIRST_NUMBER + number)) for number in (0, 9, 100, 5_000_000)}) == 1


def test_an_event_is_known_by_its_prefix() -> None:
    assert packet(FIRST_NUMBER).startswith(EVENT_PREFIX)


@given(payloads=st.lists(st.binary(max_size=300), max_size=8), data=st.data())
def test_frames_are_found_however_they_are_cut(payloads: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(server_frame(payload) for payload in payloads)
    cut = data.draw(st.integers(0, len(stream)))
    first, rest = split_frames(stream[:cut])
    second, rest = split_frames(rest + stream[cut:])
    assert (first + second, rest) == (payloads, b"")


def test_a_close_frame_is_not_taken_for_an_event() -> None:
    with pytest.raises(ValueError, match="unexpected frame"):
        split_frames(b"\x88\x02\x03\xe8")


def test_the_token_travels_in_the_connect_packet() -> None:
    assert b"a.b.c" in connect_packet("a.b.c")
    assert b"a.b.c" not in upgrade_request("127.0.0.1", 80)


def test_cpu_time_of_a_process_is_its_own_clock() -> None:
    before_s = time.process_time()
    outside_s = cpu_s(os.getpid())
    assert before_s <= outside_s <= time.process_time()


def test_memory_that_is_private_is_resident_too() -> None:
    reading = memory(os.getpid())
    assert 0 < reading.private_kib <= reading.rss_kib
