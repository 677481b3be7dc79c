"""Each alert when things are really broken, and none when they are not.

Prometheus is real, the nodes are real, only the rules are hastened: every window and every `for` is a
twentieth.
"""

import os
import signal
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, closing, contextmanager
from pathlib import Path

import pytest
import redis

from tests.support.backend.node import LOOPBACK
from tests.support.backend.rest import Rest
from tests.support.backend.sockets import connected
from tests.support.services import Valkey, running_mongod
from tests.support.waiting import wait_until
from tests.support.watched_stack import (
    DEADLINE_S,
    Stack,
    load,
    need_prometheus,
    python,
    watched_stack,
)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]


@pytest.fixture(autouse=True)
def _prometheus() -> None:
    need_prometheus()


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    with watched_stack(tmp_path) as watched:
        yield watched


PROBE_S = 0.2
TOO_LATE_S = 0.1
OF_TIME = {"EventLoopLag", "PushBudgetBurnsFast", "PushBudgetBurnsSlowly"}
"""Alerts that are right to fire on a machine that has no time for the nodes."""


def test_a_clean_run_wakes_nobody_and_a_deaf_node_does(stack: Stack, tmp_path: Path) -> None:
    fired: set[str] = set()
    late_s = 0.0
    with load(stack.nodes[0], tmp_path, 15) as run:
        while run.returncode is None:
            fired |= stack.prometheus.firing()
            due_s = time.monotonic() + PROBE_S
            time.sleep(PROBE_S)
            late_s = max(late_s, time.monotonic() - due_s)
    assert fired <= (OF_TIME if late_s > TOO_LATE_S else set()), (
        f"this process itself was {late_s:.3f} s late"
    )
    assert stack.prometheus.query("sum(websocket_push_seconds_count) > 0")

    stack.valkey.pause()
    wait_until(lambda: stack.fires("DeafNode"), "DeafNode", DEADLINE_S)
    stack.valkey.resume()
    wait_until(lambda: not stack.fires("DeafNode"), "the end of DeafNode", DEADLINE_S)
    assert not stack.fires("GapNotClosed")


def test_a_killed_node_is_missed(stack: Stack) -> None:
    wait_until(
        lambda: stack.prometheus.healthy_targets() == {"vouchstorm": 2}, "both nodes scraped", DEADLINE_S
    )
    stack.nodes[1].kill()
    wait_until(lambda: stack.fires("NodeDown"), "NodeDown", DEADLINE_S)
    stack.nodes[1].start()
    wait_until(lambda: not stack.fires("NodeDown"), "the end of NodeDown", DEADLINE_S)


STALLED = """
import asyncio, socket, sys, uuid
import httpx
from simulator.socketio_client.codec.websocket import encode_frame, TEXT
from simulator.socketio_client.codec import socketio

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


def test_clients_that_stop_reading_are_seen(stack: Stack, tmp_path: Path) -> None:
    """They ask and never read the answers, so the node's buffers for them fill."""
    node = stack.nodes[0]
    node.stop()
    node.settings |= {"events_per_s": 10_000, "events_burst": 10_000, "abuse_limit": 100_000}
    node.settings |= {"frames_per_s": 100_000, "frames_burst": 1_000_000}
    node.settings |= {"socket_queue_packets": 1_000_000, "socket_queue_bytes": 100_000_000}
    node.start()
    with python(tmp_path / "stalled.log", ["-c", STALLED, node.url, "40"]).running(grace_s=0):
        stack.must_fire("SlowClientSurge")


CROWD = """
import asyncio, sys, uuid
import httpx, socketio

async def connect(url, auth):
    client = socketio.AsyncClient(reconnection=False)
    try:
        await client.connect(url, socketio_path="/ws/socket.io", transports=["websocket"], auth=auth)
    except Exception:
        pass
    return client

async def main(url, what, number):
    async with httpx.AsyncClient(base_url=url, timeout=30) as http:
        body = {"username": "crowd" + uuid.uuid4().hex[:12], "password": "a long password"}
        token = (await http.post("/api/auth/register", json=body)).json()["token"]
    auth = {"crowd": {"token": token}, "strangers": {"token": "nonsense"},
            "ahead": {"token": token, "last_seq": 1_000_000}}[what]
    held = []
    while True:
        if len(held) < number:
            held.append(await connect(url, auth))
        elif what == "crowd":
            await asyncio.sleep(0.2)
        else:
            for client in held:
                await client.disconnect()
            held.clear()
            await asyncio.sleep(0.2)

asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
"""


@contextmanager
def stuttering(pid: int) -> Iterator[None]:
    """The process stands still for three quarters of the time, as on a machine that is far too busy."""
    over = threading.Event()

    def stutter() -> None:
        while not over.is_set():
            os.kill(pid, signal.SIGSTOP)
            over.wait(0.9)
            os.kill(pid, signal.SIGCONT)
            over.wait(0.3)

    thread = threading.Thread(target=stutter)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def test_a_node_that_stutters_burns_the_budget(stack: Stack, tmp_path: Path) -> None:
    """What is accepted on one node is late at the sockets of the other, which stutters."""
    publishing, stuttered = stack.nodes
    crowd = python(tmp_path / "crowd.log", ["-c", CROWD, stuttered.url, "crowd", "5"])
    with load(publishing, tmp_path, 100), crowd.running(grace_s=0):
        heard = f'websocket_push_seconds_count{{instance="{LOOPBACK}:{stuttered.port}",class="snapshot"}} > 5'
        wait_until(lambda: bool(stack.prometheus.query(heard)), "pushes on the other node", DEADLINE_S)
        with stuttering(stuttered.pid):
            stack.must_fire("EventLoopLag", "PushBudgetBurnsFast", "PushBudgetBurnsSlowly", deadline_s=110.0)


def test_strangers_at_the_door_are_a_surge_of_refusals(stack: Stack, tmp_path: Path) -> None:
    with python(tmp_path / "strangers.log", ["-c", CROWD, stack.nodes[0].url, "strangers", "3"]).running(
        grace_s=0
    ):
        stack.must_fire("RefusalSurge", deadline_s=60.0)


def test_clients_ahead_of_the_store_are_told_to_reload(stack: Stack, tmp_path: Path) -> None:
    """As after a restore: they have seen what the store has not."""
    with python(tmp_path / "ahead.log", ["-c", CROWD, stack.nodes[0].url, "ahead", "2"]).running(grace_s=0):
        stack.must_fire("ClientsToldToReload")


def test_all_sockets_on_one_node_are_an_imbalance(tmp_path: Path) -> None:
    with (
        watched_stack(tmp_path, max_sockets_per_user=1_000) as stack,
        python(tmp_path / "crowd.log", ["-c", CROWD, stack.nodes[0].url, "crowd", "210"]).running(grace_s=0),
    ):
        stack.must_fire("ConnectionImbalance", deadline_s=90.0)


def cut_the_bus(valkey: Valkey) -> None:
    """End the subscriptions of all nodes, as a failover or a proxy would."""
    with redis.Redis(host=LOOPBACK, port=valkey.port) as client:
        client.execute_command("CLIENT", "KILL", "TYPE", "pubsub")


def test_a_bus_that_is_lost_again_and_again_flaps(stack: Stack) -> None:
    wait_until(
        lambda: stack.prometheus.healthy_targets() == {"vouchstorm": 2}, "both nodes scraped", DEADLINE_S
    )

    def cut() -> bool:
        cut_the_bus(stack.valkey)
        return stack.fires("BusFlapping")

    wait_until(cut, "BusFlapping", DEADLINE_S)


def test_a_store_that_hangs_is_trouble_and_leaves_gaps_open(tmp_path: Path) -> None:
    with (
        running_mongod() as mongod,
        watched_stack(tmp_path, f"{mongod.url('alerts')}", store_timeout_s=1) as stack,
        load(stack.nodes[0], tmp_path, 60),
    ):
        try:
            wait_until(
                lambda: bool(stack.prometheus.query("sum(websocket_push_seconds_count) > 5")),
                "pushes",
                DEADLINE_S,
            )
            mongod.pause()
            cut_the_bus(stack.valkey)
            stack.must_fire("StoreTrouble", "GapNotClosed", deadline_s=60.0)
        finally:
            mongod.resume()


ROUND_OF_PEOPLE = 70
"""Each is told of a consensus in more than one message, at once: more than the queue of the test below."""


async def consensus_again_and_again(url: str, over: Callable[[], bool]) -> None:
    """Claims that are settled while everybody concerned is connected, one after the other."""
    async with Rest(url) as rest, AsyncExitStack() as sockets:
        owner, *people = await rest.accounts(1 + ROUND_OF_PEOPLE)
        for who in people:
            await sockets.enter_async_context(connected(url, who))
        while not over():
            claim_id = await rest.claim(owner, quorum=ROUND_OF_PEOPLE)
            for who in people:
                await rest.vouch(who, claim_id)


async def test_more_at_once_than_the_queue_holds_is_an_overflow(tmp_path: Path) -> None:
    with watched_stack(tmp_path, push_queue_events=100, coalesce_ms=50) as stack:
        end_s = time.monotonic() + 90

        def over() -> bool:
            return time.monotonic() > end_s or stack.fires("PushQueueOverflow")

        await consensus_again_and_again(stack.nodes[0].url, over)
        stack.must_fire("PushQueueOverflow", deadline_s=5.0)


HELD_S = 1.0
FREE_S = 0.5


@contextmanager
def held_again_and_again(path: Path) -> Iterator[None]:
    """Another process holds the store's file for writing, for longer than a call may take."""
    over = threading.Event()

    def hold() -> None:
        with closing(sqlite3.connect(path, timeout=10, isolation_level=None)) as store:
            while not over.wait(FREE_S):
                store.execute("BEGIN IMMEDIATE")
                over.wait(HELD_S)
                store.execute("ROLLBACK")

    thread = threading.Thread(target=hold)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def test_a_store_that_fails_after_the_first_write_leaves_work_unfinished(tmp_path: Path) -> None:
    """Validations are accepted, their consequences time out, the reconciler finds them: again and again."""
    with (
        watched_stack(tmp_path, store_timeout_s=0.3, reconcile_interval_s=1) as stack,
        load(stack.nodes[0], tmp_path, 200),
    ):
        pushed = "sum(websocket_push_seconds_count) > 5"
        wait_until(lambda: bool(stack.prometheus.query(pushed)), "pushes", DEADLINE_S)
        with held_again_and_again(tmp_path / "data" / "shared.db"):
            stack.must_fire("UnfinishedWork", deadline_s=150.0)
