"""The composition root: one place where everything is built and wired, once per application.

`create_app(settings)` connects nothing; the ASGI lifespan opens the store and starts the loops.
`uvicorn backend.app.main:app` and `cd backend && uvicorn app.main:app` find the application as `app`.
"""

import asyncio
import logging
import os
import random
import socket
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from . import __version__
from .api.router import install, new_api
from .clock import SortableIds, SystemClock
from .errors import SetupError, UnavailableError
from .observability.logs import configure_logging
from .observability.metrics import Metrics
from .observability.tracing import Tracing, open_tracing
from .ports import Clock, Ids, Push, Store
from .realtime.bus.bus import Bus
from .realtime.bus.manager import BusManager
from .realtime.bus.redis import connect
from .realtime.rooms import RoomManager
from .realtime.server import Realtime, asgi
from .seeding import SEED_PASSWORD, SeedSize, plan_seed, write_claims, write_seed, write_tokens
from .services.accounts import Accounts
from .services.claims import Claims
from .services.consensus_engine import ConsensusEngine
from .services.container import Services
from .services.health import Health
from .services.login_guard import LoginGuard
from .services.notification_service import NotificationService
from .services.passwords import Passwords
from .services.reconciler import Reconciler
from .services.redis_counters import RedisCounts, redis_counts
from .services.retention import Retention
from .services.throttle import Throttle
from .services.tokens import Tokens
from .services.websocket_service import WebSocketService
from .settings import Settings, load_settings, signing_secret
from .store.metered import metered
from .store.open import build_store
from .tasks import Tasks

log = logging.getLogger(__name__)

OPEN_RETRY_S = 1.0


class Application:
    """The ASGI application of one node: sockets at `/ws/socket.io/`, REST and web UI beside them."""

    def __init__(
        self,
        services: Services,
        realtime: Realtime,
        reconciler: Reconciler,
        throttle: Throttle,
        counts: RedisCounts | None,
        tracing: Tracing,
    ) -> None:
        self.services = services
        self.realtime = realtime
        self.reconciler = reconciler
        self.retention = Retention(services.store, services.clock, services.settings.retention_days)
        api = new_api()
        install(api, services, throttle, tracing)
        self._counts = counts
        self._tracing = tracing
        self._handle = asgi(realtime.sio, api)
        self._tasks = Tasks()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        else:
            await self._handle(scope, receive, send)

    async def _lifespan(self, receive: Any, send: Any) -> None:
        await receive()
        try:
            await self.start()
        except SetupError as error:
            await send({"type": "lifespan.startup.failed", "message": str(error)})
            return
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self.stop()
        await send({"type": "lifespan.shutdown.complete"})

    async def start(self) -> None:
        """Open the store and start the loops. An unreachable store is retried behind the open doors.

        Raises SetupError.
        """
        loop = asyncio.get_running_loop()
        self.services.metrics.event_loop_tasks.source = lambda: len(asyncio.all_tasks(loop))
        self.services.metrics.interpreter_blocks.source = sys.getallocatedblocks
        try:
            await self._open()
        except UnavailableError as error:
            log.warning("starting without a store, requests get 503 until it answers: %s", error)
            self._tasks.start("open the store", self._keep_opening)
        self._tracing.start()
        self.realtime.start(self._tasks)
        self._tasks.start("reconciler", self.reconciler.run)
        self._tasks.start("retention", self.retention.run)

    async def _open(self) -> None:
        await self.services.store.open()
        try:
            await self.reconciler.repair()
        except UnavailableError as error:
            log.warning("the repair of unfinished work is put off: %s", error)

    async def _keep_opening(self) -> None:
        while True:
            await asyncio.sleep(OPEN_RETRY_S)
            try:
                await self._open()
            except UnavailableError as error:
                log.info("the store does not answer yet: %s", error)
            except SetupError:
                log.exception("the store cannot be used as configured")
            else:
                log.info("the store answers, serving normally")
                return

    async def drain(self) -> None:
        """Take no new work and send the clients away in slices."""
        if not self.services.health.draining:
            self.services.health.drain()
            await self.realtime.drain()

    async def stop(self) -> None:
        """End the loops and close the store, in this order."""
        self.services.health.drain()
        await self.realtime.close()
        await self._tasks.close()
        if self._counts is not None:
            await self._counts.close()
        await self.services.store.close()
        await self._tracing.stop()


class _Nobody:
    """The emitter of a process without sockets."""

    def push(self, pushes: Sequence[Push]) -> None:
        """Nobody listens."""


async def seed_store(
    settings: Settings,
    size: SeedSize,
    seed: int,
    tokens_file: Path | None,
    claims_file: Path | None,
    progress: Callable[[str, int, int], None],
) -> str:
    """Fill the configured store from a seed; one sentence about what was written.

    Raises SetupError, UnavailableError.
    """
    clock = SystemClock()
    plan = plan_seed(size, seed, clock.now())
    tokens = Tokens(signing_secret(settings), settings.token_ttl_s, clock)
    passwords = Passwords(time_cost=settings.password_time_cost, memory_kib=settings.password_memory_kib)
    store = _store(settings, clock)
    engine = _engine(settings, store, WebSocketService(_Nobody()), clock, SortableIds(clock))
    try:
        await store.open()
        accepted = await write_seed(plan, store, engine, await passwords.hash(SEED_PASSWORD), progress)
    finally:
        await store.close()
    if tokens_file is not None:
        write_tokens(tokens_file, plan.users, tokens)
    if claims_file is not None:
        write_claims(claims_file, plan.claims)
    return f"Seeded {len(plan.users)} users, {len(plan.claims)} claims, {accepted} validations (seed {seed})."


async def issue_token(settings: Settings, username: str) -> str:
    """A token for a user of the configured store. Raises SetupError for an unknown name."""
    clock = SystemClock()
    store = _store(settings, clock)
    try:
        await store.open()
        known = await store.users.credentials(username)
    finally:
        await store.close()
    if known is None:
        raise SetupError(f"There is no user {username!r} in {settings.store_place}.")
    return Tokens(signing_secret(settings), settings.token_ttl_s, clock).issue(known.user.id).token


def _store(settings: Settings, clock: Clock) -> Store:
    return build_store(
        settings.resolved_store_url,
        trust_policy=settings.trust_policy,
        clock=clock,
        timeout_s=settings.store_timeout_s,
        mongo_driver=settings.mongo_driver,
    )


def _manager(
    settings: Settings, node: str, metrics: Metrics, rng: random.Random
) -> tuple[RoomManager, Bus | None]:
    """The rooms of this node, and the bus to the other nodes if one is configured. Raises SetupError."""
    if settings.bus_url is None:
        return RoomManager(), None
    url = settings.bus_url.get_secret_value()
    connect(url, blocking=False)  # refuses a bad URL now, connects nothing
    bus = Bus(url, node, metrics, rng)
    return BusManager(url, bus), bus


def _counts(settings: Settings) -> RedisCounts | None:
    """The counts that this node shares with the others; None without a bus."""
    if settings.bus_url is None:
        return None
    url = settings.bus_url.get_secret_value()
    return redis_counts(url, connect(url, blocking=False))


def _engine(
    settings: Settings,
    store: Store,
    websocket: WebSocketService,
    clock: Clock,
    ids: Ids,
    tracing: Tracing | None = None,
) -> ConsensusEngine:
    return ConsensusEngine(
        store, websocket, clock, ids, settings.consensus_policy, settings.consensus_weighting, tracing
    )


def create_app(settings: Settings, tracing: Tracing | None = None) -> Application:
    """Build one node. tracing: None makes what the settings say. Raises SetupError."""
    node = settings.node or f"{socket.gethostname()}-{os.getpid()}"
    if tracing is None:
        url = settings.traces_url
        tracing = open_tracing(url, node, __version__) if url is not None else Tracing()
    clock = SystemClock()
    ids = SortableIds(clock)
    metrics = Metrics(__version__, node)
    rng = random.Random()
    store = metered(_store(settings, clock), metrics)
    health = Health()
    health.register("store", store.ping)
    manager, bus = _manager(settings, node, metrics, rng)
    if bus is not None:
        health.register("bus", bus.check)
    realtime = Realtime(settings, store, clock, metrics, manager, rng, bus, tracing)
    websocket = WebSocketService(realtime.emitter, bus.users_elsewhere if bus is not None else lambda: 0)
    if bus is not None:
        bus.users_here = websocket.connected_here
    engine = _engine(settings, store, websocket, clock, ids, tracing)
    tokens = Tokens(signing_secret(settings), settings.token_ttl_s, clock, retired=settings.retired_secrets)
    counts = _counts(settings)
    throttle = Throttle(
        clock, counts, on_alone=metrics.limits_alone.inc, on_full=metrics.limits_uncounted.inc
    )
    guard = LoginGuard(throttle, settings.login_limits, lambda: metrics.rate_limited.inc("login"))
    passwords = Passwords(
        time_cost=settings.password_time_cost,
        memory_kib=settings.password_memory_kib,
        on_full=lambda: metrics.rate_limited.inc("password"),
    )
    services = Services(
        settings=settings,
        node=node,
        store=store,
        clock=clock,
        ids=ids,
        metrics=metrics,
        health=health,
        tokens=tokens,
        accounts=Accounts(store, tokens, passwords, clock, ids, guard),
        claims=Claims(store, clock, ids, default_quorum=settings.default_quorum),
        engine=engine,
        notifications=NotificationService(store, websocket, ids),
        websocket=websocket,
    )
    realtime.attach(services)
    reconciler = Reconciler(store, engine, clock, settings.reconcile_interval_s, realtime.compare)
    metrics.repairs.source = lambda: reconciler.repaired
    return Application(services, realtime, reconciler, throttle, counts, tracing)


def __getattr__(name: str) -> Any:
    """`app`, built when a web server asks for it: importing this module reads no environment."""
    if name != "app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        settings = load_settings()
        configure_logging(settings.log_level, settings.log_format, settings.node or "node")
        application = create_app(settings)
    except SetupError as error:
        sys.exit(str(error))
    globals()["app"] = application
    return application
