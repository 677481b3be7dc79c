"""What one received push costs a load process: our watcher beside Locust's own Socket.IO user.

    python -m loadtest.push_cost --clients 200 --seconds 10

Both run in a Locust environment with Locust's statistics on, in a process of their own, pinned to one core;
the sender, the same for both, on the next. Ours keeps ledger and stamps, records the latency of every push
and merges it into the statistics; Locust's parses the event and records 0 ms. Repetitions alternate; medians
are printed. The cost is the user and system time of the whole client process over the pushes it received,
without connecting.
"""

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import time
from typing import Any

CONTESTANTS = ("lean", "locust")
CLAIM = "0190f7a4c1f24d6e8b1a5f0c3d7e9a21"
EVENT = "validation_count_update"
SETTLE_S = 0.5
CHILD_TIMEOUT_S = 120.0


def main(arguments: list[str] | None = None) -> int:
    """Compare, print the table and the JSON document; 0, or 1 when a child failed."""
    options = _options(arguments)
    if options.role:
        _ROLES[options.role](options)
        return 0
    costs: dict[str, list[float]] = {name: [] for name in CONTESTANTS}
    for _ in range(options.repetitions):
        for name in CONTESTANTS:
            run = _measured(name, options)
            if run["received"] < run["expected"]:
                print(f"{name}: received {run['received']} of {run['expected']}", file=sys.stderr)
                return 1
            costs[name].append(run["cpu_us_per_push"])
    medians = {name: round(statistics.median(values), 2) for name, values in costs.items()}
    print(f"{'client':<10}{'CPU us per push':>18}", file=sys.stderr)
    for name, value in medians.items():
        print(f"{name:<10}{value:>18.1f}", file=sys.stderr)
    document = {
        "cpu_us_per_push": medians,
        "ratio": round(medians["locust"] / medians["lean"], 2),
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


def _measured(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """One repetition: sender and client process, the client's last line."""
    common = [
        "--clients",
        str(options.clients),
        "--seconds",
        str(options.seconds),
        "--rate",
        str(options.rate),
    ]
    base = [sys.executable, "-m", "loadtest.push_cost", *common]
    sender = subprocess.Popen([*base, "--role", "sender"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert sender.stdout is not None  # noqa: S101 - a pipe was asked for
        port = json.loads(sender.stdout.readline())["port"]
        client = subprocess.run(
            [*base, "--role", name, "--port", str(port)],
            stdout=subprocess.PIPE,
            timeout=CHILD_TIMEOUT_S,
            check=True,
        )
        run: dict[str, Any] = json.loads(client.stdout.splitlines()[-1])
        return run
    finally:
        sender.kill()
        sender.communicate()


def _pin(core: int) -> None:
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[core % len(cores)]})


# -------------------------------------------------------------- the sender


def _send(options: argparse.Namespace) -> None:
    import uvloop

    _pin(1)
    uvloop.run(_serve(options.clients, options.seconds, options.rate))


async def _serve(clients: int, seconds: float, rate: float) -> None:
    """Once all clients are there: the same push to each of them, at start + n * period."""
    from .bench.frame_sender import Peer, server_frame

    peers: list[Peer] = []
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Peer(peers), "127.0.0.1", 0, backlog=4096)
    print(json.dumps({"port": server.sockets[0].getsockname()[1]}), flush=True)
    while sum(peer.greeted for peer in peers) < clients:  # noqa: ASYNC110 - the borrowed peers have no event
        await asyncio.sleep(0.05)
    await asyncio.sleep(SETTLE_S)
    start_s = loop.time()
    for number in range(1, round(seconds * rate) + 1):
        body = {"v": 1, "claim_id": CLAIM, "count": number, "version": number}
        frame = server_frame(b"42" + json.dumps([EVENT, body], separators=(",", ":")).encode())
        for peer in peers:
            if peer.transport is not None:
                peer.transport.write(frame)
        await asyncio.sleep(max(0.0, start_s + number / rate - loop.time()))
    await asyncio.sleep(3600)  # until the parent ends it


# -------------------------------------------------------------- the clients


def _report(received: int, expected: int, cpu_s: float) -> None:
    cost_us = round(cpu_s * 1e6 / max(1, received), 3)
    print(json.dumps({"received": received, "expected": expected, "cpu_us_per_push": cost_us}), flush=True)


def _receive_lean(options: argparse.Namespace) -> None:
    """Our watchers: the very class that a load test runs."""
    _pin(0)
    import gevent
    from locust.env import Environment

    from .lean_socket import LeanSocket
    from .load_options import LoadOptions
    from .load_room import ATTRIBUTE, LoadRoom
    from .stamps import version_key
    from .users import WatcherUser

    environment = Environment(user_classes=[WatcherUser], host=f"http://127.0.0.1:{options.port}")
    environment.create_local_runner()
    room = LoadRoom(environment)
    setattr(environment, ATTRIBUTE, room)
    room.begin(LoadOptions(), 0, 1)
    rounds = round(options.seconds * options.rate)
    now_ns = time.monotonic_ns()
    room.book.publish((version_key(CLAIM, number), now_ns) for number in range(1, rounds + 1))
    WatcherUser.host = environment.host
    users = [WatcherUser(environment) for _ in range(options.clients)]
    if room.endpoint is None:
        raise RuntimeError("no host")
    for user in users:
        user.sock = LeanSocket(room.endpoint, user, {})
        user.sock.connect(10.0)
    gevent.sleep(SETTLE_S / 2)

    def received() -> int:
        return sum(user.ledger.counts.received for user in users)

    _watch(gevent.sleep, received, rounds * options.clients, options.seconds)


def _receive_locust(options: argparse.Namespace) -> None:
    """Locust's own user, as its documentation shows it."""
    _pin(0)
    import gevent
    from locust.contrib.socketio import SocketIOUser
    from locust.env import Environment

    class Watcher(SocketIOUser):
        abstract = False

    environment = Environment(user_classes=[Watcher], host=f"http://127.0.0.1:{options.port}")
    environment.create_local_runner()
    user_class: Any = Watcher
    users = [user_class(environment) for _ in range(options.clients)]
    for user in users:
        user.sio.connect(environment.host, transports=["websocket"])
    gevent.sleep(SETTLE_S / 2)

    def received() -> int:
        return int(environment.stats.entries[(EVENT, "WSR")].num_requests)

    _watch(gevent.sleep, received, round(options.seconds * options.rate) * options.clients, options.seconds)


def _watch(sleep: Any, received: Any, expected: int, seconds: float) -> None:
    """Count CPU from now, before the first push, until all have come or long after they should have."""
    before_s, until_s = time.process_time(), time.monotonic() + 3 * seconds + 10
    while received() < expected and time.monotonic() < until_s:
        sleep(0.2)
    _report(received(), expected, time.process_time() - before_s)
    os._exit(0)  # neither library ends its greenlets by itself


_ROLES = {"sender": _send, "lean": _receive_lean, "locust": _receive_locust}

if __name__ == "__main__":
    sys.exit(main())
