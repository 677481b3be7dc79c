"""One kind of Locust client as a child process of the trial of load generators.

    python -m loadtest.bench.locust_peers locust_ours --port 8000 --clients 1000

Both kinds run in a Locust environment with Locust's statistics on. Ours keeps ledger and stamps, records the
latency of every push and merges it into the statistics; Locust's own parses the event and records 0 ms.
Connects so many, receives until SIGTERM, then prints {"received": n}. Measures nothing itself.
"""

import argparse
import json
import os
import signal
import time
from collections.abc import Callable
from typing import Any

import gevent
from gevent.event import Event
from locust.contrib.socketio import SocketIOUser
from locust.env import Environment

from ..latency import version_key
from ..options import LoadOptions
from ..shared_state import ATTRIBUTE, LoadRoom
from ..socketio_client import LeanSocket
from ..users import WatcherUser
from .servers.frame_sender import CLAIM, EVENT

MAX_PUSHES = 10_000


def receive_ours(port: int, clients: int) -> None:
    """Our watchers: the very class that a load test runs."""
    environment = Environment(user_classes=[WatcherUser], host=f"http://127.0.0.1:{port}")
    environment.create_local_runner()
    room = LoadRoom(environment)
    setattr(environment, ATTRIBUTE, room)
    room.begin(LoadOptions(), 0, 1)
    now_ns = time.monotonic_ns()
    room.book.publish((version_key(CLAIM, number), now_ns) for number in range(1, MAX_PUSHES + 1))
    WatcherUser.host = environment.host
    users: list[WatcherUser] = []
    if room.endpoint is None:
        raise RuntimeError("no host")
    for _ in range(clients):
        user = WatcherUser(environment)
        user.sock = LeanSocket(room.endpoint, user, {})
        user.sock.connect(10.0)
        users.append(user)
    _receive_until_told(lambda: sum(user.ledger.counts.received for user in users))


def receive_own(port: int, clients: int) -> None:
    """Locust's own user, as its documentation shows it."""

    class Watcher(SocketIOUser):
        abstract = False

    environment = Environment(user_classes=[Watcher], host=f"http://127.0.0.1:{port}")
    environment.create_local_runner()
    user_class: Any = Watcher
    users = []
    for _ in range(clients):
        user = user_class(environment)
        user.sio.connect(environment.host, transports=["websocket"])
        users.append(user)
    _receive_until_told(lambda: int(environment.stats.entries[(EVENT, "WSR")].num_requests))


def _receive_until_told(received: Callable[[], int]) -> None:
    """Let the greenlets run until SIGTERM, then print what came in."""
    told = Event()
    gevent.signal_handler(signal.SIGTERM, told.set)
    told.wait()
    print(json.dumps({"received": received()}), flush=True)
    os._exit(0)  # neither library ends its greenlets by itself


KINDS = {"locust_ours": receive_ours, "locust_own": receive_own}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m loadtest.bench.locust_peers", description=__doc__)
    parser.add_argument("kind", choices=list(KINDS))
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--clients", type=int, required=True)
    options = parser.parse_args()
    KINDS[options.kind](options.port, options.clients)
