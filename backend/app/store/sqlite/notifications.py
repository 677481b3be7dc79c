"""SQL about effects and notifications. Each function is one job on a lane's thread."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from ...contracts.types import ClaimId, NotificationId, UserId, ValidationId
from ...domain.effects import Effect, advance
from ...domain.records import Notification, TrustChange
from ...domain.trust import TrustPolicy
from ...ports import History, ReadMark
from ..refusals import no_such_notification
from ..rows import (
    Document,
    bounded,
    effect_document,
    history_of,
    notification_document,
    notification_record,
    progress_document,
    progress_record,
    to_us,
    trust_change_record,
)
from ..schema import EFFECTS, NOTIFICATIONS, USERS
from . import claims
from .connection import Connection, insert, json_list, select, select_one, update


def apply(
    connection: Connection,
    effects: Sequence[Effect],
    finishes: ValidationId | ClaimId | None,
    policy: TrustPolicy,
    now: datetime,
) -> tuple[list[Notification], UserId | None]:
    """The notifications made, and the user that does not exist: there the list was cut, unfinished."""
    made: list[Notification] = []
    for effect in effects:
        if connection.execute("SELECT 1 FROM effects WHERE key = ?", (effect.key,)).fetchone():
            continue
        row = select_one(connection, USERS, "WHERE id = ?", (effect.user_id,))
        if row is None:
            return made, effect.user_id
        made.extend(_apply_one(connection, row, effect, policy, now))
    if finishes is not None:
        claims.finish(connection, finishes)
    return made, None


def _apply_one(
    connection: Connection, row: Document, effect: Effect, policy: TrustPolicy, now: datetime
) -> tuple[Notification, ...]:
    outcome = advance(progress_record(row), effect, policy, now)
    badges = [*row["badges"], *([badge_id, to_us(now)] for badge_id in outcome.earned)]
    changes = progress_document(outcome.progress, badges)
    changes["unread"] = row["unread"] + len(outcome.notifications)
    update(connection, USERS, effect.user_id, changes)
    insert(connection, EFFECTS, [effect_document(effect, outcome, now)])
    insert(connection, NOTIFICATIONS, [notification_document(item) for item in outcome.notifications])
    return outcome.notifications


def trust_changes(connection: Connection, claim_id: ClaimId) -> list[TrustChange]:
    rows = select(connection, EFFECTS, "WHERE claim_id = ? ORDER BY key", (claim_id,))
    return [trust_change_record(row) for row in rows]


def page(
    connection: Connection,
    user_id: UserId,
    after_seq: int | None,
    before_seq: int | None,
    unread_only: bool,
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
    rows = select(
        connection,
        NOTIFICATIONS,
        f"WHERE {' AND '.join(conditions)} ORDER BY seq {order} LIMIT ?",
        (*values, bounded(limit)),
    )
    return [notification_record(row) for row in rows]


def history(connection: Connection, user_id: UserId, after_seq: int, limit: int) -> History:
    rows = select(
        connection,
        NOTIFICATIONS,
        "WHERE user_id = ? AND seq > ? ORDER BY seq LIMIT ?",
        (user_id, after_seq, bounded(limit)),
    )
    return history_of(rows, after_seq, _counters(connection, user_id)[0])


def last_seqs(connection: Connection, user_ids: Sequence[UserId]) -> dict[UserId, int]:
    rows = connection.execute(
        "SELECT id, last_seq FROM users WHERE id IN (SELECT value FROM json_each(?))", (json_list(user_ids),)
    )
    return {UserId(user_id): last_seq for user_id, last_seq in rows}


def _counters(connection: Connection, user_id: UserId) -> tuple[int, int]:
    """(last seq, unread rows) of a user; zeros for an unknown one."""
    row = connection.execute("SELECT last_seq, unread FROM users WHERE id = ?", (user_id,)).fetchone()
    return (0, 0) if row is None else (row[0], row[1])


def unread_count(connection: Connection, user_id: UserId) -> int:
    return _counters(connection, user_id)[1]


def mark_read(connection: Connection, user_id: UserId, notification_id: NotificationId) -> ReadMark:
    row = connection.execute(
        "SELECT seq, read FROM notifications WHERE id = ? AND user_id = ?", (notification_id, user_id)
    ).fetchone()
    if row is None:
        raise no_such_notification()
    seq, read = row
    changed = [] if read else [notification_id]
    connection.execute("UPDATE notifications SET read = 1 WHERE user_id = ? AND seq = ?", (user_id, seq))
    return ReadMark(changed, seq, _subtract_unread(connection, user_id, len(changed)))


def mark_all_read(connection: Connection, user_id: UserId, up_to_seq: int | None) -> ReadMark:
    """A bound above the newest seq means the newest: it must not reach rows that do not exist yet."""
    last_seq, _ = _counters(connection, user_id)
    bound = last_seq if up_to_seq is None else min(up_to_seq, last_seq)
    ids = [
        NotificationId(row[0])
        for row in connection.execute(
            "SELECT id FROM notifications WHERE user_id = ? AND seq <= ? AND read = 0 ORDER BY seq",
            (user_id, bound),
        )
    ]
    connection.execute(
        "UPDATE notifications SET read = 1 WHERE user_id = ? AND seq <= ? AND read = 0", (user_id, bound)
    )
    return ReadMark(ids, bound, _subtract_unread(connection, user_id, len(ids)))


def _subtract_unread(connection: Connection, user_id: UserId, count: int) -> int:
    if count:
        connection.execute("UPDATE users SET unread = unread - ? WHERE id = ?", (count, user_id))
    return unread_count(connection, user_id)
