"""Users, badges, ranks and revoked tokens in MongoDB."""

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
from ..rows import USERS_BY_RANK, badge_records, bounded, user_document, user_record, username_key
from ..schema import Name
from .connection import Lookup, MongoConnection, Repository, duplicate_columns, is_duplicate, one_call

_BEST_FIRST = {"trust_score": -1, "validations": -1, "_id": 1}


class MongoUsers(Repository):
    """See `ports.UserRepository`."""

    def __init__(self, connection: MongoConnection, user_rows: Lookup) -> None:
        super().__init__(connection)
        self._user_rows = user_rows
        self._revoked_tokens = Lookup(connection, Name.REVOKED_TOKENS)

    async def create_user(self, user: User, password_hash: str) -> None:
        await self.create_users([user], password_hash)

    @one_call
    async def create_users(self, users: Sequence[User], password_hash: str) -> None:
        if not users:
            return
        documents = [user_document(user, password_hash) for user in users]
        try:
            await self.connection.transact(
                lambda session: self.connection.insert(Name.USERS, documents, session)
            )
        except PyMongoError as error:
            if is_duplicate(error) and "username_key" in duplicate_columns(error):
                raise RefusedError("That username is taken.", Code.USERNAME_TAKEN) from error
            raise

    @one_call
    async def credentials(self, username: str) -> Credentials | None:
        row = await self.connection.find_one(Name.USERS, {"username_key": username_key(username)})
        return None if row is None else Credentials(user_record(row), row["password_hash"])

    async def user(self, user_id: UserId) -> User | None:
        row = await self._user_rows.one(user_id)
        return None if row is None else user_record(row)

    @one_call
    async def badges(self, user_ids: Sequence[UserId]) -> dict[UserId, list[EarnedBadge]]:
        wanted = {"_id": {"$in": list(user_ids)}, "badges": {"$ne": []}}
        rows = await self.connection.find(Name.USERS, wanted, {"badges": 1})
        return {UserId(row["id"]): badge_records(row) for row in rows}

    @one_call
    async def leaderboard(self, limit: int, cursor: str | None) -> Page[User]:
        limit = bounded(limit)
        wanted: dict[str, Any] = {}
        if cursor is not None:
            score, validations, user_id = USERS_BY_RANK.position(cursor)
            wanted = {
                "trust_score": {"$lte": score},
                "$or": [
                    {"trust_score": {"$lt": score}},
                    {"validations": {"$lt": validations}},
                    {"validations": validations, "_id": {"$gt": user_id}},
                ],
            }
        rows = await self.connection.find(Name.USERS, wanted, sort=_BEST_FIRST, limit=limit + 1)
        return USERS_BY_RANK.page(rows, limit)

    @one_call
    async def revoke_token(self, jti: str, expires_at: datetime) -> None:
        """The server forgets it some time after `expires_at` by itself."""
        # MongoDB's dates end at the millisecond: one more, so that the token is never forgotten too early.
        until = {"expires_at": expires_at + timedelta(milliseconds=1)}
        await self.connection[Name.REVOKED_TOKENS].update_one({"_id": jti}, {"$max": until}, upsert=True)

    async def is_revoked(self, jti: str) -> bool:
        return await self._revoked_tokens.one(jti) is not None

    @one_call
    async def newcomers(self, asked: Sequence[tuple[UserId, str]]) -> list[Newcomer]:
        users = {"_id": {"$in": list({user_id for user_id, _ in asked})}}
        tokens = {"_id": {"$in": list({jti for _, jti in asked})}}
        found, gone = await asyncio.gather(
            self.connection.find(Name.USERS, users, {"last_seq": 1}),
            self.connection.find(Name.REVOKED_TOKENS, tokens, {"_id": 1}),
        )
        last_seqs = {row["_id"]: row["last_seq"] for row in found}
        revoked = {row["_id"] for row in gone}
        return [Newcomer(last_seqs.get(user_id), jti in revoked) for user_id, jti in asked]
