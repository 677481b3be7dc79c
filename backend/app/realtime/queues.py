"""What may wait for one socket: bounds, the outbox of a slow websocket, the packet queue of long-polling."""

import asyncio
from collections import deque
from dataclasses import dataclass
from typing import Any, Protocol

from ..contracts.types import DeliveryClass
from .frames import Message
from .rate_limit import InflowLimits


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much may wait for one socket, and how long; how much may come from it (None: anything)."""

    queue_packets: int = 1_000
    queue_bytes: int = 1_048_576
    slow_abort_s: float = 10.0
    inflow: InflowLimits | None = None


class Counts(Protocol):
    """Where ends and drops are counted, by reason."""

    def abort(self, reason: str) -> None: ...

    def drop(self, delivery: DeliveryClass, reason: str) -> None: ...

    def excess(self, scope: str) -> None: ...


class Outbox:
    """What waits for a slow direct socket: messages in order, and the newest snapshot per key."""

    __slots__ = ("bytes", "latest", "messages")

    def __init__(self) -> None:
        self.messages: deque[bytes] = deque()
        self.latest: dict[str, bytes] = {}
        self.bytes = 0

    def __bool__(self) -> bool:
        return bool(self.messages or self.latest)

    def __len__(self) -> int:
        return len(self.messages) + len(self.latest)

    def put(self, message: Message) -> None:
        if message.delivery is DeliveryClass.SNAPSHOT and message.key is not None:
            self.bytes += len(message.wire) - len(self.latest.pop(message.key, b""))
            self.latest[message.key] = message.wire
        else:
            self.bytes += len(message.wire)
            self.messages.append(message.wire)

    def take(self) -> bytes:
        """The next to write. Durable before snapshots: those only matter when they are the last word."""
        if self.messages:
            wire = self.messages.popleft()
        else:
            key = next(iter(self.latest))
            wire = self.latest.pop(key)
        self.bytes -= len(wire)
        return wire


class PacketQueue(asyncio.Queue[Any]):
    """Engine.IO packets that wait for a poll, None for the end; `bytes` of text wait in it."""

    bytes = 0

    def _put(self, item: Any) -> None:
        self.bytes += _text_bytes(item)
        super()._put(item)

    def _get(self) -> Any:
        item = super()._get()
        self.bytes -= _text_bytes(item)
        return item


def _text_bytes(packet: Any) -> int:
    # Characters, really; what it bounds is memory, and most of the contract is ASCII.
    return len(packet.data) if packet is not None and isinstance(packet.data, str) else 0
