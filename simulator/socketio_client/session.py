"""One connection's life: Engine.IO handshake and heartbeats, namespace CONNECT, events, acknowledgements.

Made for every attempt and thrown away with it. Knows no policy: what it sees it tells its owner, and a
connection that breaks the protocol it ends. Acknowledges events that ask for it with nothing.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Final, Literal, Protocol

from .codec import engineio, socketio
from .codec.engineio import Handshake
from .codec.socketio import split_event
from .codec.websocket import ReadCache
from .connector import Connector
from .errors import NotConnectedError, ProtocolError
from .heartbeat import HeartbeatSweep
from .polling import PollingLink
from .transport import Link, LinkFailure
from .websocket import WebsocketLink

TransportName = Literal["websocket", "polling", "upgrade"]
Auth = Callable[[], Mapping[str, object] | None]
AckCallback = Callable[[bytes, int], None]
Waiting = AckCallback | asyncio.Future[bytes]
LEAVE_GRACE_S: Final = 1.0
ROOT_PREFIX: Final = socketio.event_prefix("/")
MAX_PENDING_ACKS: Final = 4096
logger = logging.getLogger(__name__)


@dataclass(slots=True)
class ClientCounters:
    """What one client did and saw since it was made; all only grow.

    attempts: connections begun. connects: CONNECT answers. connect_failures: attempts that ended before
    that, of which refused (CONNECT_ERROR), http_refused (an HTTP status that is not the expected one),
    throttled (503 with Retry-After) and timed_out. disconnects: lost connections after CONNECT.
    ping_timeouts: dead peers found by the sweep. emits_dropped: events not sent because there was no
    connection or its write buffer was full. acks_lost: acknowledgements still owed at a disconnect.
    """

    attempts: int = 0
    connects: int = 0
    connect_failures: int = 0
    refused: int = 0
    http_refused: int = 0
    throttled: int = 0
    timed_out: int = 0
    disconnects: int = 0
    ping_timeouts: int = 0
    protocol_errors: int = 0
    handler_errors: int = 0
    pings: int = 0
    events: int = 0
    acks: int = 0
    acks_lost: int = 0
    attachments: int = 0
    emits: int = 0
    emits_dropped: int = 0
    upgrades: int = 0
    upgrade_failures: int = 0

    def add(self, other: "ClientCounters") -> None:
        for field in fields(self):
            setattr(self, field.name, getattr(self, field.name) + getattr(other, field.name))


class PendingAcks:
    """Ids count from 1. Each waiting callback or future is served at most once."""

    __slots__ = ("_newest", "_waiting")

    def __init__(self) -> None:
        self._waiting: dict[int, Waiting] = {}
        self._newest = 0

    def next_id(self) -> int | None:
        """The id for the next event, or None if too many answers are owed already."""
        return self._newest + 1 if len(self._waiting) < MAX_PENDING_ACKS else None

    def expect(self, ack_id: int, waiting: Waiting) -> None:
        """The event with the id from `next_id` is on its way."""
        self._newest = ack_id
        self._waiting[ack_id] = waiting

    def forget(self, ack_id: int) -> None:
        """Nobody waits for this one any more."""
        self._waiting.pop(ack_id, None)

    def resolve(self, ack_id: int, args: bytes, at_ns: int, counters: ClientCounters) -> None:
        """An answer came; one that nobody waits for (a caller that gave up, a second answer) is ignored."""
        waiting = self._waiting.pop(ack_id, None)
        if waiting is None:
            return
        counters.acks += 1
        if isinstance(waiting, asyncio.Future):
            if not waiting.done():
                waiting.set_result(args)
            return
        try:
            waiting(args, at_ns)
        except Exception:
            counters.handler_errors += 1
            logger.exception("an acknowledgement callback raised")

    def lose(self, counters: ClientCounters) -> None:
        """The connection ended: futures fail, callbacks are never called."""
        waiting, self._waiting = self._waiting, {}
        counters.acks_lost += len(waiting)
        for one in waiting.values():
            if isinstance(one, asyncio.Future) and not one.done():
                one.set_exception(NotConnectedError("the connection ended before the acknowledgement came"))


class EventHandler(Protocol):
    """Where events go."""

    def on_event(self, client: Any, name: str, args: bytes, at_ns: int) -> None:
        """An event came; see `ClientHandler`."""


class SessionOwner(Protocol):
    """The client of a session: what it wants, and what it is told."""

    transport: TransportName
    namespace: str
    auth: Auth
    connector: Connector
    sweep: HeartbeatSweep
    read_cache: ReadCache | None
    counters: ClientCounters

    @property
    def handler(self) -> EventHandler:
        """Told of every event."""

    def session_opened(self) -> None:
        """Engine.IO is open and CONNECT is on its way."""

    def session_connected(self, sid: str, at_ns: int) -> None:
        """The namespace accepted us."""

    def session_refused(self, session: "Session", body: bytes, at_ns: int) -> None:
        """The namespace refused us; the session leaves by itself."""

    def session_lost(self, session: "Session", failure: LinkFailure, at_ns: int) -> None:
        """The connection is gone, or never came about."""

    def session_left(self, session: "Session") -> None:
        """A session is over and done with."""


class _Upgrade:
    """From long polling to websocket without loss or reorder; owns the websocket until the switch.

    `2probe` -> `3probe` -> both poll channels silent -> `5` -> what was waiting. A probe that fails leaves
    polling as it was. switched(link): called in place of the old link, before any packet of the new one.
    failed(): polling goes on.
    """

    __slots__ = ("_failed", "_over", "_polling", "_probed", "_switched", "_websocket")

    def __init__(
        self,
        connector: Connector,
        polling: PollingLink,
        sid: str,
        switched: Callable[[WebsocketLink], None],
        failed: Callable[[], None],
        read_cache: ReadCache | None = None,
    ) -> None:
        self._polling = polling
        self._switched = switched
        self._failed = failed
        self._websocket = WebsocketLink(connector, self, sid, read_cache)
        self._probed = False
        self._over = False

    def start(self) -> None:
        self._websocket.open()

    def link_ready(self, link: Link, at_ns: int) -> None:
        link.send(engineio.PROBE_PING)

    def packet(self, packet: bytes, at_ns: int) -> None:
        """Nothing but the answer to the probe may come."""
        if packet == engineio.PROBE_PONG and not self._probed:
            self._probed = True
            self._polling.silence(self._switch)
        else:
            self._give_up()

    def binary(self, payload: bytes, at_ns: int) -> None:
        self._give_up()

    def link_lost(self, link: Link, failure: LinkFailure, at_ns: int) -> None:
        self._give_up()

    def _switch(self) -> None:
        if self._over:
            return
        self._over = True
        websocket = self._websocket
        websocket.send(engineio.UPGRADE_PACKET)
        for packet in self._polling.retire():
            websocket.send(packet)
        self._switched(websocket)

    def _give_up(self) -> None:
        if self._over:
            return
        self._over = True
        self._websocket.abort()
        self._polling.speak()
        self._failed()

    def cancel(self) -> None:
        """The session is over: stop probing and say nothing."""
        if not self._over:
            self._over = True
            self._websocket.abort()

    async def settled(self) -> None:
        await self._websocket.settled()


class Session:
    """bucket, deadline_ns: for the heartbeat sweep."""

    __slots__ = (
        "_acks",
        "_array_at",
        "_attachments",
        "_client",
        "_event_prefix",
        "_grace",
        "_left",
        "_link",
        "_muted",
        "_over",
        "_patience_ns",
        "_paused",
        "_pending",
        "_upgrade",
        "bucket",
        "deadline_ns",
    )

    def __init__(self, client: SessionOwner) -> None:
        self._client = client
        namespace = client.namespace
        self._event_prefix = ROOT_PREFIX if namespace == "/" else socketio.event_prefix(namespace)
        self._array_at = len(self._event_prefix) - 2
        self._attachments = 0  # binary messages still owed to _pending
        self._pending: socketio.Packet | None = None
        self._acks: PendingAcks | None = None  # most clients never ask for one
        self._upgrade: _Upgrade | None = None
        self._grace: asyncio.TimerHandle | None = None  # set while leaving
        self._left: asyncio.Future[None] | None = None
        self._patience_ns = 0
        self._paused = False
        self._muted = False
        self._over = False
        self.deadline_ns = 0
        self.bucket = -1
        self._link: Link = (
            WebsocketLink(client.connector, self, read_cache=client.read_cache)
            if client.transport == "websocket"
            else PollingLink(client.connector, self)
        )

    def open(self) -> None:
        self._link.open()

    # -- from the link -------------------------------------------------------------------------------

    def link_ready(self, link: Link, at_ns: int) -> None:
        """The websocket is open; the server speaks first."""

    def packet(self, packet: bytes, at_ns: int) -> None:
        """One Engine.IO packet. Raises ProtocolError, which the link turns into its end."""
        if self._attachments:
            self._control(packet, at_ns)
            return
        read_cache = self._client.read_cache
        if read_cache is not None and (known := read_cache.events.get(packet)) is not None:
            self._event(known[0], known[1], at_ns)
        elif packet.startswith(self._event_prefix):
            event = split_event(packet, self._array_at)
            if read_cache is not None:
                read_cache.note_event(packet, event)
            self._event(event[0], event[1], at_ns)
        else:
            self._control(packet, at_ns)

    def _event(self, name: str, args: bytes, at_ns: int) -> None:
        client = self._client
        client.counters.events += 1
        try:
            client.handler.on_event(client, name, args, at_ns)
        except Exception:
            client.counters.handler_errors += 1
            logger.exception("a client handler raised on event %r", name)

    def binary(self, payload: bytes, at_ns: int) -> None:
        """An attachment: counted and dropped; the last one completes its packet."""
        if not self._attachments or self._pending is None:
            raise ProtocolError("a binary message belongs to no packet")
        self._client.counters.attachments += 1
        self._attachments -= 1
        if not self._attachments:
            packet, self._pending = self._pending, None
            self._message(packet, at_ns)

    def link_lost(self, link: Link, failure: LinkFailure, at_ns: int) -> None:
        self.finish()
        self._client.session_lost(self, failure, at_ns)

    # -- packets --------------------------------------------------------------------------------------

    def _control(self, packet: bytes, at_ns: int) -> None:
        kind = packet[0] if packet else -1
        if kind == engineio.MESSAGE:
            self._receive(socketio.decode(packet), at_ns)
        elif kind == engineio.PING:
            self._client.counters.pings += 1
            self.deadline_ns = at_ns + self._patience_ns
            self._send(engineio.PONG_PACKET + packet[1:])
        elif kind == engineio.OPEN:
            self._handshaken(engineio.decode_handshake(packet[1:]), at_ns)
        elif kind == engineio.CLOSE:
            self._end(LinkFailure("transport close", "the server closed the session"), at_ns)
        elif kind not in (engineio.NOOP, engineio.PONG):
            raise ProtocolError("the server sent an unknown Engine.IO packet")

    def _handshaken(self, handshake: Handshake, at_ns: int) -> None:
        if self._patience_ns:
            raise ProtocolError("the server opened the same session twice")
        client = self._client
        self._patience_ns = handshake.patience_ns
        self.deadline_ns = at_ns + self._patience_ns
        client.sweep.watch(self)
        self._link.handshaken(handshake)
        client.session_opened()
        try:
            connect = socketio.encode_connect(client.namespace, client.auth())
        except Exception as error:
            logger.exception("the auth callback of a client raised, or its payload is no JSON")
            self._end(LinkFailure("transport error", f"no auth payload: {error!r}"), at_ns)
            return
        self._send(connect)
        if client.transport == "upgrade" and "websocket" in handshake.upgrades:
            self._begin_upgrade(handshake.sid)

    def _receive(self, packet: socketio.Packet, at_ns: int) -> None:
        if self._attachments:
            raise ProtocolError("a packet came where a binary attachment was owed")
        if packet.attachments:
            self._pending, self._attachments = packet, packet.attachments
        else:
            self._message(packet, at_ns)

    def _message(self, packet: socketio.Packet, at_ns: int) -> None:
        client = self._client
        if packet.namespace != client.namespace:
            return  # only our own namespace was ever joined
        kind = packet.kind
        if kind in (socketio.EVENT, socketio.BINARY_EVENT):
            name, args = split_event(packet.body, 0)
            if packet.ack_id is not None:
                self._send(socketio.encode_ack(packet.namespace, packet.ack_id))
            self._event(name, args, at_ns)
        elif kind in (socketio.ACK, socketio.BINARY_ACK):
            self._acknowledged(packet, at_ns)
        elif kind == socketio.CONNECT:
            client.session_connected(_sid(packet.body), at_ns)
        elif kind == socketio.CONNECT_ERROR:
            client.session_refused(self, packet.body, at_ns)
            self._leave()
        else:
            failure = LinkFailure("server disconnect", "the server disconnected the client")
            client.session_lost(self, failure, at_ns)
            self._leave()

    def _acknowledged(self, packet: socketio.Packet, at_ns: int) -> None:
        args = socketio.strip_array(packet.body)
        if self._acks is not None and packet.ack_id is not None:
            self._acks.resolve(packet.ack_id, args, at_ns, self._client.counters)

    # -- upgrade --------------------------------------------------------------------------------------

    def _begin_upgrade(self, sid: str) -> None:
        if isinstance(self._link, PollingLink):
            self._upgrade = _Upgrade(
                self._client.connector,
                self._link,
                sid,
                self._upgraded,
                self._upgrade_failed,
                self._client.read_cache,
            )
            self._upgrade.start()

    def _upgraded(self, link: WebsocketLink) -> None:
        self._upgrade = None
        self._client.counters.upgrades += 1
        self._link = link
        link.owner = self
        if self._paused:
            link.pause_reading()

    def _upgrade_failed(self) -> None:
        self._upgrade = None
        self._client.counters.upgrade_failures += 1

    # -- from the client ------------------------------------------------------------------------------

    def _send(self, packet: bytes) -> bool:
        return not self._muted and self._link.send(packet)

    def emit(self, name: str, args: Sequence[object], ack: Waiting | None) -> int | None:
        """Send an event; its acknowledgement id (0 if none was asked for), or None if it was not sent."""
        namespace = self._client.namespace
        if ack is None:
            return 0 if self._send(socketio.encode_event(namespace, name, args)) else None
        acks = self._acks = self._acks or PendingAcks()
        ack_id = acks.next_id()
        if ack_id is None or not self._send(socketio.encode_event(namespace, name, args, ack_id)):
            return None
        acks.expect(ack_id, ack)
        return ack_id

    def forget_ack(self, ack_id: int) -> None:
        if self._acks is not None:
            self._acks.forget(ack_id)

    def pause_reading(self, *, mute: bool = False) -> None:
        """Stop reading; the sweep looks away, for a client that does not read sees no heartbeats.

        mute: send nothing either.
        """
        self._paused = True
        self._muted = self._muted or mute
        self._client.sweep.forget(self)
        self._link.pause_reading()

    def resume_reading(self) -> None:
        """Read and answer again, with fresh patience."""
        self._paused = self._muted = False
        self._link.resume_reading()
        if self._patience_ns and not self._over:
            self.deadline_ns = time.monotonic_ns() + self._patience_ns
            self._client.sweep.watch(self)

    def deadline_passed(self, at_ns: int) -> None:
        """The sweep: no PING in time."""
        patience_s = self._patience_ns / 1e9
        self._end(LinkFailure("ping timeout", f"no heartbeat from the server for {patience_s:g} s"), at_ns)

    def leave(self) -> None:
        """Say goodbye: DISCONNECT, then the transport's own close. The client hears nothing more.

        `settled` tells when the server went along, or the connection was reset after LEAVE_GRACE_S.
        """
        self._muted = False
        self._send(socketio.encode_disconnect(self._client.namespace))
        self._leave()

    def _leave(self) -> None:
        loop = asyncio.get_running_loop()
        self._client.sweep.forget(self)
        self._left = loop.create_future()
        self._grace = loop.call_later(LEAVE_GRACE_S, self.abort)
        self._link.owner = _Leaving(self)
        if self._acks is not None:
            self._acks.lose(self._client.counters)
        if self._upgrade is not None:
            self._upgrade.cancel()
            if isinstance(self._link, PollingLink):
                self._link.speak()
        self._link.resume_reading()  # else the server's goodbye would never be read
        self._link.close()

    async def settled(self) -> None:
        """Wait until the connections of a session that left or was aborted are closed."""
        if self._left is not None:
            await self._left
        if self._upgrade is not None:
            await self._upgrade.settled()
        await self._link.settled()

    def _end(self, failure: LinkFailure, at_ns: int) -> None:
        """The session is over whatever the transport thinks."""
        self.abort()
        self._client.session_lost(self, failure, at_ns)

    def abort(self) -> None:
        """Reset the connection now; the client hears nothing more."""
        self.finish()
        self._link.abort()

    def finish(self) -> None:
        """Let go of everything that outlives no connection. Idempotent."""
        if self._over:
            return
        self._over = True
        self._client.sweep.forget(self)
        if self._upgrade is not None:
            self._upgrade.cancel()
        if self._grace is not None:
            self._grace.cancel()
        if self._left is not None and not self._left.done():
            self._left.set_result(None)
        if self._acks is not None:
            self._acks.lose(self._client.counters)
        self._client.session_left(self)


class _Leaving:
    """Owner of a link whose client has left: nothing that still comes is anybody's business."""

    __slots__ = ("_session",)

    def __init__(self, session: Session) -> None:
        self._session = session

    def link_ready(self, link: Link, at_ns: int) -> None:
        """Too late."""

    def packet(self, packet: bytes, at_ns: int) -> None:
        """Too late."""

    def binary(self, payload: bytes, at_ns: int) -> None:
        """Too late."""

    def link_lost(self, link: Link, failure: LinkFailure, at_ns: int) -> None:
        self._session.finish()


def _sid(body: bytes) -> str:
    fields = engineio.load_json(body, "the CONNECT answer")
    sid = fields.get("sid") if isinstance(fields, dict) else None
    if not isinstance(sid, str):
        raise ProtocolError("the CONNECT answer has no sid: the server speaks an older protocol")
    return sid
