"""Combiner: callers that wait for the same key are served together, one batch at a time per key.

Writes to one claim or one user exclude each other in MongoDB: side by side they only collide and repeat.
Queued here, all that wait share one transaction: the hotter the key, the fewer transactions per write.
Correctness never depends on it: other processes meet in the database. Called by `MongoStore`.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextvars import Context
from typing import Generic, TypeVar

from ..errors import UnavailableError

V = TypeVar("V")
R = TypeVar("R")

ServeBatch = Callable[[str, Sequence[V]], Awaitable[Sequence[R | Exception]]]


class Combiner(Generic[V, R]):
    """Owns one task per key with work; `close` waits for them."""

    def __init__(self, serve: ServeBatch[V, R], *, batch: int, depth: int, keys_at_once: int) -> None:
        """serve: answers each value with its result or error, in order; what it raises is everyone's error.

        batch: most values served together. depth: most values waiting in all; more are refused.
        keys_at_once: most batches under way, each for another key.
        """
        self._slots = asyncio.Semaphore(keys_at_once)
        self._serve = serve
        self._batch = batch
        self._depth = depth
        self._waiting: dict[str, deque[tuple[V, asyncio.Future[R]]]] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._count = 0

    async def submit(self, key: str, value: V, timeout_s: float) -> R:
        """The result for `value`, served after what waited before it.

        Raises:
            UnavailableError: too many waiting, or not served in time; a value not begun by then never is.
        """
        if self._count >= self._depth:
            raise UnavailableError("The store is busy: too many calls are waiting.")
        future: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(key, deque()).append((value, future))
        self._count += 1
        if key not in self._tasks:
            # A context of its own: the first caller's deadline must not end the work of the others.
            self._tasks[key] = asyncio.create_task(self._work(key), context=Context())
        try:
            async with asyncio.timeout(timeout_s):
                return await future
        except TimeoutError as error:
            raise UnavailableError(f"The store did not answer within {timeout_s:g} s.") from error
        finally:
            self._count -= 1

    async def close(self) -> None:
        """Serve what was accepted."""
        while self._tasks:
            await asyncio.gather(*self._tasks.values())

    async def _work(self, key: str) -> None:
        waiting = self._waiting[key]
        while waiting:
            async with self._slots:
                taken = [waiting.popleft() for _ in range(min(self._batch, len(waiting)))]
                wanted = [(value, future) for value, future in taken if not future.cancelled()]
                if wanted:
                    await self._serve_together(key, wanted)
        del self._waiting[key], self._tasks[key]

    async def _serve_together(self, key: str, wanted: "list[tuple[V, asyncio.Future[R]]]") -> None:
        try:
            results = await self._serve(key, [value for value, _ in wanted])
        except Exception as error:  # noqa: BLE001 - handed to every caller of the batch, never swallowed
            results = [error for _ in wanted]
        for (_, future), result in zip(wanted, results, strict=True):
            if future.done():
                continue
            if isinstance(result, Exception):
                future.set_exception(result)
            else:
                future.set_result(result)
