"""SQL that forgets what is older than the retention. Each function is one slice, a job on a lane's thread."""

from datetime import datetime
from itertools import takewhile

from ...ports import Trimmed
from ..rows import to_us
from .connection import Connection, json_list

ROWS_PER_USER = 1_000


def notifications(connection: Connection, before: datetime, position: str | None, limit: int) -> Trimmed:
    users = connection.execute(
        "SELECT id, trimmed_seq FROM users WHERE id > ? ORDER BY id LIMIT ?", (position or "", limit)
    ).fetchall()
    removed = sum(_trim_user(connection, user_id, trimmed, to_us(before)) for user_id, trimmed in users)
    return Trimmed(removed, users[-1][0] if len(users) == limit else None)


def _trim_user(connection: Connection, user_id: str, trimmed_seq: int, before_us: int) -> int:
    rows = connection.execute(
        """SELECT seq, read, created_at_us FROM notifications WHERE user_id = ? AND seq > ?
        ORDER BY seq LIMIT ?""",
        (user_id, trimmed_seq, ROWS_PER_USER),
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


def effects(connection: Connection, before: datetime, position: str | None, limit: int) -> Trimmed:
    if _unfinished(connection, to_us(before)):
        return Trimmed(0, None)
    rows = connection.execute(
        "SELECT key, claim_id, applied_at_us FROM effects WHERE key > ? ORDER BY key LIMIT ?",
        (position or "", limit),
    ).fetchall()
    old = [
        key
        for key, claim_id, applied_at_us in rows
        if claim_id is None and applied_at_us is not None and applied_at_us < to_us(before)
    ]
    connection.execute("DELETE FROM effects WHERE key IN (SELECT value FROM json_each(?))", (json_list(old),))
    return Trimmed(len(old), rows[-1][0] if len(rows) == limit else None)


def _unfinished(connection: Connection, before_us: int) -> bool:
    """Is there work from before that time whose effects may be applied again?"""
    found = connection.execute(
        """SELECT EXISTS (SELECT 1 FROM validations WHERE pending = 1 AND created_at_us < ?)
        OR EXISTS (SELECT 1 FROM claims WHERE pending = 1 AND settled_at_us < ?)""",
        (before_us, before_us),
    ).fetchone()
    return bool(found[0])
