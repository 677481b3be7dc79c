"""Callers that wait and are served together: by one commit of SQLite, or one transaction of MongoDB."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from ..errors import UnavailableError

V = TypeVar("V")
R = TypeVar("R")


@dataclass(frozen=True, slots=True, eq=False)
class Waiting(Generic[V, R]):
    """One caller: what it wants, and where it waits for the result."""

    value: V
    future: "asyncio.Future[R]"

    async def result(self, timeout_s: float) -> R:
        """The result; the future of a caller that gives up is cancelled.

        Raises:
            UnavailableError: not served within `timeout_s`.
        """
        try:
            async with asyncio.timeout(timeout_s):
                return await self.future
        except TimeoutError as error:
            raise UnavailableError(f"The store did not answer within {timeout_s:g} s.") from error


def busy() -> UnavailableError:
    return UnavailableError("The store is busy: too many calls are waiting.")


def settle(batch: Sequence[Waiting[Any, R]], results: Sequence[R | Exception]) -> None:
    """Give each caller its result or its error, in order."""
    for item, result in zip(batch, results, strict=True):
        if item.future.done():
            continue
        if isinstance(result, Exception):
            item.future.set_exception(result)
        else:
            item.future.set_result(result)
