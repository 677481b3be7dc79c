"""What one received message and one connection cost a load generator: our lean client beside its peers.

    python -m loadtest.bench.swarm --clients 1000 --seconds 10

Each peer runs in a child process of its own, pinned to one core; the sender in another, pinned to the next.
Prints one JSON document. cpu_us_per_message is the client process's user and system time over the messages
it received: most of it is the kernel's share of one read. rss_kib_per_connection is what the process grew
while it connected, without the kernel's socket buffers.
"""

import argparse
import asyncio
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from typing import Any

import uvloop

from .swarm_peers import PEERS, Peer

SETTLE_S = 0.5
DRAIN_DEADLINE_S = 30.0
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def resident_bytes() -> int:
    """Resident set of this process now."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * PAGE_BYTES


def pin(core: int) -> None:
    """Keep this process on one core, where there are several."""
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[core % len(cores)]})


async def measure(peer: Peer, clients: int, seconds: float, per_s: float) -> dict[str, Any]:
    """Connect, settle, receive the broadcasts, and put the costs down."""
    sender = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "loadtest.bench.frame_sender",
        str(sorted(os.sched_getaffinity(os.getppid()))[-1]),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert sender.stdin is not None  # noqa: S101 - both pipes were asked for
    assert sender.stdout is not None  # noqa: S101
    port = json.loads(await sender.stdout.readline())["port"]
    rss_before, cpu_before = resident_bytes(), time.process_time()
    await peer.connect(port, clients)
    connect_cpu_s = time.process_time() - cpu_before
    await asyncio.sleep(SETTLE_S)
    rss_after, usage_before = resident_bytes(), resource.getrusage(resource.RUSAGE_SELF)
    sender.stdin.write(f"go {int(seconds * per_s)} {1 / per_s}\n".encode())
    sent = json.loads(await sender.stdout.readline())["sent"]
    deadline = time.monotonic() + DRAIN_DEADLINE_S
    while peer.arrivals.count < sent and time.monotonic() < deadline:  # noqa: ASYNC110 - no event per message
        await asyncio.sleep(0.05)
    usage = resource.getrusage(resource.RUSAGE_SELF)
    received = peer.arrivals.count
    await peer.close()
    sender.stdin.close()
    await sender.wait()
    user_us = (usage.ru_utime - usage_before.ru_utime) * 1e6
    system_us = (usage.ru_stime - usage_before.ru_stime) * 1e6
    return {
        "sent": sent,
        "received": received,
        "cpu_us_per_message": round((user_us + system_us) / max(received, 1), 2),
        "user_us_per_message": round(user_us / max(received, 1), 2),
        "system_us_per_message": round(system_us / max(received, 1), 2),
        "rss_kib_per_connection": round((rss_after - rss_before) / clients / 1024, 2),
        "cpu_us_per_connect": round(connect_cpu_s / clients * 1e6, 1),
    }


def run_child(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """Measure one peer in a fresh process."""
    arguments = ["--clients", options.clients, "--seconds", options.seconds, "--per-s", options.per_s]
    command = [sys.executable, "-m", "loadtest.bench.swarm", "--child", name, *map(str, arguments)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, timeout=options.seconds * 4 + 180)
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def medians(results: list[dict[str, Any]]) -> dict[str, Any]:
    """The median of each figure over the rounds, and the range of the main one."""
    costs = [result["cpu_us_per_message"] for result in results]
    middle = {name: statistics.median(result[name] for result in results) for name in results[0]}
    return middle | {"cpu_us_per_message_range": [min(costs), max(costs)]}


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        prog="python -m loadtest.bench.swarm", description=__doc__.split("\n")[0]
    )
    parser.add_argument("--clients", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--per-s", type=float, default=10.0, help="broadcasts a second, each to all clients")
    parser.add_argument("--rounds", type=int, default=3, help="peers take turns; medians are reported")
    parser.add_argument("--peers", default=",".join(PEERS), help="comma-separated: " + ", ".join(PEERS))
    parser.add_argument("--child", choices=list(PEERS), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        pin(0)
        peer = PEERS[options.child]()
        print(json.dumps(uvloop.run(measure(peer, options.clients, options.seconds, options.per_s))))
        return
    report: dict[str, Any] = {"clients": options.clients, "broadcasts_per_s": options.per_s}
    report |= {"seconds": options.seconds, "python": platform.python_version(), "cpus": os.cpu_count()}
    names = options.peers.split(",")
    rounds = [{name: run_child(name, options) for name in names} for _ in range(options.rounds)]
    report |= {name: medians([results[name] for results in rounds]) for name in names}
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
