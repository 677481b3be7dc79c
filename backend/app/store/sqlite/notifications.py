"""Notifications, read marks and their retention in SQLite."""

from collections.abc import Sequence
from datetime import datetime
from itertools import takewhile
from typing import Any

from ...contracts.types import NotificationId, UserId
from ...domain.records import Notification
from ...ports import History, ReadMark, Trimmed
from ..rows import bounded, history_of, no_such_notification, notification_record, to_us
from ..schema import NOTIFICATIONS, TRIMMED_ROWS_PER_USER
from .connection import Connection, Repository, json_list, reading, select, writing


class SqliteNotifications(Repository):
    """See `ports.NotificationRepository`."""

    @reading
    def notifications(
        self,
        connection: Connection,
        user_id: UserId,
        *,
        after_seq: int | None = None,
        before_seq: int | None = None,
        unread_only: bool = False,
        limit: int,
    ) -> list[Notification]:
        conditions = ["user_id = ?"]
        values: list[Any] = [user_id]
        if after_seq is not None:
            conditions.append("seq > ?")
            values.append(after_seq)
        if before_seq is not None:
            conditions.append("seq < ?")
            values.append(before_seq)
        if unread_only:
            conditions.append("read = 0")
        order = "DESC" if after_seq is None else "ASC"
        wanted = f"WHERE {' AND '.join(conditions)} ORDER BY seq {order} LIMIT ?"
        rows = select(connection, NOTIFICATIONS, wanted, (*values, bounded(limit)))
        return [notification_record(row) for row in rows]

    @reading
    def history(self, connection: Connection, user_id: UserId, after_seq: int, limit: int) -> History:
        rows = select(
            connection,
            NOTIFICATIONS,
            "WHERE user_id = ? AND seq > ? ORDER BY seq LIMIT ?",
            (user_id, after_seq, bounded(limit)),
        )
        return history_of(rows, after_seq, _counters(connection, user_id)[0])

    @reading
    def last_seqs(self, connection: Connection, user_ids: Sequence[UserId]) -> dict[UserId, int]:
        rows = connection.execute(
            "SELECT id, last_seq FROM users WHERE id IN (SELECT value FROM json_each(?))",
            (json_list(user_ids),),
        )
        return {UserId(user_id): last_seq for user_id, last_seq in rows}

    @reading
    def unread_count(self, connection: Connection, user_id: UserId) -> int:
        return _counters(connection, user_id)[1]

    @writing
    def mark_read(self, connection: Connection, user_id: UserId, notification_id: NotificationId) -> ReadMark:
        row = connection.execute(
            "SELECT seq, read FROM notifications WHERE id = ? AND user_id = ?", (notification_id, user_id)
        ).fetchone()
        if row is None:
            raise no_such_notification()
        seq, read = row
        changed = [] if read else [notification_id]
        connection.execute("UPDATE notifications SET read = 1 WHERE user_id = ? AND seq = ?", (user_id, seq))
        return ReadMark(changed, seq, _subtract_unread(connection, user_id, len(changed)))

    @writing
    def mark_all_read(self, connection: Connection, user_id: UserId, up_to_seq: int | None) -> ReadMark:
        """A bound above the newest seq means the newest: it must not reach rows that do not exist yet."""
        last_seq, _ = _counters(connection, user_id)
        bound = last_seq if up_to_seq is None else min(up_to_seq, last_seq)
        rows = connection.execute(
            "SELECT id FROM notifications WHERE user_id = ? AND seq <= ? AND read = 0 ORDER BY seq",
            (user_id, bound),
        )
        ids = [NotificationId(row_id) for (row_id,) in rows]
        connection.execute(
            "UPDATE notifications SET read = 1 WHERE user_id = ? AND seq <= ? AND read = 0", (user_id, bound)
        )
        return ReadMark(ids, bound, _subtract_unread(connection, user_id, len(ids)))

    @writing
    def trim_notifications(
        self, connection: Connection, before: datetime, position: str | None, limit: int
    ) -> Trimmed:
        users = connection.execute(
            "SELECT id, trimmed_seq FROM users WHERE id > ? ORDER BY id LIMIT ?", (position or "", limit)
        ).fetchall()
        removed = sum(_trim_user(connection, user_id, trimmed, to_us(before)) for user_id, trimmed in users)
        return Trimmed(removed, users[-1][0] if len(users) == limit else None)


def _counters(connection: Connection, user_id: UserId) -> tuple[int, int]:
    """(last seq, unread rows) of a user; zeros for an unknown one."""
    row = connection.execute("SELECT last_seq, unread FROM users WHERE id = ?", (user_id,)).fetchone()
    return (0, 0) if row is None else (row[0], row[1])


def _subtract_unread(connection: Connection, user_id: UserId, count: int) -> int:
    """What is left."""
    if count:
        connection.execute("UPDATE users SET unread = unread - ? WHERE id = ?", (count, user_id))
    return _counters(connection, user_id)[1]


def _trim_user(connection: Connection, user_id: str, trimmed_seq: int, before_us: int) -> int:
    rows = connection.execute(
        """SELECT seq, read, created_at_us FROM notifications WHERE user_id = ? AND seq > ?
        ORDER BY seq LIMIT ?""",
        (user_id, trimmed_seq, TRIMMED_ROWS_PER_USER),
    )
    old = list(takewhile(lambda row: row[2] < before_us, rows))
    if not old:
        return 0
    last_seq = old[-1][0]
    connection.execute("DELETE FROM notifications WHERE user_id = ? AND seq <= ?", (user_id, last_seq))
    connection.execute(
        "UPDATE users SET trimmed_seq = ?, unread = unread - ? WHERE id = ?",
        (last_seq, sum(not read for _, read, _ in old), user_id),
    )
    return len(old)
