"""A flood of connects from one address, as a process: `python -m tests.security.connect_flood ...`.

Open model: connect number n is due at `start + n / rate`, whatever became of those before. Each asks for a
websocket and says no more; those that are let in are held until the end. Says "go", in the end one JSON line.
Written on bare sockets and one selector: a thousand connects must not cost a second of this machine's CPU.
"""

import argparse
import contextlib
import json
import os
import selectors
import socket
import sys
import time
from collections import Counter, deque

REQUEST = (
    "GET /ws/socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: {host}:{port}\r\nUpgrade: websocket\r\n"
    "Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
LINGER_S = 1.0


def flood(address: tuple[str, int], source: str, count: int, over_s: float) -> dict[str, object]:
    """Connect `count` times within `over_s` seconds; answers by status, and how late the last was begun."""
    request = REQUEST.format(host=address[0], port=address[1]).encode()
    outcomes: Counter[str] = Counter()
    held: deque[socket.socket] = deque()
    begun = late_ms = 0
    start_s = time.monotonic()
    with selectors.DefaultSelector() as selector:
        while time.monotonic() < start_s + over_s + LINGER_S:
            elapsed_s = time.monotonic() - start_s
            due = min(count, int(elapsed_s / over_s * count))
            while begun < due:
                late_ms = max(late_ms, int((elapsed_s - begun / count * over_s) * 1000))
                _begin(selector, address, source, outcomes)
                begun += 1
            for key, events in selector.select(0.001):
                _go_on(selector, key, events, request, outcomes, held)
        for key in [*selector.get_map().values()]:
            outcomes["no answer"] += 1
            key.fileobj.close()  # type: ignore[union-attr]
    for sock in held:
        sock.close()
    return {"connects": begun, "late_ms": late_ms, "outcomes": dict(outcomes)}


def _begin(
    selector: selectors.BaseSelector, address: tuple[str, int], source: str, outcomes: Counter[str]
) -> None:
    sock = socket.socket()
    sock.setblocking(False)
    try:
        sock.bind((source, 0))
        sock.connect_ex(address)
        selector.register(sock, selectors.EVENT_WRITE)
    except OSError:
        outcomes["no port"] += 1
        sock.close()


def _go_on(
    selector: selectors.BaseSelector,
    key: selectors.SelectorKey,
    events: int,
    request: bytes,
    outcomes: Counter[str],
    held: deque[socket.socket],
) -> None:
    sock = key.fileobj
    assert isinstance(sock, socket.socket)
    try:
        if events & selectors.EVENT_WRITE:
            sock.send(request)
            selector.modify(sock, selectors.EVENT_READ)
            return
        status = sock.recv(4096)[9:12].decode()
    except OSError:
        status = ""
    selector.unregister(sock)
    outcomes[status or "closed"] += 1
    if status == "101":
        held.append(sock)
    else:
        sock.close()


def main(arguments: list[str]) -> None:
    """Flood and report."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--host", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--source", required=True)
    parser.add_argument("--count", type=int, default=5_000)
    parser.add_argument("--over-s", type=float, default=2.0)
    asked = parser.parse_args(arguments)
    with contextlib.suppress(PermissionError):  # before the rest of the machine, behind who measures
        os.setpriority(os.PRIO_PROCESS, 0, -5)
    print("go", flush=True)
    print(json.dumps(flood((asked.host, asked.port), asked.source, asked.count, asked.over_s)), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
