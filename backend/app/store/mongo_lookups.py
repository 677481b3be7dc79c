"""Rows by id, merged: reads that wait at the same time become one query.

After a deploy thousands of clients come back at once, and each asks for its user, its counters and the claim
on its screen. One query for all that wait costs little more than one for one. A read never joins a query that
has begun before it, so that everyone sees what was written before they asked. Called by `MongoStore`.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence

from .mongo.batcher import Combiner
from .mongo.connection import MongoLink, loaded
from .rows import Document
from .schema import Name

_BATCH = 512
_BATCHES_AT_ONCE = 4
_DEPTH = 100_000

OpenedLink = Callable[[], MongoLink]


class Lookup:
    """Documents of one collection by `_id`."""

    def __init__(
        self,
        link: OpenedLink,
        name: Name,
        timeout_s: float,
        projection: Mapping[str, int] | None = None,
    ) -> None:
        self._link = link
        self._name = name
        self._timeout_s = timeout_s
        self._projection = projection
        self._combiner: Combiner[str, Document | None] = Combiner(
            self._find_together, batch=_BATCH, batches_at_once=_BATCHES_AT_ONCE, depth=_DEPTH
        )

    async def one(self, row_id: str) -> Document | None:
        """The document with this id, or None."""
        return await self._combiner.submit(row_id, row_id, self._timeout_s)

    async def close(self) -> None:
        """Answer what was accepted."""
        await self._combiner.close()

    async def _find_together(self, ids: Sequence[str]) -> Sequence[Document | None]:
        link = self._link()
        wanted = {"_id": {"$in": list(set(ids))}}

        def find() -> Awaitable[list[Document]]:
            cursor = link[self._name].find(wanted, self._projection)
            found: Awaitable[list[Document]] = cursor.to_list(length=None)
            return found

        rows = {row["_id"]: loaded(row) for row in await link.call(find)}
        return [rows.get(row_id) for row_id in ids]
