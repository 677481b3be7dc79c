"""The Engine.IO server and its sessions: the library's on long-polling, ours on an established websocket.

A session is *direct* once its websocket is adopted (`FanoutProtocol.adopt`): it has no task, no queue and no
timer while idle. Writing is `session.write(bytes)`, which is the transport's own method, or None when the
peer is slow, closing, or on long-polling; then `post` finds the right way.

Overrides of python-engineio 4.15: of `AsyncSocket` `_upgrade_websocket`, `_websocket_handler`, `poll`,
`handle_post_request`, `send`, `receive`, `schedule_ping`, `close`, `check_ping_timeout`; of `AsyncServer`
`_handle_connect`, `_service_task` (switched off), `_log_error_once`, `create_queue`. What they rely on is
compared at start (`server.surprises`). Source: docs/adr/0003.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import engineio
import orjson
from engineio import packet as eio
from engineio.async_socket import AsyncSocket
from engineio.exceptions import ContentTooLongError, QueueEmpty

from ..contracts.types import DeliveryClass
from ..observability.metrics import Metrics
from .admission import Permit
from .http_upgrade import DirectProtocol, Opening, environ_of, origin_environ, slim_environ, take_permit
from .rate_limit import Inflow, InflowLimits
from .timers import Heartbeat
from .websocket import ENGINE_PING, EXTENSION, FanoutProtocol, Message, Outbox, frame

log = logging.getLogger(__name__)

INBOX_LIMIT = 64
INBOX_FULL, IN_DEBT = 1, 2
LARGEST_DEBT_S = 5.0
"""Who sends so much more at once than it may is not read more slowly, but ended."""
WRITE_MESSAGES = 32
"""Messages that share one write; between two writes the peer may turn out to be slow."""
POLL_PACKETS = 16
"""Packets per poll: python-engineio's clients refuse more."""
POST_PACKETS = 256
"""Packets per POST; the library drops a request with more than 16 and answers OK."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much may wait for one socket, and how long; how much may come from it (None: anything)."""

    queue_packets: int = 1_000
    queue_bytes: int = 1_048_576
    slow_abort_s: float = 10.0
    inflow: InflowLimits | None = None


class PacketQueue(asyncio.Queue[Any]):
    """Engine.IO packets that wait for a poll, None for the end; `bytes` of text wait in it."""

    bytes = 0

    def _put(self, item: Any) -> None:
        self.bytes += _text_bytes(item)
        super()._put(item)

    def _get(self) -> Any:
        item = super()._get()
        self.bytes -= _text_bytes(item)
        return item


def _text_bytes(packet: Any) -> int:
    # Characters, really; what it bounds is memory, and most of the contract is ASCII.
    return len(packet.data) if packet is not None and isinstance(packet.data, str) else 0


class Writable:
    """Holds the one attribute that a fan-out reads of every socket in a slot: no dictionary in between."""

    __slots__ = ("write",)

    write: Callable[[bytes], None] | None


class Session(Writable, AsyncSocket):  # type: ignore[misc]
    """One Engine.IO session."""

    def __init__(
        self,
        server: "Engine",
        sid: str,
        permit: Permit | None = None,
        protocol: FanoutProtocol | None = None,
    ) -> None:
        """protocol: of a websocket that is established already; such a session never has a queue."""
        self.server = server
        self.sid = sid
        self.queue: Any = None if protocol is not None else server.create_queue()
        self.last_ping: float | None = None
        self.connected = self.upgraded = protocol is not None
        self.upgrading = self.closing = self.closed = False
        self.protocol = protocol
        self.session: dict[str, Any] = {}
        self.permit = permit
        self.write = None
        self.outbox: Outbox | None = None
        self.paused_at: float | None = None
        self.ping_sent_at: float | None = None
        self.ending = False
        """Set with the first `end` or `abort`: the reason is counted, nothing more is queued."""
        self.settled = False
        """See `settle`."""
        self._inbox: deque[str] | None = None
        self._inflow: Inflow | None = None
        self._unread = 0
        """Why nothing is read from the peer now: a sum of INBOX_FULL and IN_DEBT."""

    # -------------------------------------------------------------- out

    @property
    def direct(self) -> bool:
        """Is the websocket adopted?"""
        return self.protocol is not None and self.protocol.sink is self

    def settle(self, settled: bool) -> None:
        """Told by the gateway: the socket may stay, as it authenticated, or as anonymous sockets may."""
        self.settled = settled
        if self.permit is not None:
            self.permit.settle(settled)

    def handshaken(self) -> None:
        """Told by the gateway: the CONNECT of this session was answered, whatever the answer."""
        if self.permit is not None:
            self.permit.done()

    def post(self, messages: Sequence[Message]) -> None:
        """Send messages in order by the way that is open now; never waits. Bounded: see `Bounds`."""
        for start in range(0, len(messages), WRITE_MESSAGES):
            part = messages[start : start + WRITE_MESSAGES]
            if self.write is not None:
                self.write(part[0].wire if len(part) == 1 else b"".join([message.wire for message in part]))
                continue
            for message in part:
                if self.direct:
                    self._hold(message)
                elif not self.closed and not self.ending:
                    self._queue(message)

    def post_text(self, packet: str) -> None:
        """Send one Socket.IO text packet (acks, connects): it belongs to this socket alone."""
        if self.write is not None:
            self.write(frame(b"4" + packet.encode()))
        else:
            self.post([Message([packet.encode()], DeliveryClass.CONTROL)])

    def _hold(self, message: Message) -> None:
        if self.closed or self.ending or self.protocol is None or self.protocol.closing:
            return
        if message.delivery is DeliveryClass.STATE:
            self.server.metrics.dropped(DeliveryClass.STATE, "paused")
            return
        if self.outbox is None:
            self.outbox = Outbox()
        self.outbox.put(message)
        bounds = self.server.bounds
        if len(self.outbox) > bounds.queue_packets or self.outbox.bytes > bounds.queue_bytes:
            # A durable event must not be dropped in silence: end the connection, the client comes back
            # with its last_seq and is caught up from the store.
            self.abort("overflow")

    def _queue(self, message: Message) -> None:
        bounds, queue = self.server.bounds, self.queue
        packets, size_bytes = queue.qsize() + len(message.packets), queue.bytes + len(message.wire)
        if packets > bounds.queue_packets or size_bytes > bounds.queue_bytes:
            self.abort("overflow")
            return
        for packet in message.packets:
            queue.put_nowait(eio.Packet(eio.MESSAGE, packet.decode()))

    async def send(self, pkt: Any) -> None:
        """The library's packets (open, connect, acks, close) on the same ordered road."""
        if self.closed:
            return
        if not self.direct:
            await self.queue.put(pkt)
            return
        encoded = pkt.encode()
        wire = frame(encoded.encode()) if isinstance(encoded, str) else frame(encoded, 0x2)
        self._write_or_hold(wire)

    def _write_or_hold(self, wire: bytes) -> None:
        if self.write is not None:
            self.write(wire)
        else:
            message = Message((), DeliveryClass.CONTROL)
            message.wire = wire
            self._hold(message)

    async def poll(self) -> list[Any]:
        """What waits, as soon as something does; the rest comes with the next poll."""
        try:
            async with asyncio.timeout(self.server.ping_interval + self.server.ping_timeout):
                packet = await self.queue.get()
        except TimeoutError as error:
            raise QueueEmpty from error
        packets = []
        while packet is not None:
            packets.append(packet)
            if len(packets) >= POLL_PACKETS or self.queue.empty():
                return packets
            packet = self.queue.get_nowait()
        if packets:
            self.queue.put_nowait(None)  # the end is for the next poll to find
        return packets

    # -------------------------------------------------------------- becoming direct

    async def _upgrade_websocket(self, environ: dict[str, Any]) -> Any:
        if self.protocol is not None or self.upgrading:
            return self.server._bad_request("An upgrade is under way.")
        handle = environ["asgi.scope"].get("extensions", {}).get(EXTENSION)
        if handle is not None and self.server.direct:
            self.protocol = handle["protocol"]
        try:
            return await super()._upgrade_websocket(environ)
        finally:
            if not self.direct:
                self.protocol = None

    async def _websocket_handler(self, ws: Any) -> Any:
        if self.protocol is None:
            return await super()._websocket_handler(ws)
        if self.connected and not await self._probe(ws):
            return None
        upgrade, self.connected = self.connected, True
        self._adopt(upgraded_from_polling=upgrade)
        return None

    async def _probe(self, ws: Any) -> bool:
        """The upgrade's dance: `2probe`, `3probe`, `5`. Packets stay in the polling queue until then."""
        self.upgrading = True
        try:
            async with asyncio.timeout(self.server.ping_timeout):
                if await ws.wait() != "2probe":
                    return False
                await ws.send("3probe")
                await self.queue.put(eio.Packet(eio.NOOP))  # ends the poll that is under way
                return bool(await ws.wait() == "5") and not self.closed
        except OSError:  # lost, or too late
            return False
        finally:
            self.upgrading = False

    def _adopt(self, *, upgraded_from_polling: bool) -> None:
        """From here on the websocket is ours; what the queue holds goes out first. Never awaits."""
        protocol = self.protocol
        if protocol is None:
            raise RuntimeError("nothing to adopt")
        self.upgraded = True
        while not self.queue.empty():
            packet = self.queue.get_nowait()
            if packet is not None and packet.packet_type != eio.NOOP:
                encoded = packet.encode()
                protocol.transport.write(frame(encoded.encode()))
        if upgraded_from_polling:
            self.queue.put_nowait(None)  # releases a poll that a hasty client left behind
        else:
            self.queue = None  # 3 KiB that a direct session never needs
        self.write = protocol.transport.write
        protocol.adopt(self)
        if protocol.write_paused:
            self.paused()

    # -------------------------------------------------------------- websocket.Sink

    def feed(self, message: bytes) -> None:
        """One Engine.IO packet from the peer."""
        kind = message[:1]
        if kind == b"4":
            self._receive(message)
        elif kind == b"3":
            self.pong()
        elif kind == b"1":
            self.server.own(self.close(wait=False, abort=True, reason=self.server.reason.CLIENT_DISCONNECT))
        else:
            self.abort("protocol")

    def refuse_binary(self) -> None:
        """No event of the contract is binary."""
        self.abort("binary")

    def paused(self) -> None:
        self.write = None
        if self.paused_at is None:
            self.paused_at = asyncio.get_running_loop().time()
            self.server.slow.add(self)
            self.server.slowed += 1

    def resumed(self) -> None:
        protocol = self.protocol
        if protocol is None or protocol.closing or self.ending:
            return
        self.paused_at = None  # it took something: if it pauses again, that is another pause
        while self.outbox and not protocol.write_paused:
            protocol.transport.write(self.outbox.take())
        if not protocol.write_paused:
            self.outbox = None
            self.server.slow.discard(self)
            self.write = protocol.transport.write

    def shut(self) -> None:
        self.write = None

    def lost(self) -> None:
        self.write = None
        self.outbox = None  # the heartbeat holds on to this object until its next turn: not to a megabyte
        self.server.slow.discard(self)
        if self.permit is not None:
            self.permit.leave()
        if not self.closed and not self.closing:
            self.server.own(self.close(wait=False, abort=True, reason=self.server.reason.TRANSPORT_CLOSE))
        self.server.sockets.pop(self.sid, None)

    # -------------------------------------------------------------- in

    def _receive(self, message: bytes) -> None:
        try:
            text = message[1:].decode()
        except UnicodeDecodeError:
            self.abort("protocol")
            return
        if self._inbox is not None:
            self._inbox.append(text)
            if len(self._inbox) >= INBOX_LIMIT:
                self._stop_reading(INBOX_FULL)
            return
        self._inbox = deque((text,))
        self.server.own(self._work())

    async def _work(self) -> None:
        """Handle what arrived, one after the other; the task ends when nothing is left."""
        inbox = self._inbox
        while inbox and not self.closed:
            await self._handle(inbox.popleft())
        self._inbox = None
        self._read_again(INBOX_FULL)

    def arrived(self, frames: int, size_bytes: int) -> None:
        """Who sends too much is read more slowly; who goes on and on is ended."""
        limits = self.server.bounds.inflow
        if limits is None:
            return
        loop = asyncio.get_running_loop()
        now_s = loop.time()
        inflow = self._inflow
        if inflow is None:
            inflow = self._inflow = Inflow(limits, now_s)
        excess = inflow.take(frames, size_bytes, limits, now_s)
        if excess is None:
            return
        self.server.metrics.rate_limited.inc(excess)
        debt_s = inflow.debt_s(limits)
        if inflow.offend(limits, now_s) or debt_s > LARGEST_DEBT_S:
            self.abort("flood")
        elif self.direct and not self._unread & IN_DEBT:
            self._stop_reading(IN_DEBT)
            loop.call_later(debt_s, self._read_again, IN_DEBT)

    def _stop_reading(self, why: int) -> None:
        if not self._unread and self.protocol is not None and not self.protocol.closing:
            self.protocol.transport.pause_reading()
        self._unread |= why

    def _read_again(self, why: int) -> None:
        if not self._unread & why:
            return
        self._unread &= ~why
        if not self._unread and self.protocol is not None and not self.protocol.closing:
            self.protocol.transport.resume_reading()

    async def _handle(self, text: str) -> None:
        try:
            await self.server.handlers["message"](self.sid, text)
        except Exception:
            log.warning("unreadable packet, connection aborted", exc_info=log.isEnabledFor(logging.DEBUG))
            self.abort("protocol")

    async def handle_post_request(self, environ: dict[str, Any]) -> None:
        """Packets of a polling client, in order; one that breaks the protocol is ended, not just logged."""
        body = await environ["wsgi.input"].read(self.server.max_http_buffer_size + 1)
        if len(body) > self.server.max_http_buffer_size:
            raise ContentTooLongError
        packets = body.decode(errors="replace").split("\x1e")
        self.arrived(len(packets), len(body))
        if len(packets) > POST_PACKETS:
            self.abort("protocol")
        for packet in packets:
            if self.closed or self.ending:
                return
            if packet[:1] == "4":
                await self._handle(packet[1:])
            elif packet == "3":
                self.pong()
            elif packet == "1":
                await self.close(wait=False, abort=True, reason=self.server.reason.CLIENT_DISCONNECT)
            else:
                self.abort("binary" if packet[:1] == "b" else "protocol")

    # -------------------------------------------------------------- heartbeat

    def schedule_ping(self) -> None:
        self.last_ping = None
        self.server.heartbeat.schedule(self, asyncio.get_running_loop().time())

    def pong(self) -> None:
        """The peer answered; a pong nobody asked for changes nothing."""
        if self.ping_sent_at is not None:
            self.ping_sent_at = None
            self.server.heartbeat.schedule(self, asyncio.get_running_loop().time())

    async def receive(self, pkt: Any) -> None:
        if pkt.packet_type == eio.PONG:
            self.pong()
            return
        await super().receive(pkt)

    def send_ping(self) -> None:
        if self.direct:
            self._write_or_hold(ENGINE_PING)
        elif self.queue is not None:
            self.queue.put_nowait(eio.Packet(eio.PING))

    async def ping_timed_out(self) -> None:
        self.server.metrics.aborts.inc("ping_timeout")
        await self._drop(self.server.reason.PING_TIMEOUT)

    async def check_ping_timeout(self) -> bool:
        return not self.closed

    # -------------------------------------------------------------- the end

    async def close(self, wait: bool = True, abort: bool = False, reason: str | None = None) -> None:
        """Tell the application, then the peer. Never waits for a peer."""
        if not self.direct:
            await super().close(wait=False, abort=abort, reason=reason)
            if self.queue is not None:
                self.queue.put_nowait(None)  # releases a writer or a poll that waits
            if self.permit is not None:
                self.permit.leave()
            return
        if self.closed or self.closing:
            return
        self.closing = True
        self.write = None
        ended = reason or self.server.reason.SERVER_DISCONNECT
        await self.server._trigger_event("disconnect", self.sid, ended, run_async=False)
        self.closed = True
        self.server.slow.discard(self)
        self.server.sockets.pop(self.sid, None)
        if self.protocol is None:
            return
        if abort and reason not in (self.server.reason.CLIENT_DISCONNECT, self.server.reason.TRANSPORT_CLOSE):
            self.protocol.abort()
        else:
            self.protocol.close()

    def end(self, reason: str) -> None:
        """Close in good order, counted by reason: what was posted before still goes out, nothing after it."""
        if self.closed or self.closing or self.ending:
            return
        self.ending = True
        self.write = None  # a flush may come before the closing task has its turn
        self.server.metrics.aborts.inc(reason)
        self.server.own(self.close(wait=False, abort=False))

    def abort(self, reason: str) -> None:
        """Drop the connection now, counted by reason; the client may come back and is caught up."""
        if self.closed or self.closing or self.ending:
            return
        self.ending = True
        self.server.metrics.aborts.inc(reason)
        self.write = None
        if self.protocol is not None:
            self.protocol.abort()
        if not self.direct:  # otherwise connection_lost follows and does the rest
            self.server.own(self._drop(self.server.reason.TRANSPORT_ERROR))

    async def _drop(self, reason: str) -> None:
        await self.close(wait=False, abort=True, reason=reason)
        self.server.sockets.pop(self.sid, None)


class Engine(engineio.AsyncServer):  # type: ignore[misc]
    """The Engine.IO server: its sessions, their heartbeat, the slow ones."""

    sockets: dict[str, Session]
    _async: dict[str, Any]

    def __init__(
        self, *args: Any, bounds: Bounds, metrics: Metrics, direct: bool = True, **kwargs: Any
    ) -> None:
        super().__init__(*args, monitor_clients=False, **kwargs)
        self._async = {**self._async, "translate_request": environ_of}
        self.bounds = bounds
        self.direct = direct
        self.heartbeat = Heartbeat(self.ping_interval, self.ping_timeout)
        self.slow: set[Session] = set()
        self.slowed = 0
        """Times that a session became slow."""
        self.metrics = metrics
        self.on_open: Callable[[Session], None] | None = None
        """Called for each new session, before anything is known of its user."""
        self._tasks: set[asyncio.Task[Any]] = set()

    def own(self, work: Any) -> None:
        """Run a coroutine as a task that somebody holds."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _log_error_once(self, message: str, message_key: str) -> None:
        # The library means errors of clients: stale sessions after a deploy, odd transports.
        log.debug("request refused: %s", message)

    create_queue = PacketQueue

    # -------------------------------------------------------------- http_upgrade.Host

    def welcomes(self, opening: Opening, scheme: str) -> bool:
        """May this opening go the short way? Where not, the libraries' way says why."""
        if not self.direct:
            return False
        if self.cors_allowed_origins == [] or b"origin" not in opening.headers:
            return True
        environ = origin_environ(opening.headers.items(), scheme)
        allowed = self._cors_allowed_origins(environ)
        return allowed is None or environ.get("HTTP_ORIGIN") in allowed

    def open_direct(self, protocol: DirectProtocol, permit: Permit, answer: bytes) -> None:
        """A session on a websocket that is established with this one write."""
        session = self._open(permit, protocol)
        protocol.sink = session
        session.write = protocol.transport.write
        session.write(answer + frame(b"0" + orjson.dumps(self._handshake(session.sid, []))))
        session.schedule_ping()

    def _open(self, permit: Permit | None, protocol: FanoutProtocol | None = None) -> Session:
        sid = self.generate_id()
        session = self.sockets[sid] = Session(self, sid, permit, protocol)
        if self.on_open is not None:
            self.on_open(session)
        return session

    def _handshake(self, sid: str, upgrades: list[str]) -> dict[str, Any]:
        return {
            "sid": sid,
            "upgrades": upgrades,
            "pingTimeout": int(self.ping_timeout * 1000),
            "pingInterval": int(self.ping_interval * 1000),
            "maxPayload": self.max_http_buffer_size,
        }

    async def _handle_connect(self, environ: dict[str, Any], transport: str, jsonp_index: Any = None) -> Any:
        session = self._open(take_permit(environ["asgi.scope"]))
        sid = session.sid
        await session.send(eio.Packet(eio.OPEN, self._handshake(sid, self._upgrades(sid, transport))))
        accepted = await self._trigger_event("connect", sid, slim_environ(environ), run_async=False)
        if accepted is not None and accepted is not True:
            self.sockets.pop(sid, None)
            return self._unauthorized(accepted or None)
        session.schedule_ping()
        if transport == "websocket":
            answer = await session.handle_get_request(environ)
            if session.closed:
                self.sockets.pop(sid, None)
            return answer
        session.connected = True
        return self._ok(await session.poll(), jsonp_index=jsonp_index)

    async def watch(self) -> None:
        """Every second: abort the peers that took nothing for too long, forget the closed."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(min(1.0, self.bounds.slow_abort_s / 4))
            self.sweep(loop.time())

    def sweep(self, now_s: float) -> None:
        """Abort direct sessions paused for longer than `slow_abort_s`; drop closed leftovers."""
        for session in [*self.slow]:
            if session.paused_at is not None and now_s - session.paused_at > self.bounds.slow_abort_s:
                session.abort("stuck")
        for sid in [sid for sid, session in self.sockets.items() if session.closed]:
            self.sockets.pop(sid, None)
