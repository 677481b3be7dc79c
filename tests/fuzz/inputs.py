"""Malformed inputs, as many as wanted, the same for the same seed: HTTP requests, frames, packets. Pure."""

import json
import random
import struct
from collections.abc import Callable

MASK = b"\x00\x00\x00\x00"
JUNK = [
    "\x00",
    "\ud7ff",
    "\U0001f4a9",
    "'",
    '"',
    "\\",
    "%00",
    "../",
    "{{7*7}}",
    "$ne",
    "<script>",
    "\u202e",
    " ",
]
WORDS = [
    "connect", "disconnect", "authenticate", "ping", "get_status", "watch_claim", "unwatch_claim",
    "sync", "reauth", "*", "message", "__proto__", "new_notification", "claim_id", "token", "after_seq",
    "limit", "last_seq", "live",
]  # fmt: skip
PATHS = [
    "/", "/api/claims", "/api/claims/x", "/api/claims/x/validations", "/api/auth/login",
    "/api/auth/register",
    "/api/auth/me", "/api/notifications", "/api/notifications/x/read",
    "/api/notifications/read-all", "/api/users/x",
    "/api/leaderboard", "/app/", "/app/x", "/docs", "/healthz", "/ws/socket.io/", "/ws/socket.io/?EIO=4",
    "/wsx",
]  # fmt: skip
POSTS = [path for path in PATHS if path.startswith(("/api/auth", "/api/claims", "/api/notif"))]


def text(rng: random.Random, longest: int = 40) -> str:
    """Some text, more often nasty than not."""
    kind = rng.randrange(6)
    if kind == 0:
        return rng.choice(WORDS)
    if kind == 1:
        return rng.choice(JUNK) * rng.randrange(1, longest)
    if kind == 2:
        return "".join(chr(rng.randrange(32, 127)) for _ in range(rng.randrange(longest)))
    if kind == 3:
        return "".join(chr(rng.randrange(1, 0xD7FF)) for _ in range(rng.randrange(longest)))
    if kind == 4:
        return str(rng.choice([-1, 0, 1, 2**31, 2**53, 2**63, 10**30, 1e308, "NaN", "Infinity", ""]))
    return rng.choice(PATHS)


def value(rng: random.Random, depth: int = 3) -> object:
    """Some JSON value."""
    kind = rng.randrange(8 if depth else 5)
    if kind == 0:
        return text(rng)
    if kind == 1:
        return rng.choice([-1, 0, 1, 2**31, 2**53, 2**63, -(2**63), 10**25])
    if kind == 2:
        return rng.choice([None, True, False, 0.5, -0.0, 1e308])
    if kind in (3, 4):
        return rng.choice(WORDS)
    if kind in (5, 6):
        return {rng.choice([*WORDS, text(rng)]): value(rng, depth - 1) for _ in range(rng.randrange(4))}
    return [value(rng, depth - 1) for _ in range(rng.randrange(4))]


def spoiled(rng: random.Random, data: bytes) -> bytes:
    """The same bytes with something wrong: cut, doubled, swapped, overwritten; sometimes nothing."""
    for _ in range(rng.randrange(3)):
        if not data:
            break
        at = rng.randrange(len(data))
        kind = rng.randrange(5)
        if kind == 0:
            data = data[:at]
        elif kind == 1:
            data = data[:at] + bytes([rng.randrange(256)]) + data[at + 1 :]
        elif kind == 2:
            data = data[:at] + data[at:] * 2
        elif kind == 3:
            data = data[:at] + rng.randbytes(rng.randrange(1, 9)) + data[at:]
        else:
            data = data[at:]
    return data


# ---------------------------------------------------------------- HTTP


def http_request(rng: random.Random, token: str | None = None) -> bytes:
    """One request, broken in its line, its headers, its body or its promises."""
    makers = (
        *[_wrong_json] * 6,
        *[_wrong_query] * 2,
        _wrong_body_length,
        _wrong_chunks,
        _wrong_head,
        _wrong_line,
        _noise,
    )
    request = rng.choice(makers)(rng)
    if token is not None and rng.random() < 0.5:
        request = request.replace(b"\r\n", f"\r\nAuthorization: Bearer {token}\r\n".encode(), 1)
    return request if rng.random() < 0.9 else spoiled(rng, request)


def _request(method: str, path: str, headers: dict[str, str], body: bytes = b"") -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost", *(f"{k}: {v}" for k, v in headers.items())]
    return "\r\n".join(lines).encode("utf-8", "surrogatepass") + b"\r\n\r\n" + body


def _target(rng: random.Random) -> str:
    path = rng.choice(PATHS)
    query = "&".join(f"{rng.choice(WORDS)}={rng.randrange(-5, 10**12)}" for _ in range(rng.randrange(3)))
    nasty = rng.choice(["", "", "%00", "%ff", "%2e%2e/", "//", ";x", "%", "é", "\\", "#"])
    joint = "&" if "?" in path else "?"
    return path + nasty + (joint + query if query else "")


def _wrong_json(rng: random.Random) -> bytes:
    bodies: list[bytes] = [
        json.dumps(value(rng)).encode("utf-8", "surrogatepass"),
        b"[" * rng.randrange(1, 30_000),
        b'{"a":' * rng.randrange(1, 5_000),
        spoiled(rng, b'{"username":"somebody","password":"a password of some length"}'),
        rng.randbytes(rng.randrange(200)),
        b'{"title":"\xff\xfe"}',
        b'{"title":"' + b"x" * rng.choice([199, 201, 70_000]) + b'"}',
        b"9" * rng.randrange(1, 10_000),
    ]
    body = rng.choice(bodies)
    kind = rng.choice(["application/json", "application/json", "text/plain", "multipart/form-data", "x"])
    headers = {"Content-Type": kind, "Content-Length": str(len(body))}
    method = rng.choice([*["POST"] * 8, "GET", "PUT", "DELETE"])
    target = _target(rng) if rng.random() < 0.3 else rng.choice(POSTS)
    return _request(method, target, headers, body)


def _wrong_query(rng: random.Random) -> bytes:
    names = ["limit", "cursor", "status", "owner_id", "after_seq", "before_seq", "unread", "limit"]
    values = [
        "-1", "0", "1e3", "9" * 30, "%00", "%ff", "true", "", "x" * 600, "1.5", "null", "..", "%F0%9F%92%A9",
    ]  # fmt: skip
    query = "&".join(f"{rng.choice(names)}={rng.choice(values)}" for _ in range(rng.randrange(1, 4)))
    return _request("GET", f"{rng.choice(PATHS[1:12])}?{query}", {})


def _wrong_body_length(rng: random.Random) -> bytes:
    length = rng.choice(
        ["-1", "+5", "1e3", "99999999999999999999", "0x10", "", "5, 6", str(rng.randrange(9))]
    )
    return _request("POST", _target(rng), {"Content-Length": length}, b"{}")


def _wrong_chunks(rng: random.Random) -> bytes:
    chunk = rng.choice(
        [b"zz\r\n", b"-1\r\n", b"ffffffffffffffff\r\n", b"5\r\nab\r\n0\r\n\r\n", b"2;x=\r\n{}\r\n0\r\n\r\n"]
    )
    headers = {"Transfer-Encoding": rng.choice(["chunked", "chunked, chunked", "gzip, chunked", "identity"])}
    return _request("POST", _target(rng), headers, chunk)


def _wrong_head(rng: random.Random) -> bytes:
    names = [
        "Authorization", "Cookie", "X-Request-ID", "Idempotency-Key", "Range", "Origin", "Upgrade", "Expect",
        "Connection", "X-Forwarded-For", "Host", "Accept-Encoding", "If-None-Match", "Content-Type",
    ]  # fmt: skip
    headers = {rng.choice(names): text(rng, 200).replace("\n", "") for _ in range(rng.randrange(1, 6))}
    if rng.random() < 0.1:
        headers |= {f"X-{number}": "x" * 100 for number in range(200)}
    if rng.random() < 0.2:
        headers["Authorization"] = "Bearer " + rng.choice(["", ".", "..", "a.b.c", "e30.e30.", "x" * 9_000])
    return _request(rng.choice(["GET", "POST", "HEAD", "OPTIONS"]), _target(rng), headers)


def _wrong_line(rng: random.Random) -> bytes:
    method = rng.choice(["GET", "get", "", "TRACE", "CONNECT", "PRI", "X" * 500, "G\x00T", "é"])
    version = rng.choice(["HTTP/1.1", "HTTP/1.0", "HTTP/2.0", "HTTP/9", "", "HTCPCP/1.0"])
    target = rng.choice([_target(rng), "/" + "a" * 70_000, "*", "http://x/", text(rng)])
    return f"{method} {target} {version}\r\nHost: x\r\n\r\n".encode("utf-8", "surrogatepass")


def _noise(rng: random.Random) -> bytes:
    return rng.randbytes(rng.randrange(1, 2_000))


# ---------------------------------------------------------------- frames and packets


def frame(payload: bytes, first: int = 0x81, *, masked: bool = True, size: int | None = None) -> bytes:
    """A frame that may lie: `first` is its whole first byte, `size` what it says of its length."""
    size = len(payload) if size is None else size
    bit = 0x80 if masked else 0
    if size < 126:
        head = struct.pack("!BB", first, bit | size)
    elif size < 65_536:
        head = struct.pack("!BBH", first, bit | 126, size)
    else:
        head = struct.pack("!BBQ", first, bit | 127, size)
    return head + (MASK if masked else b"") + payload


def socket_input(rng: random.Random) -> bytes:
    """One thing that a websocket client should not send, as bytes on the wire."""
    kind = rng.randrange(10)
    if kind < 6:
        return frame(packet(rng))
    if kind == 6:
        return frame(packet(rng), rng.randrange(256), masked=rng.random() < 0.9)
    if kind == 7:
        return frame(b"x" * rng.randrange(20), size=rng.choice([126, 65_537, 2**31, 2**62]))
    if kind == 8:
        return frame(rng.choice([b"\x03", b"\x03\xe8", b"\xff\xff", b"\x03\xe8\xff", b"x" * 126]), 0x88)
    return spoiled(rng, frame(packet(rng)))


def packet(rng: random.Random) -> bytes:
    """An Engine.IO packet with something wrong in it."""
    makers: tuple[Callable[[random.Random], str], ...] = (_event, _event, _odd_packet, _connect, _deep)
    made = rng.choice(makers)(rng).encode("utf-8", "surrogatepass")
    return made if rng.random() < 0.6 else spoiled(rng, made)


def _event(rng: random.Random) -> str:
    number = rng.choice(["", "0", "7", "-1", "9" * rng.randrange(1, 120)])
    arguments = [rng.choice([rng.choice(WORDS), value(rng)]), *(value(rng) for _ in range(rng.randrange(3)))]
    return f"42{number}{json.dumps(arguments)}"


def _odd_packet(rng: random.Random) -> str:
    kind = rng.choice(
        ["4", "40", "41", "43", "44", "45", "46", "47", "5", "6", "2probe", "3", "0", "1x", "9", ""]
    )
    return kind + rng.choice(["", "/admin,", "/,", "1-", "99999999999-", "[]", "{}", text(rng)])


def _connect(rng: random.Random) -> str:
    return "40" + rng.choice(["", "/x,"]) + json.dumps(value(rng))


def _deep(rng: random.Random) -> str:
    depth = rng.randrange(1, 5_000)
    return '42["sync",' + "[" * depth + "]" * rng.choice([depth, 0])
