"""What the client bench notes of arrivals, and how its clients are connected: a bounded number at a time."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

CONNECT_BATCH = 50
CONNECT_TIMEOUT_S = 60.0


@dataclass(slots=True)
class Arrivals:
    """Who got an event when last, and how many in all."""

    last_ns: dict[int, int] = field(default_factory=dict)
    count: int = 0

    def note(self, index: int, at_ns: int) -> None:
        """One event for client `index`."""
        self.last_ns[index] = at_ns
        self.count += 1


async def in_batches(clients: int, connect_one: Callable[[int], Awaitable[None]]) -> None:
    """Connect so many clients, a bounded number at a time."""
    for first in range(0, clients, CONNECT_BATCH):
        await asyncio.gather(
            *(connect_one(index) for index in range(first, min(first + CONNECT_BATCH, clients)))
        )
