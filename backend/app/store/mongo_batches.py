"""One transaction for many callers, and what happens when it does not work out for all of them.

All values of a batch together; if that keeps colliding with another process, one transaction per key, so that
only those wait who must; if a row contradicts a unique index, one per value: only its caller is refused.
Called by `MongoStore` with the bodies of `mongo_claims` and `mongo_notifications`.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import TypeVar

from pymongo.errors import PyMongoError

from .mongo.connection import MongoLink, is_duplicate, is_transient
from .mongo_driver import Session

V = TypeVar("V")
R = TypeVar("R")

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
