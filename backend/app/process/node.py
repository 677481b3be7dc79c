"""One node as a process: uvicorn with our HTTP and websocket classes, an orderly end, a ready line.

uvicorn bounds the pause between two requests and nothing else. Here one clock bounds what a client over HTTP
may take: for its request, and for the answer. A websocket has its own deadlines.

Source: uvicorn 0.54 `protocols/http/httptools_impl.py: HttpToolsProtocol`; RFC 6585 (431).
"""

import asyncio
import errno
import gc
import json
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import uvicorn
import uvloop
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from ..contracts.rest import Problem
from ..errors import SetupError
from ..main import Application, create_app
from ..realtime.http_upgrade import upgrade_protocol
from ..realtime.websocket import TCP_USER_TIMEOUT_MS, FanoutProtocol
from ..settings import Settings

BACKLOG = 4_096
MAX_HEAD_BYTES = 32_768
MAX_AWAITED = 20_000
"""HTTP connections that may be waited for at once."""
SWEEP_S = 0.5
COLLECT_AFTER = (5_000, 20, 20)
"""Thresholds of the three generations of the garbage collector: see `gc.set_threshold`."""
SEND_BUFFER_BYTES = 131_072
"""A slow client shows up early, and costs the kernel a bounded amount."""


def _head_too_large() -> bytes:
    detail = f"The request's head is longer than {MAX_HEAD_BYTES} bytes; send fewer or shorter headers."
    body = Problem.of("head_too_large", 431, detail).model_dump_json(exclude_none=True).encode()
    head = (
        "HTTP/1.1 431 Request Header Fields Too Large\r\nConnection: close\r\n"
        f"Content-Type: application/problem+json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


HEAD_TOO_LARGE = _head_too_large()
"""The whole answer, after which the connection ends."""


class RequestDeadlines:
    """The HTTP connections of a node that are waited for.

    deadline_s: for a whole request, from the connection or its first byte on; and for a reader who takes
    nothing of an answer. most: when more are waited for, the one that was waited for longest is ended.
    """

    def __init__(self, deadline_s: float, most: int) -> None:
        self._deadline_s = deadline_s
        self._most = most
        self._since_s: dict[HttpToolsProtocol, float] = {}
        self._sweeping = False
        self.ended = 0

    def begin(self, protocol: HttpToolsProtocol) -> None:
        """Wait for this one from now on; who is waited for already has no more time than before."""
        if protocol in self._since_s:
            return
        if len(self._since_s) >= self._most:
            self._end(next(iter(self._since_s)))
        loop = asyncio.get_running_loop()
        self._since_s[protocol] = loop.time()
        if not self._sweeping:
            self._sweeping = True
            loop.call_later(SWEEP_S, self._sweep)

    def done(self, protocol: HttpToolsProtocol) -> None:
        """It did its part, or is gone. Idempotent."""
        self._since_s.pop(protocol, None)

    def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        due_s = loop.time() - self._deadline_s
        while self._since_s:
            protocol, since_s = next(iter(self._since_s.items()))
            if since_s > due_s:
                break
            self._end(protocol)
        self._sweeping = bool(self._since_s)
        if self._sweeping:
            loop.call_later(SWEEP_S, self._sweep)

    def _end(self, protocol: HttpToolsProtocol) -> None:
        self.done(protocol)
        # A websocket may have taken the transport over by now.
        if protocol.transport.get_protocol() is protocol:
            self.ended += 1
            protocol.transport.abort()


class DeadlineProtocol(HttpToolsProtocol):
    """One HTTP connection that is not waited for without end; mixed into uvicorn's class by `serve_node`."""

    deadlines: RequestDeadlines
    _in_request = False
    _in_head = False
    _head_bytes = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)  # type: ignore[arg-type]
        self.deadlines.begin(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self.deadlines.done(self)
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        self._in_request = self._in_head = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._in_head, self._head_bytes = False, 0
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._in_request = False
        self.deadlines.done(self)
        super().on_message_complete()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._in_request:
            self.deadlines.begin(self)
        if self._in_head:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES and not self.transport.is_closing():
                self.transport.write(HEAD_TOO_LARGE)
                self.transport.close()

    def pause_writing(self) -> None:
        super().pause_writing()
        self.deadlines.begin(self)

    def resume_writing(self) -> None:
        super().resume_writing()
        if not self._in_request:
            self.deadlines.done(self)


Heard = Callable[[Callable[[signal.Signals], None]], AbstractContextManager[None]]
"""In its context SIGINT and SIGTERM call what it was given, on the running loop."""


class Server(uvicorn.Server):
    """uvicorn's server, which starts the application, and sends the clients away before it ends.

    `serve` raises SetupError when the application cannot start as configured.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        application: Application,
        on_ready: Callable[[], None],
        heard: Heard | None = None,
    ) -> None:
        """heard: brings the signals; None: they are caught as long as it serves."""
        super().__init__(config)
        self._heard = heard
        self._application = application
        self._on_ready = on_ready

    @property
    def told(self) -> list[signal.Signals]:
        """The signals that came."""
        return [signal.Signals(number) for number in self._captured_signals]

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        with super().capture_signals() if self._heard is None else self._heard(self._end):
            yield

    def _end(self, number: signal.Signals) -> None:
        self.handle_exit(number, None)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        # Not by the lifespan protocol: it would log the reason and exit, instead of raising it.
        await self._application.start()
        await super().startup(sockets=sockets)
        if self.started:
            # A hundred thousand objects are loaded by now and live as long as the process. In a storm of
            # connections walking them costs a quarter of the CPU. Sockets that ended need no collector.
            gc.collect()
            gc.freeze()
            gc.set_threshold(*COLLECT_AFTER)
            self._on_ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for server in self.servers:
            server.close()
        if not self.force_exit:
            await self._application.drain()
        await super().shutdown(sockets=sockets)
        if not self.force_exit:
            await self._application.stop()
        # A SIGTERM that was obeyed in full is a success; uvicorn would raise it again and exit by signal.
        self._captured_signals = [sig for sig in self._captured_signals if sig != signal.SIGTERM]


def listen(host: str, port: int) -> socket.socket:
    """A bound socket; port 0 takes a free one. Raises SetupError with what to do."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    # What is accepted here has these from the start.
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, TCP_USER_TIMEOUT_MS)
    try:
        sock.bind((host, port))
    except OSError as error:
        sock.close()
        if error.errno == errno.EADDRINUSE:
            raise SetupError(
                f"Port {port} on {host} is in use; stop what uses it or choose another with --port."
            ) from error
        raise SetupError(f"Cannot listen on {host}:{port}: {error.strerror}.") from error
    return sock


def run_node(settings: Settings, sock: socket.socket, announce: Callable[[str, str], None]) -> None:
    """`serve_node` on an event loop of its own, until SIGTERM or SIGINT."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve_node(settings, sock, announce))


async def serve_node(
    settings: Settings,
    sock: socket.socket,
    announce: Callable[[str, str], None],
    heard: Heard | None = None,
) -> list[signal.Signals]:
    """Serve on a bound socket until SIGTERM or SIGINT; the signals that `heard` brought.

    announce: called with (url, node name) once requests are answered. heard: None catches them itself.
    Raises SetupError when the node cannot start as configured.
    """
    application = create_app(settings)
    host, port = sock.getsockname()[:2]
    url = f"http://{f'[{host}]' if ':' in host else host}:{port}"
    deadlines = RequestDeadlines(settings.request_deadline_s, MAX_AWAITED)
    application.services.metrics.http_abandoned.source = lambda: deadlines.ended
    http = upgrade_protocol(application.realtime.admission, application.realtime.engine)
    config = uvicorn.Config(
        application,
        ws=FanoutProtocol,
        http=type("Http", (DeadlineProtocol, http), {"deadlines": deadlines}),
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        backlog=BACKLOG,
        ws_per_message_deflate=False,
        ws_ping_interval=None,
        ws_max_size=settings.max_message_bytes,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=10,
        proxy_headers=bool(settings.trusted_proxies),
        forwarded_allow_ips=settings.trusted_proxies or None,
    )
    server = Server(config, application, lambda: announce(url, application.services.node), heard)
    await server.serve(sockets=[sock])
    return server.told


def announce_ready(url: str, node: str) -> None:
    """Say that the node is ready: one line for people on a terminal, one JSON document otherwise."""
    if sys.stdout.isatty():
        print(f"Vouchstorm is ready on {url}  (web UI {url}/app/, API {url}/docs, node {node})", flush=True)  # noqa: T201
    else:
        print(json.dumps({"ready": True, "url": url, "pid": os.getpid(), "node": node}), flush=True)  # noqa: T201
