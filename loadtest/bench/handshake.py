"""The client's side of the wire, as little of it as a counting client needs. Pure.

Source: RFC 6455 sections 4 and 5; Engine.IO protocol 4; Socket.IO protocol 5.
"""

import struct

from .workload import SOCKET_PATH

ENGINE_PONG = b"\x81\x81\x00\x00\x00\x003"
"""A whole masked frame; an all-zero mask is legal and leaves the payload as it is."""
TEXT = 0x81
KEY = "dGhlIHNhbXBsZSBub25jZQ=="


def upgrade_request(host: str, port: int) -> bytes:
    """The HTTP request that opens the websocket."""
    return (
        f"GET {SOCKET_PATH}?EIO=4&transport=websocket HTTP/1.1\r\nHost: {host}:{port}\r\n"
        f"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: {KEY}\r\n"
        "Sec-WebSocket-Version: 13\r\nUser-Agent: vouchstorm-bench\r\n\r\n"
    ).encode()


def text_frame(payload: bytes) -> bytes:
    """One masked text frame; the mask is zero."""
    size = len(payload)
    if size < 126:
        head = bytes((TEXT, 0x80 | size))
    elif size < 65_536:
        head = struct.pack("!BBH", TEXT, 0x80 | 126, size)
    else:
        raise ValueError("a handshake is never this large")
    return head + b"\x00\x00\x00\x00" + payload


def connect_packet(token: str) -> bytes:
    """Socket.IO CONNECT with the token in its auth payload, framed."""
    return text_frame(b'40{"token":"' + token.encode() + b'"}')


def split_frames(data: bytes) -> tuple[list[bytes], bytes]:
    """(payloads of whole text frames, the rest). Raises ValueError on anything but text frames."""
    payloads = []
    position, end = 0, len(data)
    while end - position >= 2:
        size = data[position + 1]
        start = position + 2
        if size == 126:
            if end - position < 4:
                break
            size = (data[position + 2] << 8) | data[position + 3]
            start = position + 4
        elif size == 127:
            raise ValueError("no server of the benchmark sends this much")
        if end < start + size:
            break
        if data[position] != TEXT:
            raise ValueError(f"unexpected frame {data[position]:#x}")
        payloads.append(data[start : start + size])
        position = start + size
    return payloads, data[position:]
