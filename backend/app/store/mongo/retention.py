"""MongoDB queries that forget what is older than the retention, slice by slice."""

from datetime import datetime
from itertools import takewhile

from ...ports import Trimmed
from ..rows import to_us
from ..schema import Name
from .connection import MongoLink, Session

ROWS_PER_USER = 1_000


async def notifications(link: MongoLink, before: datetime, position: str | None, limit: int) -> Trimmed:
    cursor = link[Name.USERS].find({"_id": {"$gt": position or ""}}, {"trimmed_seq": 1}).sort("_id", 1)
    users = await cursor.limit(limit).to_list(length=None)
    removed = 0
    for user in users:
        if await _is_due(link, user["_id"], user.get("trimmed_seq", 0), to_us(before)):
            removed += await _trim_user(link, user["_id"], to_us(before))
    return Trimmed(removed, users[-1]["_id"] if len(users) == limit else None)


async def _is_due(link: MongoLink, user_id: str, trimmed_seq: int, before_us: int) -> bool:
    """Is the user's oldest row too old? Spares most users a transaction."""
    oldest = link[Name.NOTIFICATIONS].find({"user_id": user_id, "seq": {"$gt": trimmed_seq}}).sort("seq", 1)
    return any(row["created_at_us"] < before_us for row in await oldest.limit(1).to_list(length=None))


async def _trim_user(link: MongoLink, user_id: str, before_us: int) -> int:
    async def body(session: Session) -> int:
        rows = link[Name.NOTIFICATIONS].find(
            {"user_id": user_id}, {"seq": 1, "read": 1, "created_at_us": 1}, session=session
        )
        found = await rows.sort("seq", 1).limit(ROWS_PER_USER).to_list(length=None)
        old = list(takewhile(lambda row: row["created_at_us"] < before_us, found))
        if not old:
            return 0
        changes = {
            "$set": {"trimmed_seq": old[-1]["seq"]},
            "$inc": {"unread": -sum(not row["read"] for row in old)},
        }
        # The user's row first: who comes second meets the conflict before doing any work.
        await link[Name.USERS].update_one({"_id": user_id}, changes, session=session)
        wanted = {"user_id": user_id, "seq": {"$lte": old[-1]["seq"]}}
        await link[Name.NOTIFICATIONS].delete_many(wanted, session=session)
        return len(old)

    return await link.transact(body)


async def effects(link: MongoLink, before: datetime, position: str | None, limit: int) -> Trimmed:
    if await _unfinished(link, to_us(before)):
        return Trimmed(0, None)
    cursor = link[Name.EFFECTS].find({"_id": {"$gt": position or ""}}, {"claim_id": 1, "applied_at_us": 1})
    rows = await cursor.sort("_id", 1).limit(limit).to_list(length=None)
    old = [
        row["_id"]
        for row in rows
        if row["claim_id"] is None and row.get("applied_at_us", to_us(before)) < to_us(before)
    ]
    if old:
        await link[Name.EFFECTS].delete_many({"_id": {"$in": old}})
    return Trimmed(len(old), rows[-1]["_id"] if len(rows) == limit else None)


async def _unfinished(link: MongoLink, before_us: int) -> bool:
    """Is there work from before that time whose effects may be applied again?"""
    validation = {"pending": True, "created_at_us": {"$lt": before_us}}
    settlement = {"pending": True, "settled_at_us": {"$lt": before_us}}
    found = await link[Name.VALIDATIONS].find_one(validation, {"_id": 1})
    return bool(found or await link[Name.CLAIMS].find_one(settlement, {"_id": 1}))
