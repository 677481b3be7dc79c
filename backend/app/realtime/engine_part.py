"""The Engine.IO server: opens sessions the library's way or the short way, and keeps their heartbeat.

What one session does is in `session.py`. Overrides of python-engineio 4.15 internals: `_handle_connect`,
`_service_task` (switched off), `_log_error_once`, `create_queue`.
`selfcheck.py` compares what they rely on at start. Source: docs/adr/0003.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import engineio
import orjson
from engineio import packet as eio

from .admission import Permit
from .asgi_door import take_permit
from .engine import Session
from .environ import environ_of, origin_environ
from .frames import frame
from .heartbeat import Heartbeat
from .http_upgrade import DirectProtocol
from .opening import Opening
from .queues import Bounds, Counts, PacketQueue

log = logging.getLogger(__name__)


class Engine(engineio.AsyncServer):  # type: ignore[misc]
    """The Engine.IO server: its sessions, their heartbeat, the slow ones."""

    sockets: dict[str, Session]
    _async: dict[str, Any]

    def __init__(
        self, *args: Any, bounds: Bounds, counts: Counts, direct: bool = True, **kwargs: Any
    ) -> None:
        super().__init__(*args, monitor_clients=False, **kwargs)
        self._async = {**self._async, "translate_request": environ_of}
        self.bounds = bounds
        self.direct = direct
        self.heartbeat = Heartbeat(self.ping_interval, self.ping_timeout)
        self.slow: set[Session] = set()
        self.slowed = 0
        """Times that a session became slow."""
        self.counts = counts
        self.on_open: Callable[[Session], None] | None = None
        """Called for each new session, before anything is known of its user."""
        self._tasks: set[asyncio.Task[Any]] = set()

    def own(self, work: Any) -> None:
        """Run a coroutine as a task that somebody holds."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def trigger_disconnect(self, sid: str, reason: str) -> None:
        await self._trigger_event("disconnect", sid, reason, run_async=False)

    def _log_error_once(self, message: str, message_key: str) -> None:
        # The library means errors of clients: stale sessions after a deploy, odd transports.
        log.debug("request refused: %s", message)

    def create_queue(self, *args: Any, **kwargs: Any) -> PacketQueue:
        return PacketQueue(*args, **kwargs)

    # -------------------------------------------------------------- short_way.Host

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
        sid = self.generate_id()
        session = Session(self, sid, protocol)
        session.permit = permit
        self.sockets[sid] = session
        if self.on_open is not None:
            self.on_open(session)
        protocol.sink = session
        session.write = protocol.transport.write
        session.write(answer + frame(b"0" + orjson.dumps(self._handshake(sid, []))))
        session.schedule_ping()

    def _handshake(self, sid: str, upgrades: list[str]) -> dict[str, Any]:
        return {
            "sid": sid,
            "upgrades": upgrades,
            "pingTimeout": int(self.ping_timeout * 1000),
            "pingInterval": int(self.ping_interval * 1000),
            "maxPayload": self.max_http_buffer_size,
        }

    async def _handle_connect(self, environ: dict[str, Any], transport: str, jsonp_index: Any = None) -> Any:
        sid = self.generate_id()
        session = Session(self, sid)
        session.permit = take_permit(environ["asgi.scope"])
        self.sockets[sid] = session
        if self.on_open is not None:
            self.on_open(session)
        opening = self._handshake(sid, self._upgrades(sid, transport))
        await session.send(eio.Packet(eio.OPEN, opening))
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


def slim_environ(environ: dict[str, Any]) -> dict[str, Any]:
    """What the application may want to know of a connection for its whole life; the rest is let go."""
    scope = environ["asgi.scope"]
    client = scope.get("client") or ("unknown", 0)
    slim = {key: environ[key] for key in ("HTTP_ORIGIN", "HTTP_USER_AGENT") if key in environ}
    return slim | {"REMOTE_ADDR": client[0]}
