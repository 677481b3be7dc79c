"""Users, badges, ranks and revoked tokens in SQLite."""

from collections.abc import Sequence
from datetime import datetime

from ...contracts.errors import Code
from ...contracts.types import UserId
from ...domain.records import EarnedBadge, User
from ...errors import RefusedError
from ...ports import Clock, Credentials, Newcomer, Page
from ..rows import USERS_BY_RANK, badge_records, bounded, to_us, user_document, user_record, username_key
from ..schema import USERS
from .connection import (
    Connection,
    Database,
    Repository,
    insert,
    json_list,
    reading,
    select,
    select_one,
    writing,
)


class SqliteUsers(Repository):
    """See `ports.UserRepository`."""

    def __init__(self, database: Database, clock: Clock) -> None:
        super().__init__(database)
        self._clock = clock

    async def create_user(self, user: User, password_hash: str) -> None:
        await self.create_users([user], password_hash)

    @writing
    def create_users(self, connection: Connection, users: Sequence[User], password_hash: str) -> None:
        documents = [user_document(user, password_hash) for user in users]
        keys = [document["username_key"] for document in documents]
        taken = connection.execute(
            "SELECT username FROM users WHERE username_key IN (SELECT value FROM json_each(?)) LIMIT 1",
            (json_list(keys),),
        ).fetchone()
        if taken or len(set(keys)) < len(keys):
            raise RefusedError("That username is taken.", Code.USERNAME_TAKEN)
        insert(connection, USERS, documents)

    @reading
    def credentials(self, connection: Connection, username: str) -> Credentials | None:
        row = select_one(connection, USERS, "WHERE username_key = ?", (username_key(username),))
        return None if row is None else Credentials(user_record(row), row["password_hash"])

    @reading
    def user(self, connection: Connection, user_id: UserId) -> User | None:
        row = select_one(connection, USERS, "WHERE id = ?", (user_id,))
        return None if row is None else user_record(row)

    @reading
    def badges(self, connection: Connection, user_ids: Sequence[UserId]) -> dict[UserId, list[EarnedBadge]]:
        rows = select(
            connection,
            USERS,
            "WHERE id IN (SELECT value FROM json_each(?)) AND badges <> '[]'",
            (json_list(user_ids),),
        )
        return {UserId(row["id"]): badge_records(row) for row in rows}

    @reading
    def leaderboard(self, connection: Connection, limit: int, cursor: str | None) -> Page[User]:
        limit = bounded(limit)
        where = ""
        values: tuple[int | str, ...] = ()
        if cursor is not None:
            score, validations, user_id = USERS_BY_RANK.position(cursor)
            where = """WHERE trust_score <= ? AND (trust_score < ? OR validations < ?
                OR (validations = ? AND id > ?))"""
            values = (score, score, validations, validations, user_id)
        best_first = f"{where} ORDER BY trust_score DESC, validations DESC, id LIMIT ?"
        return USERS_BY_RANK.page(select(connection, USERS, best_first, (*values, limit + 1)), limit)

    @writing
    def revoke_token(self, connection: Connection, jti: str, expires_at: datetime) -> None:
        """Those that have expired by themselves are forgotten meanwhile."""
        connection.execute("DELETE FROM revoked_tokens WHERE expires_at_us < ?", (to_us(self._clock.now()),))
        connection.execute(
            """INSERT INTO revoked_tokens (jti, expires_at_us) VALUES (?, ?)
            ON CONFLICT (jti) DO UPDATE SET expires_at_us = max(expires_at_us, excluded.expires_at_us)""",
            (jti, to_us(expires_at)),
        )

    @reading
    def is_revoked(self, connection: Connection, jti: str) -> bool:
        return connection.execute("SELECT 1 FROM revoked_tokens WHERE jti = ?", (jti,)).fetchone() is not None

    @reading
    def newcomers(self, connection: Connection, asked: Sequence[tuple[UserId, str]]) -> list[Newcomer]:
        users = connection.execute(
            "SELECT id, last_seq FROM users WHERE id IN (SELECT value FROM json_each(?))",
            (json_list([user_id for user_id, _ in asked]),),
        )
        last_seqs: dict[str, int] = dict(users)
        tokens = connection.execute(
            "SELECT jti FROM revoked_tokens WHERE jti IN (SELECT value FROM json_each(?))",
            (json_list([jti for _, jti in asked]),),
        )
        revoked = {jti for (jti,) in tokens}
        return [Newcomer(last_seqs.get(user_id), jti in revoked) for user_id, jti in asked]
