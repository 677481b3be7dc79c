"""Room channels of a Redis Cluster: which of its masters carries a channel.

A message published with SPUBLISH stays on the master that owns the slot of its channel, instead of going to
every one. Whether the server can do that is asked at each connection; where it cannot, `bus.py` uses ordinary
channels. Source: Redis documentation, Pub/Sub, sharded Pub/Sub; Cluster specification, hash slots.
"""

from typing import Any, NamedTuple
from urllib.parse import urlsplit

from redis.crc import key_slot
from redis.exceptions import ResponseError

from . import messages
from .redis import connect, connect_member, let_go

SLOTS = 16_384


class Master(NamedTuple):
    host: str
    port: int


class Layout:
    """Who carries what, as it was when asked; when slots move, connections end and it is asked again."""

    def __init__(self, masters: list[Master], ranges: list[tuple[int, int, int]]) -> None:
        """ranges: (first slot, last slot, index of the master)."""
        self.masters = masters
        self._owner = [-1] * SLOTS
        for first, last, index in ranges:
            self._owner[first : last + 1] = [index] * (last + 1 - first)

    @property
    def complete(self) -> bool:
        """Has every slot a master?"""
        return bool(self.masters) and -1 not in self._owner

    def owner(self, channel: str) -> int:
        """Index of the master that carries this channel."""
        return self._owner[key_slot(channel.encode())]

    def beat_channels(self, who: str) -> list[str]:
        """One channel of this node's own on each master, in order: proves that this master is heard."""
        found: dict[int, str] = {}
        number = 0
        while len(found) < len(self.masters):
            channel = f"{messages.BEAT_PREFIX}{who}:{number}"
            found.setdefault(self.owner(channel), channel)
            number += 1
        return [found[index] for index in range(len(self.masters))]


def read_layout(reply: list[Any]) -> Layout:
    """From the answer to CLUSTER SLOTS: [first, last, [host, port, ...], ...replicas]."""
    masters: list[Master] = []
    ranges = []
    for first, last, primary, *_ in reply:
        host = primary[0].decode() if isinstance(primary[0], bytes) else str(primary[0])
        master = Master(host, int(primary[1]))
        if master not in masters:
            masters.append(master)
        ranges.append((int(first), int(last), masters.index(master)))
    return Layout(masters, ranges)


async def discover(url: str, attempt: int) -> Layout | None:
    """The Cluster behind this URL; None if it is none, or knows no sharded Pub/Sub.

    Raises RedisError, OSError.
    """
    if not urlsplit(url).scheme.endswith("+cluster"):
        return None
    client: Any = connect(url, blocking=False, attempt=attempt)
    try:
        await client.execute_command("PUBSUB", "SHARDCHANNELS", "none")
        layout = read_layout(await client.execute_command("CLUSTER", "SLOTS"))
    except ResponseError:
        return None
    finally:
        await let_go(client)
    if not layout.complete:
        raise OSError("some slots of the cluster have no master")
    return layout


def connect_masters(url: str, layout: Layout, *, blocking: bool) -> list[Any]:
    """A client for each master, none connected yet."""
    return [connect_member(url, master.host, master.port, blocking=blocking) for master in layout.masters]


class Masters:
    """Sharded channels: a listening connection to each master. Subscribes as a `PubSub` does."""

    def __init__(self, url: str, layout: Layout) -> None:
        self._layout = layout
        self._clients = connect_masters(url, layout, blocking=True)
        self.pubsubs = [client.pubsub(ignore_subscribe_messages=False) for client in self._clients]
        self._unconfirmed: set[str] = set()

    async def subscribe(self, *channels: str) -> None:
        """One command each: what a command names must share a slot."""
        for channel in channels:
            await self.pubsubs[self._layout.owner(channel)].ssubscribe(channel)

    async def unsubscribe(self, *channels: str) -> None:
        for channel in channels:
            self._unconfirmed.add(channel)
            await self.pubsubs[self._layout.owner(channel)].sunsubscribe(channel)

    def confirms(self, channel: str) -> bool:
        """Was this end of a subscription, just reported, asked for? Where not, slots have moved."""
        asked = channel in self._unconfirmed
        self._unconfirmed.discard(channel)
        return asked

    async def close(self) -> None:
        await let_go(*self.pubsubs, *self._clients)
