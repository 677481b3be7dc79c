"""Continuous traffic: validations that fill one owner's bell and move live counters."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial

import aiohttp

from tests.support.backend.rest import Account, Rest
from tests.support.waiting import until, until_async

NEVER = 100_000
"""A quorum that no test reaches."""
RETRIES_S = 30.0


@dataclass
class Traffic:
    """Validations of one owner's claims, one after the other. acknowledged: (claim id, validation id)."""

    rest: Rest
    owner: Account
    validators: list[Account]
    claims: list[str]
    acknowledged: list[tuple[str, str]] = field(default_factory=list)
    stopping: bool = False

    async def one(self, who: Account, claim_id: str) -> bool:
        """One validation; False if the node did not answer."""
        try:
            answer = await self.rest.validate(who, claim_id)
        except aiohttp.ClientError:
            return False
        if answer.status_code == 201:
            self.acknowledged.append((claim_id, answer.json()["validation"]["id"]))
        return answer.status_code in (201, 409)

    async def flow(self, pause_s: float) -> None:
        """All pairs of claim and validator, in turn; what got no answer is tried again."""
        for claim_id, who in itertools.product(self.claims, self.validators):
            if self.stopping:
                return
            await until_async(partial(self.one, who, claim_id), "an answer", RETRIES_S)
            await asyncio.sleep(pause_s)

    async def more(self, count: int) -> None:
        """Return when `count` further validations have been acknowledged."""
        wanted = len(self.acknowledged) + count
        await until(lambda: len(self.acknowledged) >= wanted, f"{count} validations")


async def prepare(rest: Rest, owner: Account, *, claims: int, validators: int) -> Traffic:
    """Claims that no consensus will settle, and people to validate them: claims * validators events."""
    ids = [await rest.claim(owner, quorum=NEVER) for _ in range(claims)]
    return Traffic(rest, owner, await rest.accounts(validators), ids)


@asynccontextmanager
async def flowing(
    rest: Rest, owner: Account, *, claims: int = 60, validators: int = 5, pause_s: float = 0.002
) -> AsyncIterator[Traffic]:
    """Traffic that flows while the block runs."""
    traffic = await prepare(rest, owner, claims=claims, validators=validators)
    task = asyncio.create_task(traffic.flow(pause_s))
    try:
        await traffic.more(1)
        yield traffic
        assert not task.done(), "the traffic ended too early: give it more claims"
    finally:
        traffic.stopping = True  # the request that is under way is answered
        await task
