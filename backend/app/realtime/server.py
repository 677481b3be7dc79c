"""Builds the real-time room of a node and runs its loops.

Two steps, because the services need the way to the sockets and the gateway needs the services:
`Realtime(...)` gives the emitter, `attach(services)` lets clients in.
"""

import asyncio
import inspect
import logging
import random
import time
from collections.abc import Awaitable, Callable
from importlib.metadata import version
from typing import Any

import engineio
import orjson
import socketio
from engineio.async_socket import AsyncSocket
from socketio.async_manager import AsyncManager
from socketio.packet import BINARY_ACK, BINARY_EVENT, Packet
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from ..contracts.types import DeliveryClass
from ..observability.metrics import Metrics
from ..observability.tracing import Tracing
from ..ports import Clock, Store
from ..services.container import Services
from ..settings import Settings
from ..tasks import Tasks
from .admission import Admission, AdmissionLimits, Proxies
from .bus.bus import Bus
from .bus.subscriber import BusListener
from .delivery import Channels
from .emitter import LocalEmitter
from .engine import Bounds, Engine, Session
from .fanout import Fanout
from .gateway import Gateway
from .http_upgrade import AsgiAdmission
from .rate_limit import InflowLimits
from .rooms import RoomManager
from .timers import Deadlines
from .websocket import Message

log = logging.getLogger(__name__)

KNOWN_VERSIONS = {"python-socketio": "5.18.", "python-engineio": "4.15.", "uvicorn": "0.54."}
KNOWN_METHODS: dict[type, dict[str, str]] = {
    AsyncSocket: {
        "_upgrade_websocket": "environ",
        "_websocket_handler": "ws",
        "send": "pkt",
        "receive": "pkt",
        "close": "wait abort reason",
        "schedule_ping": "",
        "check_ping_timeout": "",
    },
    engineio.AsyncServer: {
        "_handle_connect": "environ transport jsonp_index",
        "_trigger_event": "event args kwargs",
    },
    socketio.AsyncServer: {
        "_engineio_server_class": "",
        "_handle_event_internal": "server sid eio_sid data namespace id",
    },
    AsyncManager: {"connect": "sid namespace", "pre_connect": "eio_sid namespace"},
    WebSocketsSansIOProtocol: {
        "handle_connect": "event",
        "run_asgi": "",
        "connection_lost": "exc",
        "shutdown": "",
    },
}
"""Parameters, behind `self`, of what is overridden or called."""
COMPARE_INTERVAL_S = 30.0
LAG_INTERVAL_S = 0.1
LEVELS_INTERVAL_S = 1.0


class TextPacket(Packet):  # type: ignore[misc]
    """Socket.IO packets without binary attachments: no event of the contract has any."""

    def decode(self, encoded_packet: str) -> int:
        count: int = super().decode(encoded_packet)
        if self.packet_type in (BINARY_EVENT, BINARY_ACK):
            raise ValueError("binary packets are not accepted")
        return count


class SocketServer(socketio.AsyncServer):  # type: ignore[misc]
    """python-socketio's server on our Engine.IO."""

    manager_initialized: bool
    admission: Admission | None = None
    on_connect: Callable[[str, Session, Any], Awaitable[None]] | None = None
    """Answers a CONNECT of the default namespace: (socket id, session, auth payload)."""

    def _engineio_server_class(self) -> type[Engine]:
        return Engine

    def prepare(self) -> None:
        """Start what the library starts with its first connection: one by the short way does not tell it."""
        if not self.manager_initialized:
            self.manager_initialized = True
            self.manager.initialize()

    async def _handle_eio_message(self, eio_sid: str, data: Any) -> None:
        if data[:2] in ("0", "0{"):
            await self._handle_connect(eio_sid, "/", orjson.loads(data[1:]) if len(data) > 1 else None)
        else:
            await super()._handle_eio_message(eio_sid, data)

    async def _handle_connect(self, eio_sid: str, namespace: str | None, data: Any) -> None:
        if namespace not in (None, "/"):
            await super()._handle_connect(eio_sid, namespace, data)
            return
        session = self.eio.sockets.get(eio_sid)
        if session is None or self.on_connect is None:
            return
        sid = await self.manager.pre_connect(eio_sid, "/")
        if sid is None:
            session.post_text('4{"message":"This session is connected already."}')
            return
        await self.on_connect(sid, session, data)

    async def _handle_event_internal(
        self, server: Any, sid: str, eio_sid: str, data: Any, namespace: str, id: Any
    ) -> None:
        # The library would hand a client's event of such a name to the handler that it means by it.
        if data[0] in (*self.reserved_events, "*"):
            data = [f"{data[0]} as an event", *data[1:]]
        await super()._handle_event_internal(server, sid, eio_sid, data, namespace, id)


def surprises() -> list[str]:
    """What in the libraries is not as the fast path expects; empty when all is well.

    Looked at once at start: a surprise switches the fast path off, instead of corrupting frames.
    """
    found = [
        f"{package} is {version(package)}, known is {known}x"
        for package, known in KNOWN_VERSIONS.items()
        if not version(package).startswith(known)
    ]
    for owner, methods in KNOWN_METHODS.items():
        for name, parameters in methods.items():
            method = getattr(owner, name, None)
            if method is None or list(inspect.signature(method).parameters) != ["self", *parameters.split()]:
                found.append(f"{owner.__name__}.{name} changed")
    return found


class Realtime:
    """The sockets of one node."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        clock: Clock,
        metrics: Metrics,
        manager: RoomManager,
        rng: random.Random,
        bus: Bus | None = None,
        tracing: Tracing | None = None,
    ) -> None:
        self._settings = settings
        self._metrics = metrics
        self._rng = rng
        self.manager = manager
        self.sio = self._build_server()
        self.engine: Engine = self.sio.eio
        self.admission = self.sio.admission = self._build_admission()
        self.deadlines = Deadlines()
        self._tracing = tracing or Tracing()
        self.fanout = Fanout(
            manager,
            coalesce_s=settings.coalesce_ms / 1000,
            snapshot_interval_s=1 / settings.snapshot_hz,
            queue_messages=settings.push_queue_events,
            on_flush=self._count_flush,
            on_drop=lambda message: metrics.dropped(message.delivery, "queue_full"),
        )
        self.channels = Channels(store, self.fanout, settings.replay_limit, self.engine.own)
        self.bus = bus
        self.emitter = LocalEmitter(
            manager,
            self.fanout,
            self.channels,
            publish=bus.publish if bus is not None else None,
            tracing=tracing,
        )
        if bus is not None:
            BusListener(bus, store, clock, manager, self.channels, self.emitter, self._recheck).attach()
        self.gateway: Gateway | None = None
        self._delivered = 0
        self._give_readings()

    def _give_readings(self) -> None:
        metrics, fanout, channels = self._metrics, self.fanout, self.channels
        metrics.flushes.source = lambda: fanout.flushes
        metrics.flushed_events.source = lambda: fanout.flushed
        metrics.superseded.source = lambda: fanout.superseded
        metrics.holes.source = lambda: channels.holes
        metrics.behind.source = lambda: channels.behind
        metrics.slowed.source = lambda: self.engine.slowed
        metrics.rooms.source = lambda: len(self.manager.rooms.get("/", ()))
        metrics.notifications_delivered.source = lambda: self._delivered
        if self.bus is None:
            metrics.bus_nodes.source = lambda: 1

    def _build_server(self) -> SocketServer:
        settings = self._settings
        slow = surprises() if settings.fast_fanout else ["switched off by VOUCHSTORM_FAST_FANOUT"]
        if slow:
            log.warning("fast fan-out is off, the library's way is used: %s", "; ".join(slow))
        return SocketServer(
            async_mode="asgi",
            # Given, so that the libraries do not add handlers of their own.
            logger=logging.getLogger("socketio.server"),
            engineio_logger=logging.getLogger("engineio.server"),
            client_manager=self.manager,
            serializer=TextPacket,
            async_handlers=False,
            cors_allowed_origins=list(settings.cors_origins) or None,
            ping_interval=settings.ping_interval_s,
            ping_timeout=settings.ping_timeout_s,
            max_http_buffer_size=settings.max_message_bytes,
            http_compression=False,
            metrics=self._metrics,
            bounds=Bounds(
                settings.socket_queue_packets,
                settings.socket_queue_bytes,
                settings.slow_abort_s,
                InflowLimits(
                    settings.frames_per_s,
                    settings.frames_burst,
                    settings.bytes_per_s,
                    settings.bytes_burst,
                    settings.abuse_limit,
                ),
            ),
            direct=not slow,
        )

    def _build_admission(self) -> Admission:
        settings, metrics = self._settings, self._metrics
        limits = AdmissionLimits(
            settings.max_sockets,
            settings.max_unauthenticated,
            settings.max_sockets_per_address,
            settings.max_unauthenticated_per_address,
            settings.handshakes_at_once,
            settings.handshake_queue,
            settings.handshake_wait_s,
            settings.handshake_retry_s,
        )
        admission = Admission(
            limits,
            Proxies(settings.trusted_proxies),
            self._rng,
            on_refusal=lambda refusal: metrics.refusals.inc(refusal.value),
        )
        metrics.handshakes_waiting.source = lambda: admission.queue.waiting
        metrics.handshakes_at_work.source = lambda: admission.queue.at_work
        return admission

    def _count_flush(self, waited_s: float, sockets: int, messages: list[Message]) -> None:
        self._metrics.emit_seconds.observe(waited_s)
        self._metrics.fanout_sockets.observe(sockets)
        if not sockets:
            return
        now_s = time.time()
        for message in messages:
            if message.born_s:
                self._metrics.pushed(message.delivery, now_s - message.born_s)
            if message.delivery is DeliveryClass.DURABLE:
                self._delivered += 1
            for name in message.names:
                self._metrics.events_emitted.inc(name, sockets)
            if message.trace is not None:
                self._tracing.ended("push", message.trace, event=" ".join(message.names), sockets=sockets)

    def attach(self, services: Services) -> None:
        """Let clients in: their events go to these services."""
        self.gateway = Gateway(
            services, self.engine, self.manager, self.channels, self.fanout, self.deadlines, self._rng
        )
        self.gateway.install(self.sio)
        if self.bus is not None:
            self.gateway.tokens.on_kick = self.bus.publish_kick
            self.bus.on_kick = self.gateway.tokens.kick_here

    async def compare(self) -> None:
        """Have every socket, of all nodes, get what the store has for it. Raises UnavailableError."""
        if self.bus is not None:
            self.bus.publish_resync()
        else:
            await self.channels.catch_up_all()

    async def _recheck(self) -> int:
        return await self.gateway.tokens.recheck() if self.gateway is not None else 0

    def start(self, tasks: Tasks) -> None:
        """Start the loops of this room."""
        self.sio.prepare()
        tasks.start("admission", self.admission.run)
        tasks.start("heartbeat", self.engine.heartbeat.run)
        tasks.start("slow sockets", self.engine.watch)
        tasks.start("deadlines", self.deadlines.run)
        tasks.start("comparison with the store", lambda: self.channels.run(COMPARE_INTERVAL_S))
        tasks.start("loop lag", self._measure_lag)
        tasks.start("levels", self._measure_levels)
        if self.bus is None:
            self._metrics.bus_connected.set(1)
            return
        tasks.start("bus publisher", self.bus.run_publisher)
        tasks.start("bus listener", self.bus.run_listener)
        tasks.start("bus heartbeat", self.bus.run_heartbeat)
        tasks.start("bus repairs", self.bus.gaps.run_repairs)

    async def drain(self) -> None:
        """Send the clients away in slices, each with its own moment to come back."""
        self.fanout.finish()
        if self.gateway is not None:
            await self.gateway.drain(self._settings.drain_s)
        for session in [*self.engine.sockets.values()]:
            session.end("draining")  # never became a socket; its poll would be waited for

    async def close(self) -> None:
        """Write what is pending; the sockets themselves are closed by the web server."""
        self.fanout.close()
        if self.bus is not None:
            await self.bus.flush(1.0)
            await self.bus.close()

    async def _measure_lag(self) -> None:
        while True:
            due_s = time.monotonic() + LAG_INTERVAL_S
            await asyncio.sleep(LAG_INTERVAL_S)
            self._metrics.event_loop_lag.observe(max(0.0, time.monotonic() - due_s))
            self._metrics.push_queue.set(self.fanout.pending)

    async def _measure_levels(self) -> None:
        while True:
            self._count_sockets()
            await asyncio.sleep(LEVELS_INTERVAL_S)

    def _count_sockets(self) -> None:
        metrics, sockets, slow = self._metrics, self.engine.sockets, self.engine.slow
        websockets = sum(1 for session in sockets.values() if session.upgraded)
        metrics.connected_sockets.set("websocket", websockets)
        metrics.connected_sockets.set("polling", len(sockets) - websockets)
        outboxes = [session.outbox for session in slow if session.outbox is not None]
        metrics.slow_sockets.set(len(slow))
        metrics.slow_bytes.set(sum(outbox.bytes for outbox in outboxes))
        waiting = sum(len(outbox.messages) for outbox in outboxes)
        metrics.notifications_pending.set(waiting + self.channels.waiting())


def asgi(sio: SocketServer, other: Any) -> Any:
    """The sockets at `/ws/socket.io/`, everything else to the other application."""
    application = socketio.ASGIApp(sio, other_asgi_app=other, socketio_path="ws/socket.io")
    return (
        application if sio.admission is None else AsgiAdmission(sio.admission, application, "/ws/socket.io")
    )
