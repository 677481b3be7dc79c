"""A small chat-like Socket.IO server that can be told to lie. Only for tests: it proves what is caught.

    python -m tests.support.simulator.lying_server --port 0 [--drop-every N] [--duplicate-every N]
        [--swap-every N] [--delay-every N --delay-ms MS] [--leak-every N] [--stall-recovery | --no-recovery]
        [--history N]

Prints one JSON line {"port": ..., "pid": ...} when it listens. Stops on SIGTERM or when standard input ends.

POST /publish {room, id, stamp, body?, ...} -> {"seq": n, "members": m}; unknown fields travel along.
    Gives the message the room's next seq and sends `message {id, seq, stamp, room, body, ...}` to its
    members. `members` is how many sockets were in the room when it was published.
`join {room}` -> ack {"room", "seq"}: seq is the newest one, every later message will come.
`leave {room}` -> ack {"room"}.
`sync {room, after_seq}` -> ack {"recovered", "from_seq", "to_seq", "items"}.
CONNECT with `auth.last_seq` {room: seq}: joins those rooms, sends what was missed, and for each room one
    `recovery {room, recovered, from_seq, to_seq}`.
GET /counts -> what was really put on the wire, counted where it is sent: {"published", "sent", "dropped",
    "duplicated", "swapped", "delayed", "leaked", "replayed", "withheld"}.

A lie concerns one delivery (one message to one socket): every N-th delivery of the whole server is dropped,
sent twice, sent after its successor (or a second later), sent late, or sent to a socket outside the room as
well (where there is one). Replay is never bent, but `--stall-recovery` says recovered and sends nothing.
"""

import argparse
import asyncio
import json
from collections import defaultdict, deque
from dataclasses import asdict, dataclass, field
from typing import Any

import socketio

from tests.support.simulator.stock_server import Scope, serve

MAX_BODY_BYTES = 64 * 1024
HOLD_S = 1.0
Message = dict[str, Any]


@dataclass(slots=True)
class Counts:
    """Messages published, and deliveries by what became of them. sent: frames that left, lies included."""

    published: int = 0
    sent: int = 0
    dropped: int = 0
    duplicated: int = 0
    swapped: int = 0
    delayed: int = 0
    leaked: int = 0
    replayed: int = 0
    withheld: int = 0


@dataclass(frozen=True, slots=True)
class Lies:
    """Every N-th delivery is bent; 0: never."""

    drop_every: int = 0
    duplicate_every: int = 0
    swap_every: int = 0
    delay_every: int = 0
    delay_ms: float = 500.0
    leak_every: int = 0
    stall_recovery: bool = False
    no_recovery: bool = False

    def due(self, every: int, number: int) -> bool:
        """Whether delivery `number` (from 1) is one of every N."""
        return every > 0 and number % every == 0


@dataclass(slots=True)
class Room:
    """Its members in order of joining, its numbering, and its last messages."""

    history: deque[Message]
    members: dict[str, None] = field(default_factory=dict)
    seq: int = 0


class LyingServer:
    """Delivers each message socket by socket, so that a lie can concern one of them."""

    def __init__(self, lies: Lies, history: int, ping_interval_s: float, ping_timeout_s: float) -> None:
        self.sio = socketio.AsyncServer(
            async_mode="asgi",
            cors_allowed_origins="*",
            ping_interval=ping_interval_s,
            ping_timeout=ping_timeout_s,
        )
        self.lies = lies
        self.counts = Counts()
        self.rooms: defaultdict[str, Room] = defaultdict(lambda: Room(deque(maxlen=history)))
        self.sockets: dict[str, None] = {}
        self.deliveries = 0
        self.order = asyncio.Lock()  # one publication or replay at a time: an honest server keeps the order
        self.held: dict[str, Message] = {}  # per socket: a message that waits for its successor
        self.tasks: set[asyncio.Task[None]] = set()
        self.sio.on("connect", self.on_connect)
        self.sio.on("disconnect", self.on_disconnect)
        self.sio.on("join", self.on_join)
        self.sio.on("leave", self.on_leave)
        self.sio.on("sync", self.on_sync)

    # -- Socket.IO ------------------------------------------------------------------------------------

    async def on_connect(self, sid: str, environ: Scope, auth: Any) -> None:
        self.sockets[sid] = None
        last_seq = auth.get("last_seq") if isinstance(auth, dict) else None
        if last_seq:
            self._later(self.recover(sid, last_seq))

    async def on_disconnect(self, sid: str, reason: str) -> None:
        self.sockets.pop(sid, None)
        self.held.pop(sid, None)
        for room in self.rooms.values():
            room.members.pop(sid, None)

    async def on_join(self, sid: str, data: Message) -> Message:
        async with self.order:  # behind a recovery under way: what it replays must not come as a push before
            room = self.rooms[data["room"]]
            room.members[sid] = None
            return {"room": data["room"], "seq": room.seq}

    async def on_leave(self, sid: str, data: Message) -> Message:
        self.rooms[data["room"]].members.pop(sid, None)
        return {"room": data["room"]}

    async def on_sync(self, sid: str, data: Message) -> Message:
        room, after_seq = self.rooms[data["room"]], int(data["after_seq"])
        items = self.missed(room, after_seq)
        if items is None:
            return {"recovered": False, "from_seq": after_seq + 1, "to_seq": room.seq, "items": []}
        if self.lies.stall_recovery:
            self.counts.withheld += len(items)
            items = []
        self.counts.replayed += len(items)
        return {"recovered": True, "from_seq": after_seq + 1, "to_seq": room.seq, "items": items}

    def missed(self, room: Room, after_seq: int) -> list[Message] | None:
        """The messages after a seq; None if they are no longer all there, or never kept."""
        if self.lies.no_recovery or after_seq > room.seq:
            return None
        items = [message for message in room.history if message["seq"] > after_seq]
        return items if len(items) == room.seq - after_seq else None

    async def recover(self, sid: str, last_seq: dict[str, int]) -> None:
        """Join and replay, between two publications: neither a gap nor an overlap."""
        async with self.order:
            for name, after_seq in last_seq.items():
                await self.recover_room(sid, name, after_seq)

    async def recover_room(self, sid: str, name: str, after_seq: int) -> None:
        room = self.rooms[name]
        items = self.missed(room, after_seq)
        room.members[sid] = None
        if items is not None and self.lies.stall_recovery:
            self.counts.withheld += len(items)
        else:
            for message in items or []:
                self.counts.replayed += 1
                await self.put(sid, message)
        word = {"room": name, "recovered": items is not None, "from_seq": after_seq + 1, "to_seq": room.seq}
        await self.sio.emit("recovery", word, to=sid)

    # -- publishing -------------------------------------------------------------------------------------

    async def publish(self, message: Message) -> Message:
        """Number, store and deliver one message."""
        async with self.order:
            room = self.rooms[message["room"]]
            room.seq += 1
            message = {"body": "", **message, "seq": room.seq}
            room.history.append(message)
            self.counts.published += 1
            members = list(room.members)
            for sid in members:
                await self.deliver(sid, message, room)
        return {"seq": message["seq"], "members": len(members)}

    async def deliver(self, sid: str, message: Message, room: Room) -> None:
        """One message to one socket, straight or bent."""
        lies, counts = self.lies, self.counts
        self.deliveries += 1
        number = self.deliveries
        if lies.due(lies.leak_every, number):
            await self.leak(message, room)
        if lies.due(lies.drop_every, number):
            counts.dropped += 1
        elif lies.due(lies.delay_every, number):
            counts.delayed += 1
            self._later(self.put_later(sid, message))
        elif lies.due(lies.swap_every, number) and sid not in self.held:
            self.held[sid] = message
            self._later(self.release(sid, message))
            return
        else:
            await self.put(sid, message)
            if lies.due(lies.duplicate_every, number):
                counts.duplicated += 1
                await self.put(sid, message)
        earlier = self.held.pop(sid, None)
        if earlier is not None:
            counts.swapped += 1
            await self.put(sid, earlier)

    async def leak(self, message: Message, room: Room) -> None:
        """To the first socket that is not in the room."""
        for stranger in self.sockets:
            if stranger not in room.members:
                self.counts.leaked += 1
                await self.put(stranger, message)
                return

    async def release(self, sid: str, message: Message) -> None:
        """A held message that got no successor is late, not lost."""
        await asyncio.sleep(HOLD_S)
        if self.held.get(sid) is message:
            del self.held[sid]
            self.counts.swapped += 1
            await self.put(sid, message)

    async def put_later(self, sid: str, message: Message) -> None:
        await asyncio.sleep(self.lies.delay_ms / 1e3)
        await self.put(sid, message)

    async def put(self, sid: str, message: Message) -> None:
        """Really send."""
        if sid in self.sockets:
            self.counts.sent += 1
            await self.sio.emit("message", message, to=sid)

    def _later(self, work: Any) -> None:
        task = asyncio.ensure_future(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)


def application(server: LyingServer) -> Any:
    """The ASGI application: Socket.IO, /publish and /counts."""
    socket_app = socketio.ASGIApp(server.sio)

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        if scope["type"] == "http" and (scope["method"], scope["path"]) == ("POST", "/publish"):
            status, answer = await published(server, await read_body(receive))
        elif scope["type"] == "http" and scope["path"] == "/counts":
            status, answer = 200, asdict(server.counts)
        else:
            await socket_app(scope, receive, send)
            return
        headers = [(b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": json.dumps(answer).encode()})

    return app


async def published(server: LyingServer, body: bytes) -> tuple[int, Message]:
    """Status and answer of a POST /publish."""
    try:
        message = json.loads(body)
        if not {"room", "id", "stamp"} <= message.keys():
            raise ValueError("room, id and stamp are needed")
    except (ValueError, AttributeError) as error:
        return 422, {"error": str(error)}
    return 200, await server.publish(message)


async def read_body(receive: Any) -> bytes:
    """The request body, cut at MAX_BODY_BYTES."""
    body, more = b"", True
    while more and len(body) < MAX_BODY_BYTES:
        event = await receive()
        body += event.get("body", b"")
        more = event.get("more_body", False)
    return body


def main() -> None:
    parser = argparse.ArgumentParser(description="a Socket.IO server that lies on demand, for tests")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--ping-interval", type=float, default=25.0)
    parser.add_argument("--ping-timeout", type=float, default=20.0)
    parser.add_argument("--history", type=int, default=10_000)
    for name in ("drop", "duplicate", "swap", "delay", "leak"):
        parser.add_argument(f"--{name}-every", type=int, default=0)
    parser.add_argument("--delay-ms", type=float, default=500.0)
    parser.add_argument("--stall-recovery", action="store_true")
    parser.add_argument("--no-recovery", action="store_true")
    options = parser.parse_args()
    lies = Lies(
        options.drop_every,
        options.duplicate_every,
        options.swap_every,
        options.delay_every,
        options.delay_ms,
        options.leak_every,
        options.stall_recovery,
        options.no_recovery,
    )
    server = LyingServer(lies, options.history, options.ping_interval, options.ping_timeout)
    asyncio.run(serve(application(server), options.port))


if __name__ == "__main__":
    main()
