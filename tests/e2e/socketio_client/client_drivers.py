"""Servers to test the lean client against, and a handler that remembers what it was told."""

import json
import random
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from simulator.processes import PIPE, Program
from simulator.socketio_client import ConnectFailedError, Endpoint, LeanClient, ReconnectPolicy
from tests.support.backend.node import ROOT

DEADLINE_S = 20.0
QUICK = ReconnectPolicy(delay_s=0.05, delay_max_s=0.2)


@contextmanager
def running(script: str, *arguments: str) -> Iterator[int]:
    """Run a support server in a child process; gives its port, stops it at the end."""
    words = [sys.executable, "-m", f"tests.support.simulator.{script}", "--port", "0", *arguments]
    with Program(words, cwd=ROOT, stdin=PIPE, stdout=PIPE).running() as child:
        yield child.facts()["port"]


@dataclass
class Witness:
    """A ClientHandler that writes everything down; events as (name, parsed arguments)."""

    connects: list[str] = field(default_factory=list)
    events: list[tuple[str, Any]] = field(default_factory=list)
    refusals: list[bytes] = field(default_factory=list)
    disconnects: list[str] = field(default_factory=list)
    times_ns: list[int] = field(default_factory=list)

    def on_connect(self, client: LeanClient, sid: str, at_ns: int) -> None:
        self.connects.append(sid)
        self.times_ns.append(at_ns)

    def on_event(self, client: LeanClient, name: str, args: bytes, at_ns: int) -> None:
        self.events.append((name, json.loads(b"[" + args + b"]")))
        self.times_ns.append(at_ns)

    def on_refused(self, client: LeanClient, body: bytes, at_ns: int) -> None:
        self.refusals.append(body)
        self.times_ns.append(at_ns)

    def on_disconnect(self, client: LeanClient, reason: str, at_ns: int) -> None:
        self.disconnects.append(reason)
        self.times_ns.append(at_ns)

    def named(self, name: str) -> list[Any]:
        """The first argument of each event of that name."""
        return [args[0] for event, args in self.events if event == name]


def make_client(port: int, witness: Witness, transport: Any = "websocket", **options: Any) -> LeanClient:
    """A client of a loopback server; never started."""
    settings: dict[str, Any] = {"rng": random.Random(1), "policy": QUICK, **options}
    endpoint = Endpoint.parse(f"http://127.0.0.1:{port}")
    return LeanClient(endpoint, witness, transport=transport, **settings)


@asynccontextmanager
async def connected(
    port: int, witness: Witness, transport: Any = "websocket", **options: Any
) -> AsyncIterator[LeanClient]:
    """A client that is connected, and stopped at the end."""
    client = make_client(port, witness, transport, **options)
    client.start()
    try:
        await client.wait_connected(DEADLINE_S)
        yield client
    finally:
        await client.stop()


async def gives_up(client: LeanClient, why: str) -> None:
    """Start a client that ends without a connection, for a reason that matches."""
    client.start()
    try:
        with pytest.raises(ConnectFailedError, match=why):
            await client.wait_connected(DEADLINE_S)
    finally:
        await client.stop()
