"""The stages that faults are set on: a full stack as `vouchstorm up` starts it, and its variations.

A stage is an async context manager that yields a running `Scene`: with a flaky proxy on one of the stack's
paths, with a clock of its own in one node, with the store on a disk of a few megabytes, with three MongoDB
members, or embedded. Variations change the plan of the stack before it starts; no code of the product knows
of them.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from backend.stack.balancer import caddyfile
from backend.stack.plan import DATABASE, LOOPBACK, Kind, Role, ServicePlan, StackOptions, StackPlan
from backend.stack.processes import Probe, StackProcesses
from backend.stack.readiness import is_ready
from backend.stack.up import prepare
from simulator.faults.proxy import FlakyProxy
from tests.chaos.places import SmallDisk, WallClock
from tests.chaos.replica_set import add_members, member_is_ready


@dataclass(frozen=True)
class Scene:
    """A running stack and the handles of what can be broken in it; None where a stage has no such thing.

    store_url: of the store itself, past any proxy.
    """

    stack: StackProcesses
    store_url: str
    proxy: FlakyProxy | None = None
    clock: WallClock | None = None
    disk: SmallDisk | None = None


Stage = Callable[[Path, int], AbstractAsyncContextManager[Scene]]
"""Takes the data directory and the seed."""


@asynccontextmanager
async def full(data_dir: Path, seed: int) -> AsyncIterator[Scene]:
    """Caddy, two nodes, Valkey, MongoDB as a replica set of one."""
    plan = await _plan(Kind.FULL, data_dir)
    async with _running(plan, seed) as stack:
        yield Scene(stack, _store_url(plan))


@asynccontextmanager
async def proxied(data_dir: Path, seed: int, *, path: str) -> AsyncIterator[Scene]:
    """A full stack in which all ways to one service lead through a flaky proxy.

    path: redis or mongodb (the nodes' ways there), or node-1 (the load balancer's).
    """
    plan = await _plan(Kind.FULL, data_dir)
    target = next(service for service in plan.services if service.name == path)
    async with (
        FlakyProxy(LOOPBACK, LOOPBACK, target.port, random.Random(seed)) as proxy,
        _running(_through(plan, target, proxy.port), seed) as stack,
    ):
        yield Scene(stack, _store_url(plan), proxy=proxy)


@asynccontextmanager
async def clocked(data_dir: Path, seed: int, *, node: str) -> AsyncIterator[Scene]:
    """A full stack in which one node has a wall clock that can be set."""
    plan = await _plan(Kind.FULL, data_dir)
    clock = WallClock(data_dir / "clock")
    environment = await asyncio.to_thread(clock.environment)
    plan = _replaced(
        plan,
        lambda service: _with(service, environment) if service.name == node else service,
    )
    async with _running(plan, seed) as stack:
        yield Scene(stack, _store_url(plan), clock=clock)


@asynccontextmanager
async def cramped(data_dir: Path, seed: int, *, kind: Kind, size_mb: int) -> AsyncIterator[Scene]:
    """A stack whose store has a small disk to itself: MongoDB, or SQLite in an embedded stack."""
    plan = await _plan(kind, data_dir)
    home = data_dir / ("mongodb" if kind is Kind.FULL else "disk")
    with _mounted(home, size_mb) as disk:
        if kind is Kind.EMBEDDED:
            store = {"VOUCHSTORM_STORE_URL": f"sqlite:///{home / 'vouchstorm.db'}"}
            plan = _replaced(plan, lambda service: _with(service, store))
        async with _running(plan, seed) as stack:
            yield Scene(stack, _store_url(plan), disk=disk)


@asynccontextmanager
async def three_members(data_dir: Path, seed: int) -> AsyncIterator[Scene]:
    """A full stack on a MongoDB replica set of three members."""
    plan = await _plan(Kind.FULL, data_dir)
    plan, ports, url = add_members(plan)
    plan = _replaced(
        plan,
        lambda service: (
            _with(service, {"VOUCHSTORM_STORE_URL": url}) if service.role is Role.NODE else service
        ),
    )

    async def probe(service: ServicePlan) -> bool:
        if service.role is Role.MONGODB:
            return await asyncio.to_thread(member_is_ready, service.port, ports)
        return await is_ready(service)

    async with _running(plan, seed, probe) as stack:
        yield Scene(stack, url)


# ------------------------------------------------------------------ plans


async def _plan(kind: Kind, data_dir: Path) -> StackPlan:
    nodes = 2 if kind is Kind.FULL else 1
    return await asyncio.to_thread(prepare, StackOptions(kind, nodes=nodes, port=0, data_dir=data_dir))


@asynccontextmanager
async def _running(plan: StackPlan, seed: int, probe: Probe = is_ready) -> AsyncIterator[StackProcesses]:
    async with StackProcesses(plan, random.Random(seed), probe=probe) as stack:
        yield stack


@contextmanager
def _mounted(home: Path, size_mb: int) -> Iterator[SmallDisk]:
    disk = SmallDisk(home, size_mb)
    disk.mount()
    try:
        yield disk
    finally:
        disk.unmount()


def _store_url(plan: StackPlan) -> str:
    url = plan.with_role(Role.NODE)[0].environment["VOUCHSTORM_STORE_URL"]
    assert url is not None
    return url


def _replaced(plan: StackPlan, change: Callable[[ServicePlan], ServicePlan]) -> StackPlan:
    return replace(plan, services=tuple(change(service) for service in plan.services))


def _with(service: ServicePlan, environment: Mapping[str, str]) -> ServicePlan:
    return replace(service, environment={**service.environment, **environment})


def _through(plan: StackPlan, target: ServicePlan, port: int) -> StackPlan:
    """The plan in which those who use `target` find it at another port."""
    match target.role:
        case Role.REDIS:
            changed = {"VOUCHSTORM_BUS_URL": f"redis://{LOOPBACK}:{port}/0"}
        case Role.MONGODB:
            # Asked for its replica set, the driver would go to the member's own address, past the proxy.
            url = f"mongodb://{LOOPBACK}:{port}/{DATABASE}?directConnection=true"
            changed = {"VOUCHSTORM_STORE_URL": url}
        case _:
            ports = [port if node == target else node.port for node in plan.with_role(Role.NODE)]
            public = plan.with_role(Role.BALANCER)[0].port
            return replace(plan, files={path: caddyfile(public, ports) for path in plan.files})
    return _replaced(plan, lambda service: _with(service, changed) if service.role is Role.NODE else service)
