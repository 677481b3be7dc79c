"""The faults of the suite: each breaks a running full stack and heals it again.

A fault is an async context manager around the time for which something is broken; on its end, the stack is
whole again as far as the fault is concerned. Called by `chaos_run`; what comes of it is judged there.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from pymongo import MongoClient
from pymongo.errors import PyMongoError

from backend.stack.plan import LOOPBACK, Kind, Role
from tests.chaos.replica_set import primary_port
from tests.chaos.scene import Scene, Stage, clocked, cramped, full, proxied, three_members

FLAPS = 4
FLAP_S = 0.4
Break = Callable[[Scene], AbstractAsyncContextManager[None]]


@dataclass(frozen=True)
class Fault:
    """held_s: how long it lasts beyond its own work. scenario: what the run's clients do in addition.

    kills: the service that ends unasked, whose next process the recovery waits for.
    bites: writes must fail meanwhile or services end, or the run proves nothing.
    """

    name: str
    breaks: Break
    held_s: float = 0.0
    scenario: dict[str, Any] = field(default_factory=dict)
    kills: str | None = None
    stage: Stage = full
    bites: bool = False


@asynccontextmanager
async def nothing(scene: Scene) -> AsyncIterator[None]:
    """The control: what the suite finds without a fault."""
    yield


@asynccontextmanager
async def killed(scene: Scene, name: str) -> AsyncIterator[None]:
    """SIGKILL; the fault is over at once, the stack starts the service again by itself."""
    scene.stack.kill(name)
    yield


@asynccontextmanager
async def paused(scene: Scene, name: str) -> AsyncIterator[None]:
    """SIGSTOP: connections stay open, nothing answers."""
    scene.stack.pause(name)
    try:
        yield
    finally:
        scene.stack.resume(name)


@asynccontextmanager
async def flapping(scene: Scene, name: str) -> AsyncIterator[None]:
    """Paused and resumed, again and again."""
    for _ in range(FLAPS):
        async with paused(scene, name):
            await asyncio.sleep(FLAP_S)
        await asyncio.sleep(FLAP_S)
    yield


@asynccontextmanager
async def stopped(scene: Scene, name: str) -> AsyncIterator[None]:
    """Ended in order, started again at the end."""
    await scene.stack.stop_service(name)
    try:
        yield
    finally:
        await scene.stack.start_service(name)


@asynccontextmanager
async def deployed(scene: Scene) -> AsyncIterator[None]:
    """A rolling deploy: one node after the other drains, ends and comes back."""
    for name in ("node-1", "node-2"):
        await scene.stack.restart(name)
    yield


@asynccontextmanager
async def clients_cut_off_redis(scene: Scene) -> AsyncIterator[None]:
    """`CLIENT KILL` of every connection the nodes hold, publishers and listeners."""
    reader, writer = await asyncio.open_connection(LOOPBACK, scene.stack.children["redis"].plan.port)
    try:
        writer.write(b"CLIENT KILL TYPE pubsub\r\nCLIENT KILL TYPE normal SKIPME yes\r\n")
        answers = [await reader.readline(), await reader.readline()]
        assert all(answer.startswith(b":") for answer in answers), answers
        yield
    finally:
        writer.close()


@asynccontextmanager
async def stepped_down(scene: Scene) -> AsyncIterator[None]:
    """The primary steps down and refuses to be elected for three seconds."""
    await asyncio.to_thread(_step_down, scene.stack.children["mongodb"].plan.port)
    yield


def _step_down(port: int) -> None:
    with MongoClient[dict[str, Any]](LOOPBACK, port, directConnection=True) as client:
        client.admin.command("replSetStepDown", 3, secondaryCatchUpPeriodSecs=0, force=True)


@asynccontextmanager
async def primary_killed(scene: Scene) -> AsyncIterator[None]:
    """SIGKILL for the primary of several members; over at once, the others elect one of them."""
    members = [child for child in scene.stack.children.values() if child.plan.role is Role.MONGODB]
    port = await asyncio.to_thread(primary_port, members[0].plan.port)
    scene.stack.kill(next(child.plan.name for child in members if child.plan.port == port))
    yield


@asynccontextmanager
async def late(scene: Scene) -> AsyncIterator[None]:
    """What passes the proxy arrives 200 to 500 ms later."""
    assert scene.proxy is not None
    with scene.proxy.delay(200.0, 300.0):
        yield


@asynccontextmanager
async def swallowed(scene: Scene) -> AsyncIterator[None]:
    """A black hole: nothing passes, new connections stay unanswered; at the end all are reset."""
    assert scene.proxy is not None
    with scene.proxy.drop_new(), scene.proxy.stall():
        yield
        with scene.proxy.cut():
            pass


@asynccontextmanager
async def half_open(scene: Scene) -> AsyncIterator[None]:
    """One side was told that the other has ended; the other was not, and still gets what is sent to it."""
    assert scene.proxy is not None
    with scene.proxy.half_close():
        yield


@asynccontextmanager
async def clock_jumped(scene: Scene, offset_s: int) -> AsyncIterator[None]:
    """The wall clock of one node is wrong; when it is set right, it jumps the other way."""
    assert scene.clock is not None
    with scene.clock.jumped(offset_s):
        yield


@asynccontextmanager
async def disk_full(scene: Scene) -> AsyncIterator[None]:
    """The disk of the store has not a byte left; then there is space again."""
    assert scene.disk is not None
    with scene.disk.full():
        yield


@asynccontextmanager
async def mongodb_disk_full(scene: Scene) -> AsyncIterator[None]:
    """As `disk_full`, and MongoDB is made to write its data files at once, which else waits for a minute."""
    async with disk_full(scene):
        await asyncio.to_thread(_checkpoint, scene.stack.children["mongodb"].plan.port)
        yield


def _checkpoint(port: int) -> None:
    with (
        suppress(PyMongoError),
        MongoClient[dict[str, Any]](
            LOOPBACK, port, directConnection=True, socketTimeoutMS=2_000, retryReads=False
        ) as client,
    ):
        client.admin.command("fsync")


def everybody_drops(at_s: float) -> dict[str, Any]:
    """All clients are cut off at once, beside the fault itself."""
    return {"faults": [{"kind": "drop", "at_s": at_s, "fraction": 1.0}]}


def some_stall(at_s: float) -> dict[str, Any]:
    """A third of the clients stops reading for four seconds."""
    return {"faults": [{"kind": "slow", "at_s": at_s, "fraction": 0.34, "for_s": 4.0}]}


HUNG_S = 3.0
HOUR_S = 3_600
# A client of a hung node is away from the first moment, though it cannot know before its session is gone:
# live counts pushed to it meanwhile are excused for that long (notifications are not: they are replayed).
# So are counts that wait for Redis, when the load balancer takes the waiting node out and with it the
# polling sessions it holds.
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
    *(
        Fault(
            f"network to {title}: {what}",
            breaks,
            held_s=HUNG_S,
            stage=partial(proxied, path=path),
            scenario={} if path == "mongodb" else HUNG,
        )
        for path, title in (("redis", "Redis"), ("mongodb", "MongoDB"), ("node-1", "a node"))
        for what, breaks in (("slow", late), ("black hole", swallowed), ("half-open", half_open))
    ),
    *(
        Fault(
            f"clock of a node {jump}",
            partial(clock_jumped, offset_s=offset_s),
            held_s=HUNG_S,
            stage=partial(clocked, node="node-1"),
        )
        for jump, offset_s in (("+1 h and back", HOUR_S), ("-1 h and back", -HOUR_S))
    ),
    Fault(
        "disk full, SQLite",
        disk_full,
        held_s=HUNG_S,
        stage=partial(cramped, kind=Kind.EMBEDDED, size_mb=64),
        bites=True,
    ),
    Fault(
        "disk full, MongoDB",
        mongodb_disk_full,
        held_s=HUNG_S,
        stage=partial(cramped, kind=Kind.FULL, size_mb=512),
        bites=True,
    ),
    Fault("MongoDB primary SIGKILL, 3 members", primary_killed, stage=three_members),
)

SHORT = (
    "node SIGKILL",
    "Redis restart",
    "MongoDB pause 3 s",
    "storm during deploy",
    "network to a node: half-open",
)
"""Faults of the short form: one of each kind, none that needs more of the machine than processes."""
