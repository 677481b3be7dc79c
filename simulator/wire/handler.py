"""What a client tells its owner, and what it counts.

One handler object may serve any number of clients: each call names the client, and `client.tag` is free for
the owner. Calls come from the event loop, never concurrently, in wire order; a handler must not block and
must not raise. Raising costs only that one call: it is counted in `handler_errors` and logged.
"""

from dataclasses import dataclass, fields
from enum import Enum
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from ..socketio_client.client import LeanClient


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
    """The owner of clients. at_ns: `time.monotonic_ns()` when the bytes came in, once per read."""

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
        """Add another client's counters to these."""
        for field in fields(self):
            setattr(self, field.name, getattr(self, field.name) + getattr(other, field.name))
