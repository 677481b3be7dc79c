"""Newest seqs, read for many sockets at once: a storm of joins costs a few reads of the store, not thousands.

While one read is under way the next batch gathers, so a lone socket waits for nobody. Called by `channels`.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from ..contracts.words import UserId
from ..errors import UnavailableError
from ..ports import Store

BATCH_USERS = 500


class NewestSeqs:
    """Asks the store for the newest seq of users."""

    def __init__(self, store: Store, own: Callable[[Coroutine[Any, Any, None]], None]) -> None:
        self._store = store
        self._own = own
        self._waiting: list[tuple[UserId, asyncio.Future[int]]] = []
        self._reading = False

    async def of(self, user_id: UserId) -> int:
        """The user's newest seq, as the store had it after this was asked; 0 for a user without any.

        Raises UnavailableError.
        """
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._waiting.append((user_id, future))
        if not self._reading:
            self._reading = True
            self._own(self._read_all())
        return await future

    async def _read_all(self) -> None:
        try:
            while self._waiting:
                batch, self._waiting = self._waiting[:BATCH_USERS], self._waiting[BATCH_USERS:]
                await self._read(batch)
        finally:
            self._reading = False

    async def _read(self, batch: list[tuple[UserId, "asyncio.Future[int]"]]) -> None:
        try:
            newest = await self._store.last_seqs(list({user_id for user_id, _ in batch}))
        except Exception as error:  # noqa: BLE001 - belongs to those who asked; handed over, never swallowed
            for _, future in batch:
                if not future.done():
                    future.set_exception(_own_copy(error))
            return
        except BaseException:
            for _, future in batch:
                future.cancel()
            raise
        for user_id, future in batch:
            if not future.done():
                future.set_result(newest.get(user_id, 0))


def _own_copy(error: Exception) -> Exception:
    """An exception that is raised in several places needs a traceback for each."""
    if isinstance(error, UnavailableError):
        return UnavailableError(str(error), error.code, retry_after_s=error.retry_after_s)
    return error
