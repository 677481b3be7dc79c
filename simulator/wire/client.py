"""The lean client (interface committed first; see the package docstring)."""

import random
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Literal

from .endpoint import Endpoint
from .handler import ClientCounters, ClientHandler, ClientState
from .policy import ReconnectPolicy
from .sweep import HeartbeatSweep

TransportName = Literal["websocket", "polling", "upgrade"]
Auth = Callable[[], Mapping[str, object] | None]
AckCallback = Callable[[bytes, int], None]
NO_HEADERS: Mapping[str, str] = MappingProxyType({})


class LeanClient:
    """One Socket.IO client that keeps itself connected."""

    __slots__ = ("counters", "endpoint", "handler", "last_failure", "sid", "state", "tag")

    tag: Any
    state: ClientState
    sid: str | None
    counters: ClientCounters
    last_failure: str

    def __init__(
        self,
        endpoint: Endpoint,
        handler: ClientHandler,
        *,
        transport: TransportName,
        namespace: str = "/",
        auth: Auth = lambda: None,
        headers: Mapping[str, str] = NO_HEADERS,
        source_ip: str | None = None,
        rng: random.Random,
        policy: ReconnectPolicy,
        connect_timeout_s: float = 20.0,
        sweep: HeartbeatSweep | None = None,
        tag: Any = None,
    ) -> None:
        """Nothing connects before `start()`.

        auth: called afresh for each connection, so a cursor in it is the newest. sweep: finds dead peers;
        give all clients of a process the same one, else each has its own timer. tag: free for the caller.
        """
        raise NotImplementedError

    def start(self) -> None:
        """Begin to connect, and keep connected as the policy says; needs a running event loop."""
        raise NotImplementedError

    async def wait_connected(self, timeout_s: float) -> None:
        """Wait until connected. Raises ConnectFailedError at the deadline, or at once if it gave up."""
        raise NotImplementedError

    def emit(self, name: str, *args: object, ack: AckCallback | None = None) -> bool:
        """Send an event; False (and counted) if not connected or the write buffer is full: nothing is kept.

        ack: called at most once with the raw JSON text of the answer's arguments and its arrival time.
        """
        raise NotImplementedError

    async def call(self, name: str, *args: object, timeout_s: float) -> Any:
        """Send an event and wait for its acknowledgement: None, the value, or a tuple of several.

        Raises NotConnectedError, CallTimeoutError.
        """
        raise NotImplementedError

    def drop(self) -> None:
        """Abort the TCP connection with a reset, as a crashed tab or a cut line does; the policy decides."""
        raise NotImplementedError

    def go_offline(self, for_s: float, *, silent: bool = False) -> None:
        """Drop, stay away for `for_s`, then connect at once whatever the policy.

        silent: the server is not told, the old socket stays half-open until the client is back, as with a
        laptop that sleeps.
        """
        raise NotImplementedError

    def pause_reading(self) -> None:
        """Stop taking bytes from the socket (a slow reader): the server's send buffer fills."""
        raise NotImplementedError

    def resume_reading(self) -> None:
        """Take bytes again."""
        raise NotImplementedError

    def half_open(self) -> None:
        """Neither read nor answer heartbeats from now on, yet keep the socket, as a vanished host does."""
        raise NotImplementedError

    async def stop(self) -> None:
        """Leave cleanly (41, then close) and never come back; idempotent, bounded to about a second."""
        raise NotImplementedError
