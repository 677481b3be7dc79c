"""What one received push costs a load process: our watcher beside Locust's own Socket.IO user.

    python -m loadtest.bench.push_cost --clients 200 --seconds 10

Both run in a Locust environment with Locust's statistics on, in a process of their own, pinned to one core;
the sender, the same for both, on the next. Ours keeps ledger and stamps, records the latency of every push
and merges it into the statistics; Locust's parses the event and records 0 ms. Repetitions alternate; medians
are printed. The cost is the user and system time of the whole client process over the pushes it received,
without connecting. The measuring is the client bench's (`loadtest.bench.generators`), which runs both beside
other clients, too.
"""

import argparse
import json
import os
import signal
import sys
import time
from typing import Any

from .servers.frame_sender import CLAIM, EVENT

MAX_ROUNDS = 10_000


def main(arguments: list[str] | None = None) -> int:
    """Compare, print the table and the JSON document; 0, or 1 when a client failed."""
    options = _options(arguments)
    if options.role:
        _ROLES[options.role](options.port, options.clients)
        return 0
    from .generators import ClientPlan, contest
    from .report import summary

    plan = ClientPlan(options.clients, options.seconds, options.rate, options.repetitions)
    costs: dict[str, list[dict[str, Any]]] = {}
    for found in contest(plan, ("locust_ours", "locust_own"), lambda line: print(line, file=sys.stderr)):
        costs = found
    invalid = [result["invalid"] for results in costs.values() for result in results if "invalid" in result]
    if invalid:
        print(f"push_cost: {invalid[0]}", file=sys.stderr)
        return 1
    figures = summary(costs)
    lean, locust = (figures[name]["cpu_us_per_message"] for name in ("locust_ours", "locust_own"))
    document = {
        "cpu_us_per_push": {"lean": lean, "locust": locust},
        "ratio": round(locust / lean, 2),
        "all": costs,
        "clients": options.clients,
        "rate_per_s": options.rate,
    }
    print(json.dumps(document))
    return 0


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="CPU per received push, beside Locust's own user.")
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--rate", type=float, default=10.0, help="Pushes per second to each client.")
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--role", choices=("", *_ROLES), default="", help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, default=0, help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


# -------------------------------------------------------------- the clients, as child processes


def _receive_lean(port: int, clients: int) -> None:
    """Our watchers: the very class that a load test runs."""
    from locust.env import Environment

    from ..latency import version_key
    from ..options import LoadOptions
    from ..shared_state import ATTRIBUTE, LoadRoom
    from ..socketio_client import LeanSocket
    from ..users import WatcherUser

    environment = Environment(user_classes=[WatcherUser], host=f"http://127.0.0.1:{port}")
    environment.create_local_runner()
    room = LoadRoom(environment)
    setattr(environment, ATTRIBUTE, room)
    room.begin(LoadOptions(), 0, 1)
    now_ns = time.monotonic_ns()
    room.book.publish((version_key(CLAIM, number), now_ns) for number in range(1, MAX_ROUNDS + 1))
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


def _receive_locust(port: int, clients: int) -> None:
    """Locust's own user, as its documentation shows it."""
    from locust.contrib.socketio import SocketIOUser
    from locust.env import Environment

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


def _receive_until_told(received: Any) -> None:
    """Let the greenlets run until SIGTERM, then print what came in."""
    import gevent
    from gevent.event import Event

    told = Event()
    gevent.signal_handler(signal.SIGTERM, told.set)
    told.wait()
    print(json.dumps({"received": received()}), flush=True)
    os._exit(0)  # neither library ends its greenlets by itself


_ROLES = {"lean": _receive_lean, "locust": _receive_locust}

if __name__ == "__main__":
    sys.exit(main())
