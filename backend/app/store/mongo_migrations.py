"""Steps that bring a MongoDB from one schema version to the next; each may run twice, and on several nodes.

Nodes of the version before go on working on a migrated database until they are replaced (a rolling deploy):
so steps only add, and readers bear what older nodes leave out. Called by `mongo_setup`.
"""

import time
from collections.abc import Awaitable, Callable

from .mongo.connection import MongoLink
from .schema import MONGO_VERSION, Name

Step = Callable[[MongoLink], Awaitable[None]]


async def _to_version_2(link: MongoLink) -> None:
    """Users know up to where their notifications were forgotten; effects, when they were applied.

    For older effects that is not known: they count from now on.
    """
    await link[Name.USERS].update_many({"trimmed_seq": {"$exists": False}}, {"$set": {"trimmed_seq": 0}})
    await link[Name.EFFECTS].update_many(
        {"applied_at_us": {"$exists": False}}, {"$set": {"applied_at_us": time.time_ns() // 1_000}}
    )


STEPS: tuple[Step, ...] = (_to_version_2,)
"""The first leads from version 1 to 2; never edited once released, only appended."""


async def migrate(link: MongoLink, version: int) -> None:
    """Carry out what `version` lacks, and write down how far it came after each step."""
    for reached, step in enumerate(STEPS[version - 1 :], version + 1):
        await step(link)
        await link[Name.META].update_one({"_id": "schema"}, {"$max": {"version": reached}})


assert len(STEPS) == MONGO_VERSION - 1  # noqa: S101 - a version without its step must not be released
