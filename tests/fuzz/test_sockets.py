"""Frames and packets that hypothesis makes up, through real sockets: each is answered, ignored or ended.

What is judged is always the same: the node logs no traceback, and a socket that is opened next is served.
"""

import asyncio
import json
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from backend.app.contracts.events import CLIENT_EVENTS
from tests.fuzz.attack import send_to_socket
from tests.fuzz.conftest import tries
from tests.fuzz.inputs import frame
from tests.support.backend.node import Node

pytestmark = pytest.mark.timeout(900)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
NAMES = st.sampled_from(sorted(CLIENT_EVENTS)) | st.text(max_size=12)
EVENTS = st.builds(
    lambda ack, name, data: f"42{ack}{json.dumps([name, *data])}".encode(),
    st.sampled_from(["", "0", "7", "123456789"]),
    NAMES,
    st.lists(JSON, max_size=2),
)
PACKETS = EVENTS | st.binary(max_size=60) | st.text(max_size=40).map(lambda text: f"4{text}".encode())
FRAMES = st.builds(
    lambda payload, opcode, flags, masked: frame(payload, flags | opcode, masked=masked),
    PACKETS,
    st.integers(0, 15),
    st.sampled_from([0x80, 0x80, 0x80, 0x00, 0xC0, 0xF0]),
    st.sampled_from([True, True, True, False]),
)

quietly: Any = settings(max_examples=tries(60), suppress_health_check=list(HealthCheck), deadline=None)


def unharmed(node: Node, token: str) -> None:
    answer = asyncio.run(send_to_socket(node.address, token, [frame(b'427["ping",{}]')], b"437["))
    assert b"437[" in answer
    assert "Traceback" not in node.log()


@quietly
@given(packets=st.lists(PACKETS, min_size=1, max_size=6))
@example(packets=[b'42["sync",{"after_seq":9007199254740993}]', b'42["sync",{"after_seq":1e400}]'])
@example(packets=[b"42[" + b"1" * 5_000 + b"]"])
@example(packets=[b'42["ping",' + b"[" * 20_000])
def test_any_packets_of_a_user_harm_nobody(fuzzed_node: Node, token: str, packets: list[bytes]) -> None:
    asyncio.run(send_to_socket(fuzzed_node.address, token, [frame(packet) for packet in packets]))
    unharmed(fuzzed_node, token)


@quietly
@given(packets=st.lists(PACKETS, min_size=1, max_size=6))
def test_any_packets_of_a_stranger_harm_nobody(fuzzed_node: Node, token: str, packets: list[bytes]) -> None:
    heard = asyncio.run(send_to_socket(fuzzed_node.address, None, [frame(packet) for packet in packets]))
    assert b'"user_id"' not in heard
    unharmed(fuzzed_node, token)


@quietly
@given(frames=st.lists(FRAMES, min_size=1, max_size=6), cut=st.integers(0, 40))
def test_any_frames_cut_anywhere_harm_nobody(
    fuzzed_node: Node, token: str, frames: list[bytes], cut: int
) -> None:
    stream = b"".join(frames)
    pieces = [stream[:cut], stream[cut:]]
    asyncio.run(send_to_socket(fuzzed_node.address, token, pieces))
    unharmed(fuzzed_node, token)


@quietly
@given(data=JSON)
@example(data={"token": {"$ne": None}})
@example(data={"token": "x" * 5_000})
@example(data={"last_seq": -1})
def test_any_connect_payload_harms_nobody(fuzzed_node: Node, token: str, data: Any) -> None:
    packet = b"40" + json.dumps(data).encode()
    heard = asyncio.run(send_to_socket(fuzzed_node.address, None, [frame(packet)]))
    assert b'"user_id"' not in heard
    unharmed(fuzzed_node, token)
