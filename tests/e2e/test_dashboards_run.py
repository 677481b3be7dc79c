"""The dashboards on a real run, and the alerts when things are really broken."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from dashboards.check import main
from dashboards.prometheus_server import MissingPrometheusError, Prometheus, find_program
from loadtest.locust_command import LoadtestOptions, command
from tests.support.node import ROOT, Node
from tests.support.services import Valkey, running_valkey

DEADLINE_S = 40.0
FASTER = 20
"""How much faster time runs in the rules of these tests: an hour is three minutes."""


@pytest.fixture(autouse=True)
def _prometheus() -> None:
    try:
        find_program()
    except MissingPrometheusError as error:
        if os.environ.get("CI") == "true":
            pytest.fail(str(error))
        pytest.skip(str(error))


def test_every_panel_shows_something_of_a_real_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status = main(["--seconds", "8", "--pictures", str(tmp_path)])
    assert capsys.readouterr().out == ""
    assert status == 0
    assert "no data" not in (tmp_path / "overview.svg").read_text()


# -------------------------------------------------------------- alerts


def hasten(text: str) -> str:
    """Rules with all durations shortened; a second stays a second at least."""

    def shorter(found: re.Match[str]) -> str:
        seconds = int(found[2]) * {"s": 1, "m": 60, "h": 3600}[found[3]] / FASTER
        return f"{found[1]}{max(1000, round(seconds * 1000))}ms"

    return re.sub(r"(\[|for: )(\d+)([smh])", shorter, text)


@dataclass(frozen=True)
class Stack:
    nodes: list[Node]
    valkey: Valkey
    prometheus: Prometheus

    def fires(self, alert: str) -> bool:
        return alert in self.prometheus.firing()


def until(condition: Callable[[], bool], what: str, deadline_s: float = DEADLINE_S) -> None:
    end_s = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < end_s, f"not within {deadline_s} s: {what}"
        time.sleep(0.1)


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    """Two nodes on one store and one bus, scraped twice a second, rules twenty times as fast."""
    data_dir = tmp_path / "data"
    with running_valkey() as valkey:
        store = f"sqlite:///{data_dir / 'shared.db'}"
        settings = {"bus_url": valkey.url(), "store_url": store, "slow_abort_s": 60}
        with (
            Node(data_dir / "a", node="a", **settings) as first,
            Node(data_dir / "b", node="b", **settings) as second,
        ):
            nodes = [first, second]
            targets = [node.url.removeprefix("http://") for node in nodes]
            server = Prometheus(tmp_path / "prometheus", {"nodes": targets}, interval_s=0.5)
            for path in (tmp_path / "prometheus" / "rules").glob("*.yml"):
                path.write_text(hasten(path.read_text()))
            with server:
                yield Stack(nodes, valkey, server)


def load(node: Node, home: Path, seconds: int) -> "subprocess.Popen[bytes]":
    """A small load test against one node, users registered on the way."""
    options = LoadtestOptions(users=20, duration_s=seconds, think_s=0.3, extra=("--only-summary",))
    words = command(options, node.url, None, home / "locust.json")
    with (home / "locust.log").open("wb") as log:
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        return subprocess.Popen(words, cwd=ROOT, stdout=log, stderr=log, env=environment)


@pytest.mark.slow
def test_a_clean_run_wakes_nobody_and_a_deaf_node_does(stack: Stack, tmp_path: Path) -> None:
    process = load(stack.nodes[0], tmp_path, 15)
    fired: set[str] = set()
    while process.poll() is None:
        fired |= stack.prometheus.firing()
        time.sleep(0.2)
    assert fired == set()
    assert stack.prometheus.query("sum(websocket_push_seconds_count) > 0")

    stack.valkey.pause()
    until(lambda: stack.fires("DeafNode"), "DeafNode")
    stack.valkey.resume()
    until(lambda: not stack.fires("DeafNode"), "the end of DeafNode")
    assert not stack.fires("GapNotClosed")


@pytest.mark.slow
def test_a_killed_node_is_missed(stack: Stack) -> None:
    until(lambda: stack.prometheus.healthy_targets() == {"vouchstorm": 2}, "both nodes scraped")
    stack.nodes[1].kill()
    until(lambda: stack.fires("NodeDown"), "NodeDown")
    stack.nodes[1].start()
    until(lambda: not stack.fires("NodeDown"), "the end of NodeDown")


STALLED = """
import asyncio, json, socket, sys, uuid
import httpx
from simulator.wire.websocket import encode_frame, TEXT
from simulator.wire import socketio

async def main(url, sockets):
    host, port = url.removeprefix("http://").split(":")
    async with httpx.AsyncClient(base_url=url, timeout=30) as client:
        body = {"username": "stall" + uuid.uuid4().hex[:12], "password": "a long password"}
        token = (await client.post("/api/auth/register", json=body)).json()["token"]
    held = []
    for _ in range(sockets):
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.connect((host, int(port)))
        sock.sendall(b"GET /ws/socket.io/?EIO=4&transport=websocket HTTP/1.1\\r\\nHost: x\\r\\n"
            b"Upgrade: websocket\\r\\nConnection: Upgrade\\r\\nSec-WebSocket-Version: 13\\r\\n"
            b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\\r\\n\\r\\n")
        sock.recv(4096)
        sock.sendall(encode_frame(TEXT, socketio.encode_connect("/", {"token": token})))
        sock.setblocking(False)
        held.append(sock)
    await asyncio.sleep(0.5)
    print("ready", flush=True)
    packets = [socketio.encode_event("/", "get_status", ({},), number) for number in range(10)]
    question = b"".join(encode_frame(TEXT, packet) for packet in packets)
    while True:  # ask, and never read the answers
        for sock in held:
            try:
                sock.send(question)
            except OSError:
                pass
        await asyncio.sleep(0.05)

asyncio.run(main(sys.argv[1], int(sys.argv[2])))
"""


@pytest.mark.slow
def test_clients_that_stop_reading_are_seen(stack: Stack) -> None:
    """They ask and never read the answers, so the node's buffers for them fill."""
    node = stack.nodes[0]
    node.stop()
    node.settings |= {"events_per_s": 10_000, "events_burst": 10_000, "abuse_limit": 100_000}
    node.start()
    process = subprocess.Popen(
        [sys.executable, "-c", STALLED, node.url, "40"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    try:
        until(lambda: stack.fires("SlowClientSurge"), "SlowClientSurge")
    finally:
        process.kill()
        process.communicate()
