"""Combiner: callers that wait at the same time are served together, and never two at once for the same key.

A transaction costs MongoDB and its driver about the same for one row as for many, and writes to one claim or
one user exclude each other: side by side they only collide and repeat. So what waits is taken in batches;
while a batch is under way, its keys are taken by no other. The busier the node, the fewer transactions per
write. Correctness never depends on it: other processes meet in the database. Called by `MongoStore`.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextvars import Context
from dataclasses import dataclass
from typing import Generic, TypeVar

from pymongo.errors import PyMongoError

from ...errors import UnavailableError
from .connection import MongoLink, Session, is_duplicate, is_transient

V = TypeVar("V")
R = TypeVar("R")

ServeBatch = Callable[[Sequence[V]], Awaitable[Sequence[R | Exception]]]


@dataclass(frozen=True, slots=True, eq=False)
class _Waiting(Generic[V, R]):
    value: V
    future: "asyncio.Future[R]"


class Combiner(Generic[V, R]):
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
        self._waiting: dict[str, deque[_Waiting[V, R]]] = {}
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
            raise UnavailableError("The store is busy: too many calls are waiting.")
        future: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._enqueue(key, _Waiting(value, future))
        self._count += 1
        try:
            async with asyncio.timeout(timeout_s):
                return await future
        except TimeoutError as error:
            raise UnavailableError(f"The store did not answer within {timeout_s:g} s.") from error
        finally:
            self._count -= 1

    async def close(self) -> None:
        """Serve what was accepted."""
        while under_way := [*self._tasks]:
            await asyncio.gather(*under_way)
            # Not left to the callback: gathering what is done does not yield on Python 3.12 and newer.
            self._tasks.difference_update(under_way)

    def _enqueue(self, key: str, waiting: _Waiting[V, R]) -> None:
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

    def _take(self) -> tuple[list[str], list[_Waiting[V, R]]]:
        """The next batch, and the keys that it keeps to itself."""
        keys: list[str] = []
        taken: list[_Waiting[V, R]] = []
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

    async def _serve_together(self, wanted: Sequence[_Waiting[V, R]]) -> None:
        try:
            results = await self._serve([item.value for item in wanted])
        except Exception as error:  # noqa: BLE001 - handed to every caller of the batch, never swallowed
            results = [error for _ in wanted]
        for item, result in zip(wanted, results, strict=True):
            if item.future.done():
                continue
            if isinstance(result, Exception):
                item.future.set_exception(result)
            else:
                item.future.set_result(result)


# One transaction for many callers, and what happens when it does not work out for all of them.
#
# All values of a batch together; if that keeps colliding with another process, one transaction per
# key, so that
# only those wait who must; if a row contradicts a unique index, one per value: only its caller is
# refused.
# Called by `MongoStore` with the bodies of `mongo_claims` and `mongo_notifications`.

Body = Callable[[Sequence[V], Session], Awaitable[Sequence[R | Exception]]]

_TRIES_TOGETHER = 3


async def serve_batch(
    link: MongoLink, values: Sequence[V], key_of: Callable[[V], str], body: Body[V, R]
) -> Sequence[R | Exception]:
    """The result or the error of each value, in order, within one timeout of the store."""
    return await link.call(lambda: _together(link, values, key_of, body))


async def _together(
    link: MongoLink, values: Sequence[V], key_of: Callable[[V], str], body: Body[V, R]
) -> Sequence[R | Exception]:
    several = len({key_of(value) for value in values}) > 1
    try:
        return await link.transact(
            lambda session: body(values, session), tries=_TRIES_TOGETHER if several else None
        )
    except PyMongoError as error:
        if len(values) == 1 or not (is_duplicate(error) or (several and is_transient(error))):
            raise
        groups = _by_key(values, key_of) if several else [[index] for index in range(len(values))]
    return await _apart(link, values, groups, key_of, body)


def _by_key(values: Sequence[V], key_of: Callable[[V], str]) -> Iterable[list[int]]:
    groups: dict[str, list[int]] = {}
    for index, value in enumerate(values):
        groups.setdefault(key_of(value), []).append(index)
    return groups.values()


async def _apart(
    link: MongoLink,
    values: Sequence[V],
    groups: Iterable[list[int]],
    key_of: Callable[[V], str],
    body: Body[V, R],
) -> Sequence[R | Exception]:
    """Each group (of indexes) for itself; what goes wrong with one does not touch the others."""
    results: list[R | Exception | None] = [None] * len(values)

    async def serve(group: list[int]) -> None:
        own = [values[index] for index in group]
        try:
            answers = await link.call(lambda: _together(link, own, key_of, body))
        except Exception as error:  # noqa: BLE001 - handed to the callers of this group, never swallowed
            answers = [error for _ in group]
        for index, answer in zip(group, answers, strict=True):
            results[index] = answer

    await asyncio.gather(*(serve(group) for group in groups))
    return [result for result in results if result is not None]
