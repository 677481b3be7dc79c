"""All clients of a run, in however many processes: asked and told as one.

A process that is lost is left out from then on; the run goes on to its end with the rest, so that there is
something to look at, and its verdict is INVALID. Called by the course.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from .generator.pool import ShardLostError
from .generator.publisher import Fact
from .generator.worker import Closing
from .generator.worker_report import Roll, Sample, Statement
from .slices import Slice

T = TypeVar("T")


class ShardFace(Protocol):
    """What a shard does, here or in another process; see `Shard`."""

    part: Slice

    async def connect(self, progress: Callable[[int], None]) -> None: ...
    async def start(self, start_ns: int, load_start_ns: int) -> None: ...
    async def settled(self) -> None: ...
    def published(self, fact: Fact) -> None: ...
    async def sample(self, *, look: bool = False) -> Sample: ...
    async def roll(self) -> Roll: ...
    async def calm(self) -> None: ...
    async def nudge(self, over_s: float) -> None: ...
    async def freeze(self) -> None: ...
    async def close(self, closing: Closing) -> Statement: ...
    async def stop(self) -> None: ...


@dataclass(slots=True)
class Crowd:
    """shards: all of them, in order. peak: the most clients that were seen connected at once."""

    shards: Sequence[ShardFace]
    peak: int = 0
    _lost: set[int] = field(default_factory=set)

    async def connect(self, progress: Callable[[int, int], None]) -> None:
        """Connect everybody."""
        done = [0] * len(self.shards)
        total = sum(shard.part.count for shard in self.shards)

        def told(number: int) -> Callable[[int], None]:
            def tell(count: int) -> None:
                done[number] = count
                progress(sum(done), total)

            return tell

        await self._each(lambda shard: shard.connect(told(shard.part.number)))
        await self.sample()

    async def start(self, start_ns: int, load_start_ns: int) -> None:
        """Traffic begins at `start_ns`, the load at `load_start_ns`."""
        await self._each(lambda shard: shard.start(start_ns, load_start_ns))

    async def settled(self) -> None:
        """Wait until what clients publish themselves is answered."""
        await self._each(lambda shard: shard.settled())

    def published(self, fact: Fact) -> None:
        """A message was accepted by the server: owed from now on."""
        for shard in self.shards:
            shard.published(fact)

    async def sample(self) -> Sample:
        """How it stands now in all processes together, with what came in since this was last asked."""
        whole = Sample()
        for sample in await self._each(lambda shard: shard.sample(look=True)):
            whole.add(sample)
        self.peak = max(self.peak, whole.connected)
        return whole

    async def samples(self) -> list[Sample]:
        """The same for each process that is left."""
        return await self._each(lambda shard: shard.sample())

    async def roll(self) -> Roll:
        """What became of the connections so far."""
        whole = Roll()
        for roll in await self._each(lambda shard: shard.roll()):
            whole.add(roll)
        return whole

    async def calm(self) -> None:
        """No more troubles."""
        await self._each(lambda shard: shard.calm())

    async def nudge(self, over_s: float) -> None:
        """Let every client ping once, so that one that is behind notices."""
        await self._each(lambda shard: shard.nudge(over_s))

    async def freeze(self) -> None:
        """The observation ends."""
        await self._each(lambda shard: shard.freeze())

    async def close(self, closing: Closing) -> Statement | None:
        """What all processes found together; None when none is left."""
        statements = await self._each(lambda shard: shard.close(closing))
        if not statements:
            return None
        whole = statements[0]
        for statement in statements[1:]:
            whole.add(statement)
        return whole

    async def stop(self) -> None:
        """Let everybody leave."""
        await self._each(lambda shard: shard.stop())

    async def _each(self, work: Callable[[ShardFace], Awaitable[T]]) -> list[T]:
        """What each process that is left answers, in order."""

        async def ask(shard: ShardFace) -> list[T]:
            try:
                return [await work(shard)]
            except ShardLostError:
                self._lost.add(shard.part.number)
                return []

        left = [shard for shard in self.shards if shard.part.number not in self._lost]
        return [answer for answers in await asyncio.gather(*map(ask, left)) for answer in answers]
