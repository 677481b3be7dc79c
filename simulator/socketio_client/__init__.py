"""A lean Socket.IO v4 client (Engine.IO 4, protocol 5) for swarms of thousands.

A run makes one `Endpoint`, one `HeartbeatSweep`, one handler, and a `LeanClient` for each simulated user:

    sweep = HeartbeatSweep()
    client = LeanClient(endpoint, handler, transport="websocket", auth=lambda: {"token": token},
                        rng=random.Random(seed), policy=ReconnectPolicy.default(), sweep=sweep, tag=index)
    client.start()
    await client.wait_connected(20.0)
    client.emit("join", {"room": "a"}, ack=on_joined)
    await client.stop()
"""

from .client import ClientHandler, ClientState, LeanClient, ReconnectPolicy
from .codec.websocket import ReadCache
from .endpoint import Endpoint
from .errors import CallTimeoutError, ConnectFailedError, NotConnectedError, ProtocolError, WireError
from .heartbeat import HeartbeatSweep
from .session import Auth, ClientCounters, TransportName

__all__ = [
    "Auth",
    "CallTimeoutError",
    "ClientCounters",
    "ClientHandler",
    "ClientState",
    "ConnectFailedError",
    "Endpoint",
    "HeartbeatSweep",
    "LeanClient",
    "NotConnectedError",
    "ProtocolError",
    "ReadCache",
    "ReconnectPolicy",
    "TransportName",
    "WireError",
]
