"""A cluster of Valkey masters on this machine."""

import socket
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import redis

from simulator.processes import ProcessError, free_port
from tests.support.services import LOOPBACK, START_DEADLINE_S, Valkey
from tests.support.waiting import wait_until

SLOTS = 16_384
START_TRIES = 3
BUS_PORTS_ABOVE = 10_000
"""Each member also listens so many ports higher."""


class Member(Valkey):
    """One master."""

    def command(self) -> list[str]:
        return [*super().command(), "--cluster-enabled", "yes", "--cluster-config-file", "nodes.conf"]


def started_member(directory: Path) -> Member:
    """A master without slots. Another process may take a port first, so try again on new ones."""
    for _ in range(START_TRIES - 1):
        with suppress(ProcessError):
            return Member(directory, _port()).start()
    return Member(directory, _port()).start()


def _port() -> int:
    """A port that was free a moment ago, as was that of the bus above it."""
    while not _is_free((port := free_port()) + BUS_PORTS_ABOVE):
        pass
    return port


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind((LOOPBACK, port))
        except (OSError, OverflowError):  # taken, or beyond the last port
            return False
    return True


@contextmanager
def running_cluster(members: int = 2) -> Iterator[list[Member]]:
    """Masters that share all slots evenly."""
    with ExitStack() as stack:
        found = []
        for _ in range(members):
            directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="vouchstorm-cluster-")))
            member = started_member(directory)
            stack.callback(member.kill)
            found.append(member)
        share = SLOTS // members
        clients = [stack.enter_context(redis.Redis(LOOPBACK, member.port)) for member in found]
        for index, client in enumerate(clients):
            last = SLOTS - 1 if index == members - 1 else (index + 1) * share - 1
            client.execute_command("CLUSTER", "ADDSLOTSRANGE", index * share, last)
            if index:
                client.execute_command("CLUSTER", "MEET", LOOPBACK, found[0].port)
        whole = lambda: all(_is_whole(client) for client in clients)  # noqa: E731
        wait_until(whole, "the cluster comes together", START_DEADLINE_S)
        yield found


def _is_whole(client: Any) -> bool:
    known = client.execute_command("CLUSTER", "SLOTS")
    return sum(int(last) - int(first) + 1 for first, last, *_ in known) == SLOTS


def url_of(members: list[Member]) -> str:
    hosts = ",".join(f"{LOOPBACK}:{member.port}" for member in members)
    return f"redis+cluster://{hosts}"
