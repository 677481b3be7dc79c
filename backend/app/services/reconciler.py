"""Finishes what a crash or an outage left half-done: at start, and every few seconds.

What was stored while the answer got lost was pushed by nobody, and repairing it makes nothing new to push: so
after a repair, or when answers got lost, every node is told to compare its sockets with the store.

Only work older than one interval is touched, so that requests in flight are left alone; touching it twice
would be harmless anyway.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta

from ..errors import RefusedError, VouchstormError
from ..ports import Clock, Recorded, Store
from .consensus_engine import ConsensusEngine

log = logging.getLogger(__name__)

BATCH = 200


class Reconciler:
    """Repairs pending validations and settlements through the engine."""

    def __init__(
        self,
        store: Store,
        engine: ConsensusEngine,
        clock: Clock,
        interval_s: float,
        compare: Callable[[], Awaitable[object]] | None = None,
    ) -> None:
        """compare: has the nodes look for what their sockets have not got; may raise UnavailableError."""
        self._store = store
        self._engine = engine
        self._clock = clock
        self._interval_s = interval_s
        self._compare = compare
        self._settled = (0, 0)
        self.repaired = 0

    async def run(self) -> None:
        """Repair for ever; an outage is logged and tried again."""
        while True:
            await asyncio.sleep(self._interval_s)
            try:
                await self.repair()
                await self._have_compared()
            except VouchstormError as error:
                log.warning("repair put off: %s", error)

    async def _have_compared(self) -> None:
        """Once for all repairs and lost answers since the last time."""
        now = (self.repaired, self._engine.answers_lost)
        if now != self._settled and self._compare is not None:
            await self._compare()
        self._settled = now

    async def repair(self, *, older_than_s: float | None = None) -> int:
        """Finish pending work older than `older_than_s` (None: one interval); how many items it finished.

        What the store refuses is logged, left as it is, and does not hold up the rest.
        Raises UnavailableError; what was finished before stays finished.
        """
        age_s = self._interval_s if older_than_s is None else older_than_s
        before = self._clock.now() - timedelta(seconds=age_s)
        total = 0
        more = True
        while more:
            finished, more = await self._repair_batch(before)
            total += finished
        self.repaired += total
        if total:
            log.info("repaired %d unfinished items", total)
        return total

    async def _repair_batch(self, before: datetime) -> tuple[int, bool]:
        """How many items were finished, and whether there may be more that can be."""
        finished = 0
        validations = await self._store.claims.pending_validations(before, BATCH)
        for validation in validations:
            claim = await self._store.claims.claim(validation.claim_id)
            if claim is not None:
                finished += await self._finished(self._engine.complete(Recorded(validation, claim)))
        settlements = await self._store.claims.pending_settlements(before, BATCH)
        for settled in settlements:
            finished += await self._finished(self._engine.announce(settled))
        return finished, finished > 0 and max(len(validations), len(settlements)) >= BATCH

    async def _finished(self, work: Awaitable[object]) -> bool:
        try:
            await work
        except RefusedError:
            log.exception("an item cannot be finished")
            return False
        return True
