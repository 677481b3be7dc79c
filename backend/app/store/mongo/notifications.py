"""Notifications, read marks and their retention in MongoDB."""

from collections.abc import Sequence
from datetime import datetime
from itertools import takewhile
from typing import Any

from ...contracts.types import NotificationId, UserId
from ...domain.records import Notification
from ...ports import History, ReadMark, Trimmed
from ..rows import bounded, history_of, no_such_notification, notification_record, to_us
from ..schema import TRIMMED_ROWS_PER_USER, Name
from .connection import Lookup, MongoConnection, Repository, Session, one_call


class MongoNotifications(Repository):
    """See `ports.NotificationRepository`."""

    def __init__(self, connection: MongoConnection, user_rows: Lookup) -> None:
        super().__init__(connection)
        self._user_rows = user_rows

    @one_call
    async def notifications(
        self,
        user_id: UserId,
        *,
        after_seq: int | None = None,
        before_seq: int | None = None,
        unread_only: bool = False,
        limit: int,
    ) -> list[Notification]:
        seq: dict[str, int] = {}
        if after_seq is not None:
            seq["$gt"] = after_seq
        if before_seq is not None:
            seq["$lt"] = before_seq
        wanted: dict[str, Any] = {"user_id": user_id, "seq": seq} if seq else {"user_id": user_id}
        if unread_only:
            wanted["read"] = False
        order = {"seq": -1 if after_seq is None else 1}
        rows = await self.connection.find(Name.NOTIFICATIONS, wanted, sort=order, limit=bounded(limit))
        return [notification_record(row) for row in rows]

    async def history(self, user_id: UserId, after_seq: int, limit: int) -> History:
        """One view: the newest seq is read first, and all rows up to it were committed with it."""
        user = await self._user_rows.one(user_id)
        last_seq = 0 if user is None else user["last_seq"]
        if after_seq >= last_seq:
            return history_of([], after_seq, last_seq)
        wanted = {"user_id": user_id, "seq": {"$gt": after_seq, "$lte": last_seq}}
        rows = await self.connection.call(
            lambda: self.connection.find(Name.NOTIFICATIONS, wanted, sort={"seq": 1}, limit=bounded(limit))
        )
        return history_of(rows, after_seq, last_seq)

    @one_call
    async def last_seqs(self, user_ids: Sequence[UserId]) -> dict[UserId, int]:
        rows = await self.connection.find(Name.USERS, {"_id": {"$in": list(user_ids)}}, {"last_seq": 1})
        return {UserId(row["id"]): row["last_seq"] for row in rows}

    async def unread_count(self, user_id: UserId) -> int:
        user = await self._user_rows.one(user_id)
        return 0 if user is None else int(user["unread"])

    @one_call
    async def mark_read(self, user_id: UserId, notification_id: NotificationId) -> ReadMark:
        connection = self.connection

        async def body(session: Session) -> ReadMark:
            wanted = {"_id": notification_id, "user_id": user_id}
            row = await connection.find_one(Name.NOTIFICATIONS, wanted, session)
            if row is None:
                raise no_such_notification()
            changed = [] if row["read"] else [notification_id]
            if changed:
                await connection.update(Name.NOTIFICATIONS, wanted, {"$set": {"read": True}}, session)
            return ReadMark(changed, row["seq"], await self._subtract_unread(user_id, len(changed), session))

        return await connection.transact(body)

    @one_call
    async def mark_all_read(self, user_id: UserId, up_to_seq: int | None) -> ReadMark:
        """A bound above the newest seq means the newest: it must not reach rows that do not exist yet."""
        connection = self.connection

        async def body(session: Session) -> ReadMark:
            user = await connection.find_one(Name.USERS, {"_id": user_id}, session)
            last_seq = 0 if user is None else user["last_seq"]
            bound = last_seq if up_to_seq is None else min(up_to_seq, last_seq)
            wanted = {"user_id": user_id, "seq": {"$lte": bound}, "read": False}
            rows = await connection.find(
                Name.NOTIFICATIONS, wanted, {"_id": 1}, sort={"seq": 1}, session=session
            )
            ids = [NotificationId(row["id"]) for row in rows]
            if ids:
                changes = {"$set": {"read": True}}
                await connection[Name.NOTIFICATIONS].update_many(wanted, changes, session=session)
            return ReadMark(ids, bound, await self._subtract_unread(user_id, len(ids), session))

        return await connection.transact(body)

    async def _subtract_unread(self, user_id: UserId, count: int, session: Session) -> int:
        """What is left."""
        user_row = {"_id": user_id}
        if count:
            changes = {"$inc": {"unread": -count}}
            user = await self.connection.update(Name.USERS, user_row, changes, session)
        else:
            user = await self.connection.find_one(Name.USERS, user_row, session)
        return 0 if user is None else int(user["unread"])

    @one_call
    async def trim_notifications(self, before: datetime, position: str | None, limit: int) -> Trimmed:
        after = {"_id": {"$gt": position or ""}}
        users = await self.connection.find(
            Name.USERS, after, {"trimmed_seq": 1}, sort={"_id": 1}, limit=limit
        )
        removed = 0
        for user in users:
            if await self._is_due(user["id"], user.get("trimmed_seq", 0), to_us(before)):
                removed += await self._trim_user(user["id"], to_us(before))
        return Trimmed(removed, users[-1]["id"] if len(users) == limit else None)

    async def _is_due(self, user_id: str, trimmed_seq: int, before_us: int) -> bool:
        """Is the user's oldest row too old? Spares most users a transaction."""
        wanted = {"user_id": user_id, "seq": {"$gt": trimmed_seq}}
        oldest = await self.connection.find(Name.NOTIFICATIONS, wanted, sort={"seq": 1}, limit=1)
        return any(row["created_at_us"] < before_us for row in oldest)

    async def _trim_user(self, user_id: str, before_us: int) -> int:
        connection = self.connection

        async def body(session: Session) -> int:
            rows = await connection.find(
                Name.NOTIFICATIONS,
                {"user_id": user_id},
                {"seq": 1, "read": 1, "created_at_us": 1},
                sort={"seq": 1},
                limit=TRIMMED_ROWS_PER_USER,
                session=session,
            )
            old = list(takewhile(lambda row: row["created_at_us"] < before_us, rows))
            if not old:
                return 0
            last_seq = old[-1]["seq"]
            changes = {
                "$set": {"trimmed_seq": last_seq},
                "$inc": {"unread": -sum(not row["read"] for row in old)},
            }
            # The user's row first: who comes second meets the conflict before doing any work.
            await connection[Name.USERS].update_one({"_id": user_id}, changes, session=session)
            wanted = {"user_id": user_id, "seq": {"$lte": last_seq}}
            await connection[Name.NOTIFICATIONS].delete_many(wanted, session=session)
            return len(old)

        return await connection.transact(body)
