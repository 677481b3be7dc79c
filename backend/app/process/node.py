"""One node as a process: uvicorn with our websocket class, an orderly end, a ready line.

Called by the command line and by the supervisor.
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

from ..errors import SetupError
from ..main import Application, create_app
from ..patience import Patience, patient
from ..realtime.http_upgrade import short_way
from ..realtime.websocket import TCP_USER_TIMEOUT_MS, FanoutProtocol
from ..settings import Settings

BACKLOG = 4_096
MAX_AWAITED = 20_000
"""HTTP connections that may be waited for at once."""
COLLECT_AFTER = (5_000, 20, 20)
"""Thresholds of the three generations of the garbage collector: see `gc.set_threshold`."""
SEND_BUFFER_BYTES = 131_072
"""A slow client shows up early, and costs the kernel a bounded amount."""

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
            spare_the_collector()
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


def spare_the_collector() -> None:
    """Keep the garbage collector from walking, again and again, what lives as long as the process.

    A hundred thousand objects are loaded by now; in a storm of connections they cost a quarter of the CPU.
    Sockets that ended are freed without the collector, so that seldom is often enough.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECT_AFTER)


def listen(host: str, port: int, *, reuse_port: bool = False) -> socket.socket:
    """A bound socket; port 0 takes a free one. Raises SetupError with what to do."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    # What is accepted here has these from the start.
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, TCP_USER_TIMEOUT_MS)
    if reuse_port:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        sock.bind((host, port))
    except OSError as error:
        sock.close()
        if error.errno == errno.EADDRINUSE:
            raise SetupError(
                f"Port {port} on {host} is in use; stop what uses it or choose another with --port."
            ) from error
        raise SetupError(f"Cannot listen on {host}:{port}: {error.strerror}.") from error
    sock.set_inheritable(True)
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
    patience = Patience(settings.request_deadline_s, MAX_AWAITED)
    application.services.metrics.http_abandoned.source = lambda: patience.ended
    config = uvicorn.Config(
        application,
        ws=FanoutProtocol,
        http=patient(short_way(application.realtime.door, application.realtime.engine), patience),
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
