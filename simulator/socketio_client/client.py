"""The lean Socket.IO client: one simulated user's connection, kept alive as a reconnect policy says.

A state machine around one `Session` at a time; memory and CPU are small enough for ten thousand in a process.
Holds no task of its own while connected, and one timer only while it waits.
"""

import asyncio
import ipaddress
import logging
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType
from typing import Any, Final, Protocol

from .codec.http import encode_headers
from .codec.socketio import load_arguments
from .codec.websocket import ReadCache
from .connector import Connector
from .endpoint import Endpoint
from .errors import CallTimeoutError, ConnectFailedError, NotConnectedError
from .heartbeat import HeartbeatSweep
from .session import AckCallback, Auth, ClientCounters, Session, TransportName, Waiting
from .transport import LinkFailure

NO_HEADERS: Final[Mapping[str, str]] = MappingProxyType({})
logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ReconnectPolicy:
    """How a client comes back.

    delay_s: before the first retry, doubled with each further one. delay_max_s: upper bound, applied after
    the jitter as the JavaScript client does, so a client that is capped waits exactly delay_max_s.
    jitter: 0..1, share of the delay added or taken at random. attempts: retries in a row before giving up,
    None for ever. retry_refused: also after CONNECT_ERROR; retry_kicked: also after a DISCONNECT packet of
    the server. The JavaScript client does neither.
    """

    enabled: bool = True
    delay_s: float = 1.0
    delay_max_s: float = 5.0
    jitter: float = 0.5
    attempts: int | None = None
    retry_refused: bool = False
    retry_kicked: bool = False

    def __post_init__(self) -> None:
        if self.delay_s < 0 or self.delay_max_s < self.delay_s:
            raise ValueError("reconnect delays must satisfy 0 <= delay_s <= delay_max_s")
        if not 0 <= self.jitter <= 1:
            raise ValueError("reconnect jitter must be from 0 to 1")
        if self.attempts is not None and self.attempts < 0:
            raise ValueError("reconnect attempts must not be negative")

    @classmethod
    def default(cls) -> "ReconnectPolicy":
        """What socket.io-client does unless told otherwise: 1 s, doubled up to 5 s, jitter 0.5, for ever."""
        return cls()

    @classmethod
    def tuned(cls) -> "ReconnectPolicy":
        """What a large service should ask of its clients: 1.5 s, up to 30 s, jitter 0.9."""
        return cls(delay_s=1.5, delay_max_s=30.0, jitter=0.9)

    @classmethod
    def none(cls) -> "ReconnectPolicy":
        """Never come back by itself."""
        return cls(enabled=False)

    @classmethod
    def immediate(cls) -> "ReconnectPolicy":
        """No back-off: a tenth of a second after each failure, all at the same time; what clients do that
        were never told better."""
        return cls(delay_s=0.1, delay_max_s=0.1, jitter=0.0)

    def delay_for(self, attempt: int, rng: random.Random) -> float | None:
        """Seconds to wait before retry number `attempt` (0 is the first); None: give up."""
        if not self.enabled or (self.attempts is not None and attempt >= self.attempts):
            return None
        base_s = self.delay_s * 2.0 ** min(attempt, 32)
        return min(self.delay_max_s, base_s * (1.0 + self.jitter * rng.uniform(-1.0, 1.0)))

    def delay_after_hint(self, hint_s: float, rng: random.Random) -> float:
        """Seconds to wait when the server said `Retry-After: hint_s`: never less, spread by the jitter."""
        spread_s = self.jitter * max(hint_s, self.delay_s)
        return hint_s + spread_s * rng.random()


class ClientState(Enum):
    """Where a client is in its life.

    idle -> connecting (TCP, HTTP, Engine.IO) -> open (CONNECT sent) -> connected -> waiting (for its next
    try) -> connecting ...; stopped: by `stop()`, or for good because its policy gave up.
    """

    IDLE = "idle"
    CONNECTING = "connecting"
    OPEN = "open"
    CONNECTED = "connected"
    WAITING = "waiting"
    STOPPED = "stopped"


class ClientHandler(Protocol):
    """The owner of clients; one may serve any number of them. at_ns: `time.monotonic_ns()`, once per read.

    Calls come from the event loop, never concurrently, in wire order. A handler must not block and must not
    raise: raising costs only that one call, which is counted in `handler_errors` and logged.
    """

    def on_connect(self, client: "LeanClient", sid: str, at_ns: int) -> None:
        """The namespace accepted the client; `sid` is its Socket.IO id."""

    def on_event(self, client: "LeanClient", name: str, args: bytes, at_ns: int) -> None:
        """An event came.

        args: raw JSON text of the arguments without the enclosing brackets, neither parsed nor checked: a
        one-argument event gives that argument's document, no argument gives b"". Events that a server sends
        ahead of its CONNECT answer come before `on_connect`, as in the JavaScript client. Of an event with
        binary attachments the placeholders stay in `args`; the bytes are counted and dropped.
        """

    def on_refused(self, client: "LeanClient", body: bytes, at_ns: int) -> None:
        """The namespace refused the client (CONNECT_ERROR); `body` is the JSON text of the reason."""

    def on_disconnect(self, client: "LeanClient", reason: str, at_ns: int) -> None:
        """A connected client lost its connection; called exactly once for each `on_connect`.

        reason: `client stop`, `client drop`, `client offline`, `server disconnect`, `ping timeout`,
        `transport close`, `transport error` or `protocol error`; details are in `client.last_failure`.
        """


def no_auth() -> None:
    """The auth callback of a client that sends no auth payload."""
    return


class LeanClient:
    """One Socket.IO client that keeps itself connected.

    Attributes to read: state, sid (while connected), counters, last_failure (a sentence), cookies.
    tag: free for the owner. Attributes named below but not here are for the session.
    """

    __slots__ = (
        "_attempt",
        "_ghost",
        "_leaving",
        "_session",
        "_timer",
        "_waiters",
        "auth",
        "connect_timeout_s",
        "connector",
        "counters",
        "handler",
        "last_failure",
        "namespace",
        "policy",
        "read_cache",
        "rng",
        "sid",
        "state",
        "sweep",
        "tag",
        "transport",
    )

    def __init__(
        self,
        endpoint: Endpoint,
        handler: ClientHandler,
        *,
        transport: TransportName,
        namespace: str = "/",
        auth: Auth = no_auth,
        headers: Mapping[str, str] = NO_HEADERS,
        source_ip: str | None = None,
        rng: random.Random,
        policy: ReconnectPolicy,
        connect_timeout_s: float = 20.0,
        sweep: HeartbeatSweep | None = None,
        read_cache: ReadCache | None = None,
        tag: Any = None,
    ) -> None:
        """Nothing connects before `start()`.

        transport: `upgrade` begins with polling and goes over to websocket if the server offers it.
        auth: called afresh for each connection, so a cursor in it is the newest. rng: may be shared by all
        clients of a process (one is 2.5 KiB). connect_timeout_s: from the first SYN to the CONNECT answer.
        sweep: finds dead peers; give all clients of a process the same one, else each has its own timer.
        read_cache: remembers what was read for others as well; for clients of one namespace of a process.
        source_ip: an address of this machine to connect from. Raises ValueError on a namespace, header,
        transport or source address that cannot be meant.
        """
        if not namespace.startswith("/") or "," in namespace or "?" in namespace:
            raise ValueError(f"{namespace!r}: a namespace starts with '/' and holds neither ',' nor '?'")
        if transport not in ("websocket", "polling", "upgrade"):
            raise ValueError(f"{transport!r}: the transport is websocket, polling or upgrade")
        if source_ip is not None:
            ipaddress.ip_address(source_ip)
        self.handler = handler
        self.transport = transport
        self.namespace = namespace
        self.auth = auth
        self.connector = Connector(endpoint, encode_headers(headers), source_ip, rng)
        self.rng = rng
        self.policy = policy
        self.connect_timeout_s = connect_timeout_s
        self.sweep = sweep if sweep is not None else HeartbeatSweep()
        self.read_cache = read_cache
        self.tag = tag
        self.counters = ClientCounters()
        self.state = ClientState.IDLE
        self.sid: str | None = None
        self.last_failure = ""
        self._session: Session | None = None
        self._ghost: Session | None = None  # the half-open past of a client that went offline silently
        self._leaving: Session | None = None  # says goodbye; at most one
        self._timer: asyncio.TimerHandle | None = None  # of the connect deadline, or of the next try
        self._attempt = 0  # retries since the last CONNECT answer
        self._waiters: list[asyncio.Future[None]] | None = None

    @property
    def cookies(self) -> Mapping[str, str]:
        """The cookies the server, or a load balancer before it, has set so far."""
        return self.connector.cookies

    # -- life ------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to connect, and keep connected as the policy says; needs a running event loop.

        No effect unless idle or stopped.
        """
        if self.state in (ClientState.IDLE, ClientState.STOPPED):
            self._attempt = 0
            self._connect()

    async def wait_connected(self, timeout_s: float) -> None:
        """Wait until connected. Raises ConnectFailedError at the deadline, or at once if it gave up."""
        if self.state is ClientState.CONNECTED:
            return
        if self.state is ClientState.STOPPED:
            raise ConnectFailedError(f"the client gave up: {self.last_failure}")
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiters = self._waiters = self._waiters or []
        waiters.append(waiter)
        try:
            await asyncio.wait_for(waiter, timeout_s)
        except TimeoutError:
            why = f": {self.last_failure}" if self.last_failure else ""
            raise ConnectFailedError(f"not connected within {timeout_s:g} s{why}") from None
        finally:
            if waiter in waiters:
                waiters.remove(waiter)

    async def stop(self) -> None:
        """Leave cleanly (DISCONNECT, then close) and stay away until `start`; takes a second at most."""
        session, was_connected = self._detach()
        self.last_failure = "stopped by its owner"
        self._give_up()
        ghost, self._ghost = self._ghost, None
        if ghost is not None:
            ghost.abort()
        if session is not None:
            self._see_off(session)
            if was_connected:
                session.leave()
            else:
                session.abort()
        if was_connected:
            self.counters.disconnects += 1
            self._tell(self.handler.on_disconnect, "client stop", time.monotonic_ns())
        for one in (session or self._leaving, ghost):
            if one is not None:
                await one.settled()

    def drop(self) -> None:
        """Abort the TCP connection with a reset, as a crashed tab or a cut line does; the policy decides."""
        if self._session is not None:
            self._session.abort()
            failure = LinkFailure("client drop", "dropped by its owner")
            self.session_lost(self._session, failure, time.monotonic_ns())

    def go_offline(self, for_s: float, *, silent: bool = False) -> None:
        """Drop, stay away for `for_s`, then connect at once whatever the policy.

        No effect when idle or stopped. silent: the server is not told, the old socket stays half-open until
        the client is back, as with a laptop that sleeps.
        """
        if self.state in (ClientState.IDLE, ClientState.STOPPED):
            return
        session, was_connected = self._detach()
        if session is not None:
            if silent and was_connected and self._ghost is None:
                session.pause_reading(mute=True)
                self._ghost = session
            else:
                session.abort()
        self.last_failure = "taken offline by its owner"
        self._wait(for_s)
        if was_connected:
            self.counters.disconnects += 1
            self._tell(self.handler.on_disconnect, "client offline", time.monotonic_ns())

    # -- traffic ----------------------------------------------------------------------------------------

    def emit(self, name: str, *args: object, ack: AckCallback | None = None) -> bool:
        """Send an event; False (and counted) if not connected or the write buffer is full: nothing is kept.

        args: anything orjson can dump. ack: called at most once with the raw JSON text of the answer's
        arguments (no brackets) and its arrival time; never, if the connection ends first.
        """
        return self._emit(name, args, ack) is not None

    def _emit(self, name: str, args: tuple[object, ...], ack: Waiting | None) -> int | None:
        session = self._session
        sent = None
        if session is not None and self.state is ClientState.CONNECTED:
            sent = session.emit(name, args, ack)
        if sent is None:
            self.counters.emits_dropped += 1
        else:
            self.counters.emits += 1
        return sent

    async def call(self, name: str, *args: object, timeout_s: float) -> Any:
        """Send an event and wait for its acknowledgement: None, the value, or a tuple of several.

        Raises NotConnectedError, CallTimeoutError, ProtocolError (the answer is not JSON).
        """
        session = self._session
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        ack_id = self._emit(name, args, answer)
        if ack_id is None or session is None:
            raise NotConnectedError(f"{name!r} was not sent: the client is {self.state.value}")
        try:
            return load_arguments(await asyncio.wait_for(answer, timeout_s))
        except TimeoutError:
            raise CallTimeoutError(f"{name!r} was not acknowledged within {timeout_s:g} s") from None
        finally:
            session.forget_ack(ack_id)

    def pause_reading(self) -> None:
        """Stop taking bytes from the socket (a slow reader), until `resume_reading` or the next connection.

        The kernel's buffers take some megabytes before the server notices. Meanwhile the client sees no
        heartbeat, answers none and does not suspect the server either.
        """
        if self._session is not None:
            self._session.pause_reading()

    def resume_reading(self) -> None:
        """Take bytes again, after `pause_reading` or `half_open`."""
        if self._session is not None:
            self._session.resume_reading()

    def half_open(self) -> None:
        """Neither read nor answer heartbeats from now on, yet keep the socket, as a hung host does.

        Stays connected in its own eyes until `drop`, `stop` or `resume_reading`. The kernel still answers
        keep-alive probes, which a host without power would not.
        """
        if self._session is not None:
            self._session.pause_reading(mute=True)

    # -- from the session ---------------------------------------------------------------------------------

    def session_opened(self) -> None:
        self.state = ClientState.OPEN

    def session_connected(self, sid: str, at_ns: int) -> None:
        """The namespace accepted us."""
        if self.state is not ClientState.OPEN:
            return  # a second CONNECT answer means nothing
        self._cancel_timer()
        self.state = ClientState.CONNECTED
        self.sid = sid
        self._attempt = 0
        self.counters.connects += 1
        waiters, self._waiters = self._waiters, None
        for waiter in waiters or ():
            if not waiter.done():
                waiter.set_result(None)
        self._tell(self.handler.on_connect, sid, at_ns)

    def session_refused(self, session: Session, body: bytes, at_ns: int) -> None:
        if session is not self._session:
            return
        _, was_connected = self._detach()
        self._see_off(session)
        self.counters.refused += 1
        self._count_end(was_connected)
        self.last_failure = f"refused by the server: {body[:200].decode('utf-8', 'replace')}"
        if self.policy.retry_refused:
            self._retry()
        else:
            self._give_up()
        self._tell(self.handler.on_refused, body, at_ns)

    def session_lost(self, session: Session, failure: LinkFailure, at_ns: int) -> None:
        if session is not self._session:
            return
        _, was_connected = self._detach()
        self.last_failure = failure.detail
        self._count_failure(failure)
        self._count_end(was_connected)
        if failure.reason == "server disconnect":
            self._see_off(session)
        if failure.reason == "server disconnect" and not self.policy.retry_kicked:
            self._give_up()
        else:
            self._retry(failure.retry_after_s)
        if was_connected:
            self._tell(self.handler.on_disconnect, failure.reason, at_ns)

    def session_left(self, session: Session) -> None:
        if session is self._leaving:
            self._leaving = None

    # -- inside -------------------------------------------------------------------------------------------

    def _connect(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(self.connect_timeout_s, self._timed_out)
        if self._ghost is not None:
            self._ghost.abort()
            self._ghost = None
        self.state = ClientState.CONNECTING
        self.counters.attempts += 1
        self._session = Session(self)
        self._session.open()

    def _timed_out(self) -> None:
        session = self._session
        if session is not None:
            self.counters.timed_out += 1
            session.abort()
            detail = f"no CONNECT answer within {self.connect_timeout_s:g} s"
            self.session_lost(session, LinkFailure("transport error", detail), time.monotonic_ns())

    def _detach(self) -> tuple[Session | None, bool]:
        """Forget the session; also whether it was connected."""
        self._cancel_timer()
        session, self._session = self._session, None
        was_connected = self.state is ClientState.CONNECTED
        self.sid = None
        return session, was_connected

    def _see_off(self, session: Session) -> None:
        """The session is about to leave; one that still lingers is hurried."""
        lingering, self._leaving = self._leaving, session
        if lingering is not None:
            lingering.abort()

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _retry(self, hint_s: float | None = None) -> None:
        delay_s = self.policy.delay_for(self._attempt, self.rng)
        if delay_s is None:
            self._give_up()
            return
        if hint_s is not None:
            delay_s = max(delay_s, self.policy.delay_after_hint(hint_s, self.rng))
        self._attempt += 1
        self._wait(delay_s)

    def _wait(self, delay_s: float) -> None:
        self._cancel_timer()
        self.state = ClientState.WAITING
        self._timer = asyncio.get_running_loop().call_later(delay_s, self._connect)

    def _give_up(self) -> None:
        self.state = ClientState.STOPPED
        waiters, self._waiters = self._waiters, None
        for waiter in waiters or ():
            if not waiter.done():
                waiter.set_exception(ConnectFailedError(f"the client gave up: {self.last_failure}"))

    def _count_failure(self, failure: LinkFailure) -> None:
        counters = self.counters
        counters.protocol_errors += failure.reason == "protocol error"
        counters.ping_timeouts += failure.reason == "ping timeout"
        counters.http_refused += failure.status is not None
        counters.throttled += failure.retry_after_s is not None

    def _count_end(self, was_connected: bool) -> None:
        if was_connected:
            self.counters.disconnects += 1
        else:
            self.counters.connect_failures += 1

    def _tell(self, method: Callable[[Any, Any, int], None], word: str | bytes, at_ns: int) -> None:
        try:
            method(self, word, at_ns)
        except Exception:
            self.counters.handler_errors += 1
            logger.exception("a client handler raised in %r", method)
