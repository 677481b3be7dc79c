"""MongoDB queries about users, badges, ranks and revoked tokens."""

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from pymongo.errors import PyMongoError

from ...contracts.errors import Code
from ...contracts.types import UserId
from ...domain.records import EarnedBadge, User
from ...errors import RefusedError
from ...ports import Credentials, Newcomer, Page
from .. import rows
from ..rows import badge_records, bounded, user_document, user_record, username_key
from ..schema import Name
from .connection import MongoLink, Session, duplicate_columns, is_duplicate, loaded, stored

_RANK = "rank"
_BEST_FIRST = [("trust_score", -1), ("validations", -1), ("_id", 1)]


async def create(link: MongoLink, users: Sequence[User], password_hash: str) -> None:
    """Insert all or, for a taken name (stored, or twice in `users`), raise USERNAME_TAKEN."""
    if not users:
        return
    documents = [stored(user_document(user, password_hash)) for user in users]

    async def insert(session: Session) -> None:
        await link[Name.USERS].insert_many(documents, session=session)

    try:
        await link.transact(insert)
    except PyMongoError as error:
        if is_duplicate(error) and "username_key" in duplicate_columns(error):
            raise RefusedError("That username is taken.", Code.USERNAME_TAKEN) from error
        raise


async def credentials(link: MongoLink, username: str) -> Credentials | None:
    found = await link[Name.USERS].find_one({"username_key": username_key(username)})
    return None if found is None else Credentials(user_record(loaded(found)), found["password_hash"])


async def badges(link: MongoLink, user_ids: Sequence[UserId]) -> dict[UserId, list[EarnedBadge]]:
    wanted = {"_id": {"$in": list(user_ids)}, "badges": {"$ne": []}}
    found = await link[Name.USERS].find(wanted, {"badges": 1}).to_list(length=None)
    return {UserId(item["_id"]): badge_records(item) for item in found}


async def leaderboard(link: MongoLink, limit: int, cursor: str | None) -> Page[User]:
    limit = bounded(limit)
    wanted: dict[str, Any] = {}
    if cursor is not None:
        score, validations, user_id = rows.decode(cursor, _RANK, (int, int, str))
        wanted = {
            "trust_score": {"$lte": score},
            "$or": [
                {"trust_score": {"$lt": score}},
                {"validations": {"$lt": validations}},
                {"validations": validations, "_id": {"$gt": user_id}},
            ],
        }
    found = await link[Name.USERS].find(wanted).sort(_BEST_FIRST).limit(limit + 1).to_list(length=None)
    following = None
    if len(found) > limit:
        last = found[limit - 1]
        following = rows.encode(_RANK, (last["trust_score"], last["validations"], last["_id"]))
    return Page([user_record(loaded(item)) for item in found[:limit]], following)


async def revoke(link: MongoLink, jti: str, expires_at: datetime) -> None:
    """Remember the token; the server forgets it some time after `expires_at` by itself."""
    # MongoDB's dates end at the millisecond: one more, so that the token is never forgotten too early.
    until = expires_at + timedelta(milliseconds=1)
    await link[Name.REVOKED_TOKENS].update_one({"_id": jti}, {"$max": {"expires_at": until}}, upsert=True)


async def newcomers(link: MongoLink, asked: Sequence[tuple[UserId, str]]) -> list[Newcomer]:
    users = link[Name.USERS].find({"_id": {"$in": list({user_id for user_id, _ in asked})}}, {"last_seq": 1})
    tokens = link[Name.REVOKED_TOKENS].find({"_id": {"$in": list({jti for _, jti in asked})}}, {"_id": 1})
    found, gone = await asyncio.gather(users.to_list(length=None), tokens.to_list(length=None))
    last_seqs = {row["_id"]: row["last_seq"] for row in found}
    revoked = {row["_id"] for row in gone}
    return [Newcomer(last_seqs.get(user_id), jti in revoked) for user_id, jti in asked]
