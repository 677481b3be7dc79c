"""The bus between nodes: Redis Pub/Sub with routed channels, its own listen loop, and a heartbeat to itself.

Publishing never waits: a bounded queue and one task that sends batches. Listening survives anything: back-off
50 ms to 2 s with jitter, and every interruption is a *gap*, after which this node compares with the store.
Losing a message here never loses a durable event, it only delays it.
"""

import asyncio
import logging
import random
import secrets
import time
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.client import PubSub

from ...errors import UnavailableError, VouchstormError
from ...observability.metrics import Metrics
from ...tasks import heed_cancellation
from ..websocket import Message
from . import messages
from .cluster import Layout, Masters, connect_masters, discover
from .redis import TROUBLE, connect, let_go

log = logging.getLogger(__name__)

RETRY_S = 1.0

Compare = Callable[[list[str] | None, float], Awaitable[None]]
"""(rooms, None for all; seconds since the first message that may be missing). Tried again if it raises."""


class Gaps:
    """What this node may have missed and has not compared with the store yet. Times are the event loop's.

    One instant stands for all pending gaps. It only moves back until a comparison has succeeded: neither a
    second gap nor a store that is down shortens the window.
    """

    def __init__(self, metrics: Metrics, compare: Compare) -> None:
        self._metrics = metrics
        self._compare = compare
        self._rooms: dict[str, None] = {}
        self._everything = False
        self._since_s: float | None = None
        self._pending = asyncio.Event()

    def everything(self, since_s: float) -> None:
        """A gap: any message since then may be missing."""
        self._metrics.bus_gaps.inc()
        self._metrics.bus_gap_open.set(1)
        self._add([], True, since_s)

    def room(self, room: str, since_s: float) -> None:
        """A room that is heard from now on was wanted since then."""
        self._add([room], False, since_s)

    def _add(self, rooms: list[str], everything: bool, since_s: float) -> None:
        self._rooms.update(dict.fromkeys(rooms))
        self._everything = self._everything or everything
        self._since_s = since_s if self._since_s is None else min(since_s, self._since_s)
        self._pending.set()

    async def run_repairs(self) -> None:
        """Have what was missed looked up, for ever; beside the listener, which must never wait."""
        while True:
            await self._pending.wait()
            try:
                await self._repair()
            except VouchstormError as error:
                log.warning("cannot look up what the bus missed yet: %s", error)
                await asyncio.sleep(RETRY_S)

    async def _repair(self) -> None:
        """One comparison; whatever it raises, what was pending stays so."""
        now = asyncio.get_running_loop().time()
        self._pending.clear()
        everything, self._everything = self._everything, False
        rooms, self._rooms = list(self._rooms), {}
        since_s, self._since_s = self._since_s if self._since_s is not None else now, None
        try:
            await self._compare(None if everything else rooms, now - since_s)
        except BaseException:
            self._add(rooms, everything, since_s)
            raise
        if everything:
            self._metrics.bus_gaps_closed.inc()
            self._metrics.bus_gap_open.set(self._everything)


BEAT_S = 1.0
DEAF_AFTER_S = 3.5
NODE_GONE_AFTER_S = 5.0
QUEUE_MESSAGES = 50_000
BATCH = 200
SUBSCRIBE_BATCH = 500
LINGER_S = 5.0
"""A channel stays subscribed this long after its last local member: reloads and flapping are cheap."""

RAW_CHANNEL = "socketio"
"""Where the Socket.IO library publishes."""
SHARDED = (messages.ROOM_PREFIX, messages.BEAT_PREFIX)
"""Channels that a Cluster carries on one master."""


class Bus:
    """One node's connection to the others.

    on_message: a message for a room of this node. on_raw: anything on the python-socketio channel.
    on_kick: sockets of a user that must end, also when this node asked for it itself.
    on_missed: messages may have been missed, in these rooms (just subscribed: what was published a moment
    ago), or None for all rooms (a gap), since so many seconds: compare with the store. Tried again if it
    raises.
    users_here: how many users are connected to this node.
    """

    def __init__(
        self,
        url: str,
        node: str,
        metrics: Metrics,
        rng: random.Random,
    ) -> None:
        self._url = url
        self._node = node
        self._metrics = metrics
        self._rng = rng
        self._origin = secrets.token_bytes(8)
        self._queue: deque[tuple[str, bytes]] = deque()
        self._wake = asyncio.Event()
        self._sending = False
        self._sent = asyncio.Event()
        self._queued_since_s = 0.0
        self._untold_since_s: float | None = None
        """Since when messages of this node were lost on their way out, until the others have been told."""
        self._publisher: Redis | None = None
        self._publishers: list[Redis] = []
        self._masters: Masters | None = None
        self._publish_layout: Layout | None = None
        self._beat_channels: list[str] = []
        """Of the masters that are listened to, if the bus is sharded; with when each was last heard."""
        self._beats_heard_s: list[float] = []
        self._pubsub: PubSub | None = None
        self._wanted: dict[str, float | None] = {}
        self._subscribed: dict[str, float] = {}
        """Room -> since when it has been wanted here and not heard, as the subscription was asked for."""
        self._changed = asyncio.Event()
        self._beat = 0
        self._beats_sent: dict[int, float] = {}
        self._listening_s: float | None = None
        self._heard_s: float | None = None
        self.gaps = Gaps(metrics, self._compare)
        self._nodes: dict[str, tuple[float, int]] = {}
        self._attempt = 0
        self.on_message: Callable[[str, Message], None] = lambda room, message: None
        self.on_raw: Callable[[bytes], None] = lambda data: None
        self.on_kick: Callable[[messages.Kick], None] = lambda kick: None
        self.on_missed: Compare = _nothing
        self.users_here: Callable[[], int] = lambda: 0
        metrics.bus_queue.source = self._queue.__len__
        metrics.bus_nodes.source = lambda: 1 + len(self._nodes)

    # -------------------------------------------------------------- for the node

    def publish(self, room: str, message: Message) -> None:
        """Queue a message for the other nodes; never waits, never raises. Overflow is counted."""
        self._put(messages.room_channel(room), messages.pack(self._origin, message))

    def publish_raw(self, data: str | bytes) -> None:
        """Queue a message of python-socketio's own format on its own channel."""
        self._put(RAW_CHANNEL, data.encode() if isinstance(data, str) else data)

    def publish_kick(self, kick: messages.Kick) -> None:
        """Have the other nodes end sockets; one that does not hear it finds out when it closes the gap."""
        self._put(messages.CONTROL_CHANNEL, messages.pack_kick(kick))

    def publish_resync(self) -> None:
        """Have every node, this one too, compare its sockets with the store."""
        self._put(messages.CONTROL_CHANNEL, messages.pack_resync(messages.Resync()))

    def _put(self, channel: str, data: bytes) -> None:
        now = asyncio.get_running_loop().time()
        if len(self._queue) >= QUEUE_MESSAGES:
            self._metrics.bus_messages.inc("failed")
            self._lost_since(now)
            return
        if not self._queue:
            self._queued_since_s = now
        self._queue.append((channel, data))
        self._wake.set()

    def _lost_since(self, since_s: float) -> None:
        """The publisher has to tell the others, if need be with a batch that holds nothing else."""
        known_s = self._untold_since_s
        self._untold_since_s = since_s if known_s is None else min(since_s, known_s)
        self._wake.set()

    def want(self, room: str) -> None:
        """Hear this room from now on. Cheap and idempotent."""
        if self._wanted.get(room, 0.0) is not None:
            self._wanted[room] = None
            if room not in self._subscribed:
                self._changed.set()

    def unwant(self, room: str) -> None:
        """This room has no member here any more; the subscription lingers for a while."""
        if room in self._wanted:
            self._wanted[room] = asyncio.get_running_loop().time() + LINGER_S

    async def check(self) -> None:
        """Readiness: returns while this node hears itself through the bus. Raises UnavailableError."""
        if not self.hearing:
            raise UnavailableError(
                "The bus does not answer: events of other nodes arrive late, by comparison with the store."
            )

    @property
    def hearing(self) -> bool:
        now = asyncio.get_running_loop().time()
        if self._heard_s is None:
            return False
        return now - min([self._heard_s, *self._beats_heard_s]) < DEAF_AFTER_S

    def users_elsewhere(self) -> int:
        """Users connected to the other nodes; a node that died is forgotten within NODE_GONE_AFTER_S."""
        now = asyncio.get_running_loop().time()
        return sum(users for seen, users in self._nodes.values() if now - seen < NODE_GONE_AFTER_S)

    # -------------------------------------------------------------- publishing

    async def run_publisher(self) -> None:
        """Send what is queued, in order, for ever. What cannot be sent is dropped, a resync follows."""
        while True:
            await self._wake.wait()
            since_s = self._queued_since_s if self._queue else asyncio.get_running_loop().time()
            batch = [self._queue.popleft() for _ in range(min(BATCH, len(self._queue)))]
            # Taken before anything is awaited: what is lost while this batch is sent is told with the next.
            untold_s, self._untold_since_s = self._untold_since_s, None
            lost_since_s = since_s if untold_s is None else min(untold_s, since_s)
            self._sending = True
            if not self._queue:
                self._wake.clear()
            try:
                await self._send(batch, untold_s)
            except TROUBLE as error:
                self._lost_since(lost_since_s)
                heed_cancellation()
                self._metrics.bus_messages.inc("failed", len(batch))
                if untold_s is None:
                    log.warning("cannot publish to the bus, other nodes catch up from the store: %s", error)
                await self.close()
                await asyncio.sleep(0.05 + 0.1 * self._rng.random())
            except BaseException:
                self._lost_since(lost_since_s)
                raise
            finally:
                self._sending = False
                self._sent.set()

    async def _send(self, batch: list[tuple[str, bytes]], untold_since_s: float | None) -> None:
        async with asyncio.timeout(2.0):
            if self._publisher is None:
                self._publisher = connect(self._url, blocking=False, attempt=self._attempt)
                self._publish_layout = await discover(self._url, self._attempt)
                if self._publish_layout is not None:
                    self._publishers = connect_masters(self._url, self._publish_layout, blocking=False)
            ordinary = batch
            if self._publish_layout is not None:
                ordinary = [item for item in batch if not item[0].startswith(SHARDED)]
                await self._send_sharded(batch, self._publish_layout)
            async with self._publisher.pipeline(transaction=False) as pipeline:
                for channel, data in ordinary:
                    pipeline.publish(channel, data)
                if untold_since_s is not None:
                    silent_s = asyncio.get_running_loop().time() - untold_since_s
                    pipeline.publish(
                        messages.CONTROL_CHANNEL, messages.pack_resync(messages.Resync(silent_s))
                    )
                await pipeline.execute()
        if untold_since_s is not None:
            log.info("publishing to the bus again")
        self._metrics.bus_messages.inc("published", len(batch))

    async def _send_sharded(self, batch: list[tuple[str, bytes]], layout: Layout) -> None:
        shares: list[list[tuple[str, bytes]]] = [[] for _ in layout.masters]
        for channel, data in batch:
            if channel.startswith(SHARDED):
                shares[layout.owner(channel)].append((channel, data))

        async def send(client: Redis, share: list[tuple[str, bytes]]) -> None:
            async with client.pipeline(transaction=False) as pipeline:
                for channel, data in share:
                    pipeline.execute_command("SPUBLISH", channel, data)
                await pipeline.execute()

        pairs = zip(self._publishers, shares, strict=True)
        sends = [send(client, share) for client, share in pairs if share]
        for outcome in await asyncio.gather(*sends, return_exceptions=True):
            if isinstance(outcome, BaseException):
                raise outcome

    async def close(self) -> None:
        """Let go of the connections to publish on."""
        publishers = [*self._publishers, *([self._publisher] if self._publisher is not None else [])]
        self._publisher, self._publishers = None, []
        await let_go(*publishers)

    async def run_heartbeat(self) -> None:
        """Say that this node lives, to the others and to itself."""
        while True:
            self._beat += 1
            now = asyncio.get_running_loop().time()
            self._beats_sent[self._beat] = time.monotonic()
            self._beats_sent.pop(self._beat - 10, None)
            beat = messages.Heartbeat(self._node, self._beat, self.users_here())
            self._put(messages.CONTROL_CHANNEL, messages.pack_heartbeat(beat))
            for channel in self._beat_channels:
                self._put(channel, b"")
            self._metrics.bus_connected.set(self.hearing)
            self._nodes = {
                name: entry for name, entry in self._nodes.items() if now - entry[0] < NODE_GONE_AFTER_S
            }
            await asyncio.sleep(BEAT_S)

    # -------------------------------------------------------------- listening

    async def run_listener(self) -> None:
        """Listen for ever; each new connection starts with a gap."""
        delay_s = 0.05
        if self._listening_s is None:
            self._listening_s = asyncio.get_running_loop().time()
        while True:
            try:
                await self._listen()
            except TROUBLE as error:
                heed_cancellation()
                if self._pubsub is not None:
                    log.warning("the bus connection is lost: %s", error)
                    delay_s = 0.05
            finally:
                await self._drop_pubsub()
            await asyncio.sleep(delay_s * (0.5 + self._rng.random()))
            delay_s = min(2.0, delay_s * 2)

    async def _listen(self) -> None:
        self._attempt += 1
        client = connect(self._url, blocking=True, attempt=self._attempt)
        pubsub = client.pubsub(ignore_subscribe_messages=False)
        started_s = asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(3.0):
                await pubsub.subscribe(messages.CONTROL_CHANNEL, RAW_CHANNEL)
                shards = await self._listen_to_masters()
            self._pubsub, self._subscribed = pubsub, {}
            self._changed.set()
            async with asyncio.TaskGroup() as group:
                keeper = group.create_task(self._keep_subscriptions(shards or pubsub, started_s))
                indexes = range(len(shards.pubsubs)) if shards is not None else ()
                readers = [group.create_task(self._read_shard(shards, index)) for index in indexes]
                try:
                    await self._read(pubsub, started_s)
                finally:
                    for task in (keeper, *readers):
                        task.cancel()
        except BaseExceptionGroup as group_error:
            raise group_error.exceptions[0] from None
        finally:
            await let_go(pubsub, client)

    async def _listen_to_masters(self) -> Masters | None:
        """Where the bus is sharded: a connection to each master, which will hear this node's beat."""
        layout = await discover(self._url, self._attempt)
        if layout is None:
            return None
        shards = self._masters = Masters(self._url, layout)
        channels = layout.beat_channels(self._origin.hex())
        await shards.subscribe(*channels)
        now = asyncio.get_running_loop().time()
        self._beat_channels, self._beats_heard_s = channels, [now] * len(channels)
        return shards

    async def _read_shard(self, shards: Masters | None, index: int) -> None:
        if shards is None:
            return
        loop, beat_channel = asyncio.get_running_loop(), self._beat_channels[index]
        while True:
            message = await shards.pubsubs[index].get_message(timeout=0.2)
            if loop.time() - self._beats_heard_s[index] > DEAF_AFTER_S:
                raise OSError("no heartbeat came back through a master of the cluster")
            if message is None:
                continue
            channel = message["channel"].decode()
            if message["type"] == "smessage" and channel == beat_channel:
                self._beats_heard_s[index] = loop.time()
            elif message["type"] == "smessage":
                self._take(channel, message["data"])
            elif message["type"] == "ssubscribe" and (room := _room(channel)) is not None:
                self._room_heard(room)
            elif (
                message["type"] == "sunsubscribe"
                and not shards.confirms(channel)
                and _room(channel) in self._subscribed
            ):
                raise OSError("slots of the cluster have moved")

    async def _read(self, pubsub: PubSub, started_s: float) -> None:
        loop = asyncio.get_running_loop()
        fresh = True
        while True:
            message = await pubsub.get_message(timeout=0.2)
            if loop.time() - max(started_s, self._heard_s or 0.0) > DEAF_AFTER_S:
                raise OSError("no heartbeat came back through the bus")
            if message is None:
                continue
            if message["type"] == "message":
                self._take(message["channel"].decode(), message["data"])
            elif message["type"] == "subscribe":
                room = _room(message["channel"])
                if room is not None:
                    self._room_heard(room)
                elif fresh:
                    fresh = False
                    self.gaps.everything(self._last_heard_s(started_s))

    def _last_heard_s(self, started_s: float) -> float:
        """Until when nothing was missed; before the listener began, nobody was here to miss anything."""
        if self._heard_s is not None:
            return self._heard_s
        return self._listening_s if self._listening_s is not None else started_s

    async def _compare(self, rooms: list[str] | None, silent_s: float) -> None:
        await self.on_missed(rooms, silent_s)

    def _room_heard(self, room: str) -> None:
        since_s = self._subscribed.get(room)
        self.gaps.room(room, since_s if since_s is not None else asyncio.get_running_loop().time())

    async def _keep_subscriptions(self, connections: PubSub | Masters, started_s: float) -> None:
        """Bring the subscriptions in line with what is wanted, in batches."""
        looked_s = started_s
        loop = asyncio.get_running_loop()
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(1.0):
                    await self._changed.wait()
            self._changed.clear()
            now = loop.time()
            for room in [room for room, until in self._wanted.items() if until is not None and until < now]:
                del self._wanted[room]
            missing = [room for room in self._wanted if room not in self._subscribed]
            extra = [room for room in self._subscribed if room not in self._wanted]
            for start in range(0, len(missing), SUBSCRIBE_BATCH):
                rooms = missing[start : start + SUBSCRIBE_BATCH]
                self._subscribed.update(dict.fromkeys(rooms, looked_s))
                await connections.subscribe(*map(messages.room_channel, rooms))
            for start in range(0, len(extra), SUBSCRIBE_BATCH):
                # Not who came back while this waited: `want` saw a subscription, and asked for none.
                rooms = [room for room in extra[start : start + SUBSCRIBE_BATCH] if room not in self._wanted]
                for room in rooms:
                    del self._subscribed[room]
                if rooms:
                    await connections.unsubscribe(*map(messages.room_channel, rooms))
            looked_s = now

    def _take(self, channel: str, data: bytes) -> None:
        try:
            if channel == messages.CONTROL_CHANNEL:
                self._take_control(data)
            elif channel == RAW_CHANNEL:
                self.on_raw(data)
            elif messages.origin_of(data) == self._origin:
                return
            elif self._wanted.get(messages.room_of(channel), 0.0) is not None:
                self._metrics.bus_messages.inc("ignored")
            else:
                self._metrics.bus_messages.inc("received")
                self.on_message(messages.room_of(channel), messages.unpack(data))
        except messages.BusFormatError as error:
            self._metrics.bus_messages.inc("ignored")
            log.warning("unreadable message on the bus: %s", error)

    def _take_control(self, data: bytes) -> None:
        now = asyncio.get_running_loop().time()
        match messages.unpack_control(data):
            case messages.Kick() as kick:
                self.on_kick(kick)
            case messages.Resync(silent_s):
                self.gaps.everything(now - silent_s)
            case messages.Heartbeat(node, sequence, users) if node != self._node:
                self._nodes[node] = (now, users)
            case messages.Heartbeat(_, sequence) if sequence in self._beats_sent:
                self._heard_s = now
                sent_s = self._beats_sent.pop(sequence)
                self._metrics.bus_heartbeat_seconds.observe(time.monotonic() - sent_s)

    async def _drop_pubsub(self) -> None:
        self._pubsub, self._subscribed = None, {}
        if self._heard_s is not None:
            self._heard_s = min([self._heard_s, *self._beats_heard_s])  # a deaf master counts
        self._beat_channels, self._beats_heard_s = [], []
        masters, self._masters = self._masters, None
        if masters is not None:
            await masters.close()

    async def flush(self, timeout_s: float) -> bool:
        """Wait until what is queued has been sent, for a process that is about to end.

        What got lost counts as sent once the others were told to compare. False if that took too long.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while self._queue or self._sending or self._untold_since_s is not None:
                    self._sent.clear()
                    await self._sent.wait()
                return True
        return False


def _room(channel: Any) -> str | None:
    name = channel.decode() if isinstance(channel, bytes) else str(channel)
    return messages.room_of(name) if name.startswith(messages.ROOM_PREFIX) else None


async def _nothing(rooms: list[str] | None, silent_s: float) -> None:
    return None
