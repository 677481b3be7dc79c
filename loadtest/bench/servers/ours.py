"""Vouchstorm as it is deployed: the node of `backend.app.process.node`, with a control channel beside it.

Users are stored, tokens are checked against the store, rooms are joined, replay positions are read: nothing
is left out. Events go in where the services put them, at `Emitter.push`.
"""

import argparse
import asyncio
import contextlib
import functools
import os
import signal
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from prometheus_client import Counter, Gauge, Histogram

from backend.app.contracts.rooms import user_room
from backend.app.contracts.types import DeliveryClass, UserId
from backend.app.domain.records import User
from backend.app.main import Application, create_app
from backend.app.observability.logs import configure_logging
from backend.app.observability.metrics import CounterBy, GaugeBy, HistogramBy
from backend.app.ports import Newcomer, Push
from backend.app.process import node
from backend.app.settings import Settings, load_settings

from ..plan import EVENT, ROOM, SECRET, absent_user_id, notification, payload, user_id
from .control import Control, parser, server_options

PACKAGES = ["python-socketio", "python-engineio", "uvicorn", "uvloop", "httptools", "websockets", "orjson"]

_WRITES: tuple[tuple[type, str], ...] = (
    (Counter, "inc"),
    (Gauge, "inc"),
    (Gauge, "dec"),
    (Gauge, "set"),
    (Histogram, "observe"),
    (CounterBy, "inc"),
    (GaugeBy, "inc"),
    (GaugeBy, "dec"),
    (GaugeBy, "set"),
    (HistogramBy, "observe"),
)


def _nothing(*_: Any, **__: Any) -> None:
    """What is called instead of a metric."""


class Ours:
    """The application's emitter and rooms as a contestant."""

    def __init__(self, application: Application) -> None:
        self._application = application
        self._on_flush = application.realtime.fanout._on_flush
        self._writes = [getattr(kind, name) for kind, name in _WRITES]

    def emit(self, numbers: range) -> None:
        # CONTROL, not SNAPSHOT: counters would be merged, and every event is to be counted.
        pushes = [Push(ROOM, ((EVENT, payload(number)),), DeliveryClass.CONTROL) for number in numbers]
        self._application.realtime.emitter.push(pushes)

    def notify(self, numbers: range) -> None:
        # One by one, as the services do.
        for number in numbers:
            facts = (("new_notification", notification(number)),)
            room = user_room(UserId(absent_user_id(number)))
            self._application.realtime.emitter.push([Push(room, facts, DeliveryClass.DURABLE, version=1)])

    def keep_metrics(self, on: bool) -> None:
        # The service has no such switch. Off: whoever counts calls a function that does nothing, and the
        # flusher tells nobody. The difference is what metrics cost, the arguments of those calls excepted.
        self._application.realtime.fanout._on_flush = self._on_flush if on else None
        for (kind, name), write in zip(_WRITES, self._writes, strict=True):
            setattr(kind, name, write if on else _nothing)

    def members(self) -> int:
        return self._application.realtime.manager.room_size(ROOM)


def forget_store_reads(application: Application) -> None:
    """From now on every token is taken for good and nobody has missed anything, without asking the store."""

    async def newcomers(asked: Sequence[tuple[UserId, str]]) -> list[Newcomer]:
        return [Newcomer(last_seq=0, revoked=False) for _ in asked]

    application.services.store.users.newcomers = newcomers  # type: ignore[method-assign]


async def seed(application: Application, users: int) -> None:
    """Store the users whose tokens will come."""
    now = datetime.now(UTC)
    rows = [
        User(UserId(user_id(number)), f"bench{number}", f"Bench {number}", now) for number in range(users)
    ]
    await application.services.store.users.create_users(rows, "no password fits")


def run(arguments: argparse.Namespace) -> None:
    """Serve until standard input ends."""
    options = server_options(arguments)
    built: list[Application] = []
    running: list[asyncio.Task[None]] = []

    def build(settings: Settings) -> Application:
        built.append(create_app(settings))
        return built[-1]

    async def take_part(port: int) -> None:
        await seed(built[0], options.users)
        if arguments.without_store_reads:
            forget_store_reads(built[0])
        stop = functools.partial(os.kill, os.getpid(), signal.SIGINT)
        Control(Ours(built[0]), stop).start(port, PACKAGES)

    def ready(url: str, _: str) -> None:
        running.append(asyncio.get_running_loop().create_task(take_part(int(url.rpartition(":")[2]))))

    # The node builds its own application; this is the way to the one it serves.
    node.create_app = build  # type: ignore[assignment,attr-defined]
    with (
        tempfile.TemporaryDirectory(prefix="vouchstorm-bench-") as data_dir,
        contextlib.suppress(KeyboardInterrupt),
    ):
        configure_logging("warning", "pretty", "bench")
        settings = load_settings(
            data_dir=Path(data_dir),
            jwt_secret=SECRET,
            bus_url=options.bus_url,
            ping_interval_s=options.ping_interval_s,
            ping_timeout_s=options.ping_timeout_s,
            log_level="warning",
        )
        node.run_node(
            settings.model_copy(update={"drain_s": 0.0}), node.listen("127.0.0.1", options.port), ready
        )


if __name__ == "__main__":
    options_parser = parser()
    options_parser.add_argument("--without-store-reads", action="store_true")
    run(options_parser.parse_args())
