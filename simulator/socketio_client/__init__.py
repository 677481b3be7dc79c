"""The simulator's wire room: a lean Socket.IO v4 client (Engine.IO 4, protocol 5) for swarms of thousands.

    errors, endpoint, policy, handler     words
    engineio, socketio, websocket, http   framing without I/O
    client, ...                           thin asyncio shells

A run makes one `Endpoint`, one `HeartbeatSweep`, one handler, and a `LeanClient` for each simulated user:

    sweep = HeartbeatSweep()
    client = LeanClient(endpoint, handler, transport="websocket", auth=lambda: {"token": token},
                        rng=random.Random(seed), policy=ReconnectPolicy.default(), sweep=sweep, tag=index)
    client.start()
    await client.wait_connected(20.0)
    client.emit("join", {"room": "a"}, ack=on_joined)
    await client.stop()
"""

from .client import Auth, LeanClient, ReconnectPolicy, TransportName
from .codec.websocket import Familiar
from .endpoint import Endpoint
from .errors import CallTimeoutError, ConnectFailedError, NotConnectedError, ProtocolError, WireError
from .heartbeat import HeartbeatSweep
from .session import ClientCounters, ClientHandler, ClientState

__all__ = [
    "Auth",
    "CallTimeoutError",
    "ClientCounters",
    "ClientHandler",
    "ClientState",
    "ConnectFailedError",
    "Endpoint",
    "Familiar",
    "HeartbeatSweep",
    "LeanClient",
    "NotConnectedError",
    "ProtocolError",
    "ReconnectPolicy",
    "TransportName",
    "WireError",
]
