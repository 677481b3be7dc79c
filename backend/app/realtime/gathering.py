"""Questions that wait at the same time are asked together: a storm costs a few reads, not thousands.

While one read is under way the next batch gathers, so a lone question waits for nobody, and no answer is
older than its question. Used by the rooms that read the store for each socket that comes.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, Generic, TypeVar

from ..errors import UnavailableError

Q = TypeVar("Q")
A = TypeVar("A")

BATCH = 500

Own = Callable[[Coroutine[Any, Any, None]], None]


class Gathered(Generic[Q, A]):
    """Asks `read` for many at once.

    read: the answers in the order of the questions; what it raises, everybody of that batch is told.
    """

    def __init__(self, read: Callable[[Sequence[Q]], Awaitable[Sequence[A]]], own: Own) -> None:
        self._read = read
        self._own = own
        self._waiting: list[tuple[Q, asyncio.Future[A]]] = []
        self._reading = False

    async def ask(self, question: Q) -> A:
        """The answer, read after this was asked. Raises what `read` raised."""
        future: asyncio.Future[A] = asyncio.get_running_loop().create_future()
        self._waiting.append((question, future))
        if not self._reading:
            self._reading = True
            self._own(self._read_all())
        return await future

    async def _read_all(self) -> None:
        try:
            while self._waiting:
                batch, self._waiting = self._waiting[:BATCH], self._waiting[BATCH:]
                await self._read_batch(batch)
        finally:
            self._reading = False

    async def _read_batch(self, batch: list[tuple[Q, "asyncio.Future[A]"]]) -> None:
        try:
            answers = await self._read([question for question, _ in batch])
        except Exception as error:  # noqa: BLE001 - belongs to those who asked; handed over, never swallowed
            for _, future in batch:
                if not future.done():
                    future.set_exception(_own_copy(error))
            return
        except BaseException:
            for _, future in batch:
                future.cancel()
            raise
        for (_, future), answer in zip(batch, answers, strict=True):
            if not future.done():
                future.set_result(answer)


def _own_copy(error: Exception) -> Exception:
    """An exception that is raised in several places needs a traceback for each."""
    if isinstance(error, UnavailableError):
        return UnavailableError(str(error), error.code, retry_after_s=error.retry_after_s)
    return error
