"""Callers that wait at the same time are served together, and never two at once for the same key.

A transaction costs MongoDB and its driver about the same for one row as for many, and writes to one claim or
one user exclude each other: side by side they only collide and repeat. So what waits is taken in batches;
while a batch is under way, its keys are taken by no other. The busier the node, the fewer transactions per
write. Correctness never depends on it: other processes meet in the database.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextvars import Context
from typing import Generic, TypeVar

from ..batch import Waiting, busy, settle

V = TypeVar("V")
R = TypeVar("R")

ServeBatch = Callable[[Sequence[V]], Awaitable[Sequence[R | Exception]]]


class Batcher(Generic[V, R]):
    """Owns one task per batch under way; `close` waits for them."""

    def __init__(self, serve: ServeBatch[V, R], *, batch: int, batches_at_once: int, depth: int) -> None:
        """serve: answers each value with its result or error, in order; what it raises is everyone's error.

        batch: most values served together. depth: most values waiting or under way; more are refused.
        """
        self._serve = serve
        self._batch = batch
        self._batches_at_once = batches_at_once
        self._depth = depth
        self._count = 0
        self._waiting: dict[str, deque[Waiting[V, R]]] = {}
        self._ready: deque[str] = deque()
        """Keys with waiting values of which none is under way."""
        self._running = 0
        self._tasks: set[asyncio.Task[None]] = set()

    async def submit(self, key: str, value: V, timeout_s: float) -> R:
        """The result for `value`; values of one key are served in the order they came.

        Raises:
            UnavailableError: too many waiting, or not served in time; a value not begun by then never is.
        """
        if self._count >= self._depth:
            raise busy()
        waiting: Waiting[V, R] = Waiting(value, asyncio.get_running_loop().create_future())
        self._enqueue(key, waiting)
        self._count += 1
        try:
            return await waiting.result(timeout_s)
        finally:
            self._count -= 1

    async def close(self) -> None:
        """Serve what was accepted."""
        while under_way := [*self._tasks]:
            await asyncio.gather(*under_way)
            # Not left to the callback: gathering what is done does not yield on Python 3.12 and newer.
            self._tasks.difference_update(under_way)

    def _enqueue(self, key: str, waiting: Waiting[V, R]) -> None:
        queue = self._waiting.get(key)
        if queue is not None:
            # The key is ready already, or under way and becomes ready after that.
            queue.append(waiting)
            return
        self._waiting[key] = deque((waiting,))
        self._ready.append(key)
        if self._running < self._batches_at_once:
            self._running += 1
            # A context of its own: the first caller's deadline must not end the work of the others.
            task = asyncio.create_task(self._work(), context=Context())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _work(self) -> None:
        while self._ready:
            keys, taken = self._take()
            wanted = [item for item in taken if not item.future.cancelled()]
            if wanted:
                await self._serve_together(wanted)
            self._release(keys)
        # Counted here and not when the task is collected: a key that comes in between needs a new task.
        self._running -= 1

    def _take(self) -> tuple[list[str], list[Waiting[V, R]]]:
        """The next batch, and the keys that it keeps to itself."""
        keys: list[str] = []
        taken: list[Waiting[V, R]] = []
        while self._ready and len(taken) < self._batch:
            key = self._ready.popleft()
            queue = self._waiting[key]
            keys.append(key)
            while queue and len(taken) < self._batch:
                taken.append(queue.popleft())
        return keys, taken

    def _release(self, keys: Sequence[str]) -> None:
        for key in keys:
            if self._waiting[key]:
                self._ready.append(key)
            else:
                del self._waiting[key]

    async def _serve_together(self, wanted: Sequence[Waiting[V, R]]) -> None:
        try:
            results = await self._serve([item.value for item in wanted])
        except Exception as error:  # noqa: BLE001 - handed to every caller of the batch, never swallowed
            results = [error for _ in wanted]
        settle(wanted, results)
