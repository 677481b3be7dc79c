"""Twenty readers that stall among a thousand: nobody notices, memory is bounded, all of them are freed.

Alternates rounds without and with stalled readers on one node, so that what else the machine does falls on
both. Prints what docs/STALLED.md quotes: `pytest -n 0 -s -m slow tests/e2e/backend/test_slow_consumers.py`.
"""

import asyncio
import contextlib
import re
import statistics
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.backend.node import Node, running_node
from tests.support.backend.raw import RawSocket, client_frame, opening, raw_socket
from tests.support.backend.rest import Account, Rest
from tests.support.backend.traffic import NEVER
from tests.support.waiting import until, until_async

READERS, STALLED, ROUNDS = 1_000, 20, 7
EVENTS, PERIOD_S = 20, 0.1
ROWS, QUESTIONS = 40, 30
"""Each stalled reader asks so often for so many rows: far more than the kernels hold."""
LONGEST_UPDATE_BYTES = 512
ABORTED = 'websocket_aborts_total{reason="stuck"}'
ASKED = 'websocket_events_received_total{event="sync"}'
UPDATE = re.compile(rb'"validation_count_update",\{[^}]*"claim_id":"([^"]+)"[^}]*"version":(\d+)')

Sent = dict[tuple[bytes, bytes], float]


class Listener(asyncio.Protocol):
    """One of the thousand: how long each update took to reach it."""

    def __init__(self, token: str, sent: Sent, delays_s: list[float]) -> None:
        self.inside: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._token, self._sent, self._delays_s = token, sent, delays_s
        self._transport: asyncio.WriteTransport | None = None
        self._rest = b""
        self.latest = 0
        """Version of the claim that was heard last."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)
        self._transport = transport
        transport.write(opening(("node", 80)))

    def data_received(self, data: bytes) -> None:
        now_s = time.perf_counter()
        self._rest += data
        end = 0
        for found in UPDATE.finditer(self._rest):
            end = found.end()
            self._delays_s.append(now_s - self._sent[found[1], found[2]])
            self.latest = int(found[2])
        self._rest = self._rest[end:][-LONGEST_UPDATE_BYTES:]
        if not self.inside.done() and self._transport is not None:
            if b'"authenticated"' in data:
                self.inside.set_result(None)
            elif b'0{"sid"' in data and b'40{"sid"' not in data:
                self._transport.write(client_frame(f'40{{"token":"{self._token}"}}'.encode()))
        if data == b"\x81\x012" and self._transport is not None:
            self._transport.write(client_frame(b"3"))

    def connection_lost(self, error: Exception | None) -> None:
        if not self.inside.done():
            self.inside.set_exception(ConnectionError("refused"))

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    with running_node(
        tmp_path, slow_abort_s=5.0, ping_interval_s=60, coalesce_ms=0, snapshot_hz=1000
    ) as made:
        yield made


def resident_kib(node: Node) -> int:
    return int(re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{node.pid}/status").read_text())[1])  # type: ignore[index]


async def p99_ms(
    rest: Rest,
    owner: Account,
    validators: list[Account],
    sent: Sent,
    delays_s: list[float],
    listeners: list[Listener],
) -> float:
    """99th percentile over all deliveries of one round, from the intended moment of each request."""
    claim_id = await rest.claim(owner, quorum=NEVER)
    delays_s.clear()
    start_s = time.perf_counter()
    for number, who in enumerate(validators[:EVENTS], start=1):
        due_s = start_s + number * PERIOD_S
        await asyncio.sleep(max(0.0, due_s - time.perf_counter()))
        sent[claim_id.encode(), str(number).encode()] = due_s
        await rest.vouch(who, claim_id)
    # Under load a newer count replaces the one before it: the last one comes to everybody.
    await until(lambda: all(listener.latest == EVENTS for listener in listeners), "the last delivery")
    for listener in listeners:
        listener.latest = 0
    return statistics.quantiles(delays_s, n=100)[98] * 1_000


def close_all(listeners: list[Listener]) -> None:
    for listener in listeners:
        listener.close()


async def stall(node: Node, stack: contextlib.AsyncExitStack, who: Account) -> RawSocket:
    """A socket that asks for much and reads nothing."""
    raw = await stack.enter_async_context(raw_socket(node, reading=False, receive_bytes=4_096))
    await raw.send(f'40{{"token":"{who.token}"}}')
    await raw.send(*(f'42{number}["sync",{{"after_seq":0,"limit":500}}]' for number in range(QUESTIONS)))
    return raw


@pytest.mark.slow
@pytest.mark.timeout(280)
async def test_stalled_readers_cost_the_others_nothing(node: Node) -> None:
    loop = asyncio.get_running_loop()
    sent: Sent = {}
    delays_s: list[float] = []
    async with Rest(node.url) as rest, contextlib.AsyncExitStack() as stack_of_all:
        owner, slow, *validators = await rest.accounts(ROWS + 2)
        bell = await rest.claim(slow, quorum=NEVER, title="x" * 200)
        for who in validators[:ROWS]:
            await rest.vouch(who, bell)
        listeners: list[Listener] = []
        stack_of_all.callback(close_all, listeners)
        for number in range(READERS):
            who = validators[number % len(validators)]
            listeners.append(Listener(who.token, sent, delays_s))
            await loop.create_connection(lambda: listeners[-1], *node.address)
            await listeners[-1].inside
        await p99_ms(rest, owner, validators, sent, delays_s, listeners)  # warm
        calm_kib = resident_kib(node)
        ratios, calm, stalled, freed_s, growth_kib = [], [], [], [], []
        for _ in range(ROUNDS):
            calm.append(await p99_ms(rest, owner, validators, sent, delays_s, listeners))
            before, asked = node.metrics()[ABORTED], node.metrics()[ASKED]
            async with contextlib.AsyncExitStack() as stack:
                for _ in range(STALLED):
                    await stall(node, stack, slow)

                async def all_stuck(answered: float = asked + STALLED * QUESTIONS) -> bool:
                    metrics = node.metrics()
                    return metrics["websocket_slow_sockets"] == STALLED and metrics[ASKED] == answered

                async def all_freed(before: float = before) -> bool:
                    return node.metrics()[ABORTED] == before + STALLED

                # What they ask for is work like any other; measured is what their not reading costs.
                await until_async(all_stuck, "all are stuck")
                began_s = time.perf_counter()
                measured = asyncio.create_task(p99_ms(rest, owner, validators, sent, delays_s, listeners))
                await asyncio.sleep(1.0)
                growth_kib.append(resident_kib(node) - calm_kib)
                stalled.append(await measured)
                await until_async(all_freed, "all stalled readers are freed")
                freed_s.append(round(time.perf_counter() - began_s, 1))
            ratios.append(stalled[-1] / calm[-1])

        async def nothing_left() -> bool:
            left = node.metrics()
            return bool(left["websocket_slow_sockets"] == left["websocket_slow_bytes"] == 0)

        await until_async(nothing_left, "nothing of them is left")
    print(f"\np99 ms calm {[round(x, 1) for x in calm]} stalled {[round(x, 1) for x in stalled]}")
    print(f"ratio {[round(x, 2) for x in ratios]} median {statistics.median(ratios):.2f}")
    print(f"node {calm_kib} KiB, with stalled readers +{growth_kib} KiB, all freed by {freed_s} s")
    # Kernel buffers apart, a socket may hold VOUCHSTORM_SOCKET_QUEUE_BYTES and the transport's 64 KiB.
    assert max(growth_kib) < STALLED * (1_024 + 64) + 16_384
    assert statistics.median(ratios) <= 1.2
