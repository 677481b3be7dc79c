"""Records <-> stored documents: one flat dict per row, keyed by the column names of `schema`.

SQLite and MongoDB share it, so that a record reads back the same from both, and so that both refuse the same.
Pure.
"""

import base64
import binascii
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from operator import attrgetter
from typing import Any, Generic, TypeVar

from ..contracts.errors import Code
from ..contracts.types import (
    Action,
    ClaimId,
    ClaimStatus,
    NotificationId,
    NotificationType,
    Priority,
    UserId,
    ValidationId,
)
from ..domain.consensus import Decision, Tally
from ..domain.effects import Effect, advance
from ..domain.records import Claim, EarnedBadge, Notification, Progress, TrustChange, User, Validation
from ..domain.trust import TrustPolicy
from ..errors import RefusedError
from ..ports import Decide, History, Page, Recorded
from .schema import CLAIMS, EFFECTS, MAX_PAGE_ROWS, NOTIFICATIONS, PROGRESS_COLUMNS, USERS, VALIDATIONS

T = TypeVar("T")
Document = dict[str, Any]
Row = Mapping[str, Any]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def to_us(moment: datetime) -> int:
    """Whole microseconds since 1970; exact, without a detour over floats."""
    return (moment - _EPOCH) // _MICROSECOND


def from_us(moment_us: int) -> datetime:
    """The UTC time of `to_us`."""
    return _EPOCH + timedelta(microseconds=moment_us)


def bounded(limit: int) -> int:
    """The rows a call may return: 1..MAX_PAGE_ROWS."""
    return max(1, min(limit, MAX_PAGE_ROWS))


def _document(columns: Sequence[str], record: object, own: Document) -> Document:
    """These columns: as `own` has them, the others as the record has fields of the same name."""
    return {column: own[column] if column in own else getattr(record, column) for column in columns}


# ------------------------------------------------------------------ users


def username_key(username: str) -> str:
    """What makes two usernames the same."""
    return username.casefold()


def user_document(user: User, password_hash: str) -> Document:
    """A new user's row. Badges that come with the record count as earned when the user was created."""
    created_at_us = to_us(user.created_at)
    badges = [[badge_id, created_at_us] for badge_id in sorted(user.progress.badges)]
    own = {
        "username_key": username_key(user.username),
        "password_hash": password_hash,
        "created_at_us": created_at_us,
        "unread": 0,
        "trimmed_seq": 0,
    }
    return _document(USERS.columns, user, own | progress_document(user.progress, badges))


def progress_document(progress: Progress, badges: Sequence[Sequence[Any]]) -> Document:
    """The columns that effects change. badges: pairs of badge id and time earned, oldest first."""
    return _document(PROGRESS_COLUMNS, progress, {"badges": list(badges)})


def progress_record(row: Row) -> Progress:
    return Progress(
        trust_score=row["trust_score"],
        validations=row["validations"],
        consensus_count=row["consensus_count"],
        accurate_streak=row["accurate_streak"],
        claims_verified=row["claims_verified"],
        badges=frozenset(badge_id for badge_id, _ in row["badges"]),
        last_seq=row["last_seq"],
    )


def user_record(row: Row) -> User:
    return User(
        id=UserId(row["id"]),
        username=row["username"],
        display_name=row["display_name"],
        created_at=from_us(row["created_at_us"]),
        progress=progress_record(row),
    )


def badge_records(row: Row) -> list[EarnedBadge]:
    return [EarnedBadge(badge_id, from_us(earned_at_us)) for badge_id, earned_at_us in row["badges"]]


# ------------------------------------------------------------------ claims and validations


def claim_document(claim: Claim) -> Document:
    decision = claim.decision
    own = {
        "evidence_urls": list(claim.evidence_urls),
        "created_at_us": to_us(claim.created_at),
        "status": claim.status.value,
        "decision_action": decision.action.value if decision else None,
        "decision_percentage": decision.percentage if decision else None,
        "settled_at_us": to_us(claim.settled_at) if claim.settled_at else None,
        "pending": False,
    }
    return _document(CLAIMS.columns, claim, own | tally_document(claim))


def counted(claim: Claim, validation: Validation, decide: Decide | None) -> Recorded:
    """The validation with its version, and the claim with the validation counted in, settled if it is due."""
    after = replace(
        claim,
        tally=claim.tally.plus(validation.action),
        weights=claim.weights.plus(validation.action, validation.weight),
        version=claim.version + 1,
    )
    decision = decide(after) if decide is not None else None
    if decision is not None:
        after = replace(after, status=decision.status, decision=decision, settled_at=validation.created_at)
    return Recorded(replace(validation, version=after.version), after)


def recorded_document(claim: Claim) -> Document:
    """The columns that a validation changes, when it settles the claim as well as when it does not."""
    if claim.decision is None or claim.settled_at is None:
        return tally_document(claim)
    return tally_document(claim) | settlement_document(claim.decision, claim.settled_at)


def tally_document(claim: Claim) -> Document:
    tally, weights = claim.tally, claim.weights
    return {
        "vouch": tally.vouch,
        "dispute": tally.dispute,
        "unsure": tally.unsure,
        "vouch_weight": weights.vouch,
        "dispute_weight": weights.dispute,
        "unsure_weight": weights.unsure,
        "version": claim.version,
    }


def settlement_document(decision: Decision, settled_at: datetime) -> Document:
    """The columns that settle a claim; its effects are still to be applied."""
    return {
        "status": decision.status.value,
        "decision_action": decision.action.value,
        "decision_percentage": decision.percentage,
        "settled_at_us": to_us(settled_at),
        "pending": True,
    }


def claim_record(row: Row) -> Claim:
    action = row["decision_action"]
    settled_at_us = row["settled_at_us"]
    return Claim(
        id=ClaimId(row["id"]),
        owner_id=UserId(row["owner_id"]),
        owner_name=row["owner_name"],
        title=row["title"],
        body=row["body"],
        evidence_urls=tuple(row["evidence_urls"]),
        quorum=row["quorum"],
        created_at=from_us(row["created_at_us"]),
        status=ClaimStatus(row["status"]),
        tally=Tally(row["vouch"], row["dispute"], row["unsure"]),
        weights=Tally(row["vouch_weight"], row["dispute_weight"], row["unsure_weight"]),
        version=row["version"],
        decision=None if action is None else Decision(Action(action), row["decision_percentage"]),
        settled_at=None if settled_at_us is None else from_us(settled_at_us),
        idempotency_key=row["idempotency_key"],
    )


def validation_document(validation: Validation) -> Document:
    """A validation as it is recorded: its processing is not finished."""
    created_at_us = to_us(validation.created_at)
    own = {"action": validation.action.value, "created_at_us": created_at_us, "pending": True}
    return _document(VALIDATIONS.columns, validation, own)


def validation_record(row: Row) -> Validation:
    return Validation(
        id=ValidationId(row["id"]),
        claim_id=ClaimId(row["claim_id"]),
        user_id=UserId(row["user_id"]),
        validator_name=row["validator_name"],
        action=Action(row["action"]),
        created_at=from_us(row["created_at_us"]),
        version=row["version"],
        weight=row["weight"],
        comment=row["comment"],
        idempotency_key=row["idempotency_key"],
    )


# ------------------------------------------------------------------ effects and notifications


def applied(
    row: Row, effect: Effect, policy: TrustPolicy, now: datetime
) -> tuple[Document, Document, tuple[Notification, ...]]:
    """What an effect does: the changed columns of its user, the effect's own row, the notifications made.

    The user's count of unread rows is left to the caller.
    """
    outcome = advance(progress_record(row), effect, policy, now)
    badges = [*row["badges"], *([badge_id, to_us(now)] for badge_id in outcome.earned)]
    change = outcome.trust_change
    own = {"key": effect.key, "user_id": effect.user_id, "applied_at_us": to_us(now)}
    effect_row = _document(EFFECTS.columns, change, own) if change else dict.fromkeys(EFFECTS.columns) | own
    return progress_document(outcome.progress, badges), effect_row, outcome.notifications


def trust_change_record(row: Row) -> TrustChange:
    return TrustChange(
        row["key"], UserId(row["user_id"]), ClaimId(row["claim_id"]), row["old_score"], row["new_score"]
    )


def notification_document(notification: Notification) -> Document:
    own = {
        "type": notification.type.value,
        "priority": notification.priority.value,
        "created_at_us": to_us(notification.created_at),
    }
    return _document(NOTIFICATIONS.columns, notification, own)


def notification_record(row: Row) -> Notification:
    return Notification(
        id=NotificationId(row["id"]),
        user_id=UserId(row["user_id"]),
        seq=row["seq"],
        type=NotificationType(row["type"]),
        title=row["title"],
        message=row["message"],
        priority=Priority(row["priority"]),
        action_url=row["action_url"],
        data=row["data"],
        created_at=from_us(row["created_at_us"]),
        read=bool(row["read"]),
    )


def history_of(rows: Iterable[Row], after_seq: int, last_seq: int) -> History:
    """The unbroken run of rows right after `after_seq`.

    rows: ascending by seq, all above `after_seq`, at most as many as the reader asked for. The history is
    incomplete if the run breaks, does not begin, or the position is ahead of what was ever numbered.
    """
    items: list[Notification] = []
    for row in rows:
        if row["seq"] != after_seq + len(items) + 1:
            return History(items, last_seq, complete=False)
        items.append(notification_record(row))
    return History(items, last_seq, complete=bool(items) or after_seq == last_seq)


# ------------------------------------------------------------------ pages

_MAX_CURSOR_CHARS = 512


@dataclass(frozen=True, slots=True)
class Listing(Generic[T]):
    """A list that is read by pages. key: the columns that order it, with their types.

    A cursor is opaque: base64url JSON of the list's name and the last row's key. It comes back from outside:
    what was not given out for the same list is refused.
    """

    name: str
    key: Mapping[str, type[int] | type[str]]
    record: Callable[[Row], T]

    def page(self, rows: Sequence[Row], limit: int) -> Page[T]:
        """rows: up to one more than `limit`, which only says that there is a next page."""
        following = None
        if len(rows) > limit:
            key = [rows[limit - 1][column] for column in self.key]
            text = json.dumps([self.name, *key], separators=(",", ":"))
            following = base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")
        return Page([self.record(row) for row in rows[:limit]], following)

    def position(self, cursor: str) -> tuple[int | str, ...]:
        """The key of the last row of the page before. Raises RefusedError(INVALID_CURSOR)."""
        refusal = RefusedError("The cursor is not one that this list gave out.", Code.INVALID_CURSOR)
        if len(cursor) > _MAX_CURSOR_CHARS:
            raise refusal
        try:
            raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
            content = json.loads(raw)
        except (binascii.Error, ValueError, RecursionError) as error:
            raise refusal from error
        if not isinstance(content, list) or not content or content[0] != self.name:
            raise refusal
        position = tuple(content[1:])
        if len(position) != len(self.key) or any(
            type(part) is not expected or (isinstance(part, int) and abs(part) >= 2**63)
            for part, expected in zip(position, self.key.values(), strict=True)
        ):
            raise refusal
        return position


USERS_BY_RANK = Listing("rank", {"trust_score": int, "validations": int, "id": str}, user_record)
CLAIMS_BY_AGE = Listing("claims", {"created_at_us": int, "id": str}, claim_record)
VALIDATIONS_BY_VERSION = Listing("validations", {"version": int}, validation_record)


# ------------------------------------------------------------------ refusals

# Decided inside a transaction from the rows as they stand, so that the answer and the write see the same.


def check_validation(claim: Claim | None, validation: Validation, *, repeated: bool) -> Claim:
    """The claim, if the validation may be recorded. repeated: its author already validated the claim.

    Raises RefusedError: CLAIM_NOT_FOUND, OWN_CLAIM, CLAIM_SETTLED, ALREADY_VALIDATED, in this order.
    """
    if claim is None:
        raise RefusedError("There is no such claim.", Code.CLAIM_NOT_FOUND)
    if claim.owner_id == validation.user_id:
        raise RefusedError("You cannot validate your own claim.", Code.OWN_CLAIM)
    if claim.status is not ClaimStatus.OPEN:
        raise RefusedError("The claim is already settled.", Code.CLAIM_SETTLED)
    if repeated:
        raise RefusedError("You have already validated this claim.", Code.ALREADY_VALIDATED)
    return claim


def check_same_request(stored: Claim, asked: Claim) -> None:
    """Raises RefusedError(IDEMPOTENCY_KEY_REUSED) unless the same key carries the same claim."""
    content = attrgetter("title", "body", "evidence_urls", "quorum")
    if content(stored) != content(asked):
        raise RefusedError(
            "The Idempotency-Key was already used for another claim.", Code.IDEMPOTENCY_KEY_REUSED
        )


def no_such_user() -> RefusedError:
    return RefusedError("There is no such user.", Code.USER_NOT_FOUND)


def no_such_notification() -> RefusedError:
    return RefusedError("There is no such notification.", Code.NOTIFICATION_NOT_FOUND)
