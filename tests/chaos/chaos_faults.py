"""The faults of the suite: each breaks a running full stack and heals it again.

A fault is an async context manager around the time for which something is broken; on its end, the stack is
whole again as far as the fault is concerned. Called by `chaos_run`; what comes of it is judged there.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from pymongo import MongoClient

from backend.stack.plan import LOOPBACK
from backend.stack.processes import StackProcesses

FLAPS = 4
FLAP_S = 0.4
Break = Callable[[StackProcesses], AbstractAsyncContextManager[None]]


@dataclass(frozen=True)
class Fault:
    """held_s: how long it lasts beyond its own work. scenario: what the run's clients do in addition.

    kills: the service that ends unasked, whose next process the recovery waits for.
    """

    name: str
    breaks: Break
    held_s: float = 0.0
    scenario: dict[str, Any] = field(default_factory=dict)
    kills: str | None = None


@asynccontextmanager
async def nothing(stack: StackProcesses) -> AsyncIterator[None]:
    """The control: what the suite finds without a fault."""
    yield


@asynccontextmanager
async def killed(stack: StackProcesses, name: str) -> AsyncIterator[None]:
    """SIGKILL; the fault is over at once, the stack starts the service again by itself."""
    stack.kill(name)
    yield


@asynccontextmanager
async def paused(stack: StackProcesses, name: str) -> AsyncIterator[None]:
    """SIGSTOP: connections stay open, nothing answers."""
    stack.pause(name)
    try:
        yield
    finally:
        stack.resume(name)


@asynccontextmanager
async def flapping(stack: StackProcesses, name: str) -> AsyncIterator[None]:
    """Paused and resumed, again and again."""
    for _ in range(FLAPS):
        async with paused(stack, name):
            await asyncio.sleep(FLAP_S)
        await asyncio.sleep(FLAP_S)
    yield


@asynccontextmanager
async def stopped(stack: StackProcesses, name: str) -> AsyncIterator[None]:
    """Ended in order, started again at the end."""
    await stack.stop_service(name)
    try:
        yield
    finally:
        await stack.start_service(name)


@asynccontextmanager
async def deployed(stack: StackProcesses) -> AsyncIterator[None]:
    """A rolling deploy: one node after the other drains, ends and comes back."""
    for name in ("node-1", "node-2"):
        await stack.restart(name)
    yield


@asynccontextmanager
async def clients_cut_off_redis(stack: StackProcesses) -> AsyncIterator[None]:
    """`CLIENT KILL` of every connection the nodes hold, publishers and listeners."""
    reader, writer = await asyncio.open_connection(LOOPBACK, stack.children["redis"].plan.port)
    try:
        writer.write(b"CLIENT KILL TYPE pubsub\r\nCLIENT KILL TYPE normal SKIPME yes\r\n")
        answers = [await reader.readline(), await reader.readline()]
        assert all(answer.startswith(b":") for answer in answers), answers
        yield
    finally:
        writer.close()


@asynccontextmanager
async def stepped_down(stack: StackProcesses) -> AsyncIterator[None]:
    """The primary steps down and refuses to be elected for three seconds."""
    await asyncio.to_thread(_step_down, stack.children["mongodb"].plan.port)
    yield


def _step_down(port: int) -> None:
    with MongoClient[dict[str, Any]](LOOPBACK, port, directConnection=True) as client:
        client.admin.command("replSetStepDown", 3, secondaryCatchUpPeriodSecs=0, force=True)


def everybody_drops(at_s: float) -> dict[str, Any]:
    """All clients are cut off at once, beside the fault itself."""
    return {"faults": [{"kind": "drop", "at_s": at_s, "fraction": 1.0}]}


def some_stall(at_s: float) -> dict[str, Any]:
    """A third of the clients stops reading for four seconds."""
    return {"faults": [{"kind": "slow", "at_s": at_s, "fraction": 0.34, "for_s": 4.0}]}


HUNG_S = 3.0
# A client of a hung node is away from the first moment, though it cannot know before its session is gone:
# live counts pushed to it meanwhile are excused for that long (notifications are not: they are replayed).
HUNG = {"windows": {"grace_ms": (HUNG_S + 2.0) * 1e3}}

FAULTS = (
    Fault("no fault (control)", nothing),
    Fault("node SIGKILL", partial(killed, name="node-1"), kills="node-1"),
    Fault("node SIGSTOP 3 s", partial(paused, name="node-1"), held_s=HUNG_S, scenario=HUNG),
    Fault("Redis restart", partial(stopped, name="redis")),
    Fault("Redis pause 3 s", partial(paused, name="redis"), held_s=HUNG_S),
    Fault("MongoDB restart", partial(stopped, name="mongodb")),
    Fault("MongoDB pause 3 s", partial(paused, name="mongodb"), held_s=HUNG_S),
    Fault("rolling deploy", deployed),
    Fault("Redis SIGKILL", partial(killed, name="redis"), kills="redis"),
    Fault("Redis flapping", partial(flapping, name="redis")),
    Fault("Redis CLIENT KILL of all", clients_cut_off_redis),
    Fault("MongoDB primary step-down", stepped_down),
    Fault("storm during deploy", deployed, scenario=everybody_drops(4.5)),
    Fault(
        "storm while MongoDB hangs",
        partial(paused, name="mongodb"),
        held_s=2 * HUNG_S,
        scenario=everybody_drops(4.5),
    ),
    Fault("stalled readers", nothing, scenario=some_stall(4.0)),
)
