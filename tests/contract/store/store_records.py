"""Records for the store suite, and a clock that stands still until told otherwise."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from backend.app.contracts.types import Action, ClaimId, NotificationType, Priority, UserId, ValidationId
from backend.app.domain.consensus import Decision
from backend.app.domain.effects import Settled, Told, Validated
from backend.app.domain.notifications import Draft
from backend.app.domain.records import Claim, User, Validation
from backend.app.ports import Store

BuildStore = Callable[[], Store]
"""Makes a store that is not open yet."""

START = datetime(2026, 3, 1, 12, 0, 0, 123457, tzinfo=UTC)
VERIFIED = Decision(Action.VOUCH, 66.7)


class StubClock:
    def __init__(self) -> None:
        self.moment = START

    def now(self) -> datetime:
        return self.moment


def after(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def a_user(name: str, **changes: Any) -> User:
    user = User(UserId(f"id-{name}"), name, name.title(), START)
    return replace(user, **changes)


def a_claim(name: str = "c1", owner: str = "owner", **changes: Any) -> Claim:
    claim = Claim(
        id=ClaimId(name),
        owner_id=UserId(f"id-{owner}"),
        owner_name=owner,
        title=f"Claim {name}",
        body="Body",
        evidence_urls=("https://example.org/1",),
        quorum=3,
        created_at=START,
    )
    return replace(claim, **changes)


def a_validation(claim: Claim, by: str, action: Action = Action.VOUCH, **changes: Any) -> Validation:
    validation = Validation(
        id=ValidationId(f"v-{claim.id}-{by}"),
        claim_id=claim.id,
        user_id=UserId(f"id-{by}"),
        validator_name=by,
        action=action,
        created_at=START,
    )
    return replace(validation, **changes)


def told(key: str, user: User, **changes: Any) -> Told:
    draft = Draft(NotificationType.SYSTEM, "Title", f"About {key}", Priority.LOW, None, {"key": key})
    return Told(key, user.id, replace(draft, **changes))


def counted(key: str, user: User, claim: Claim) -> Validated:
    return Validated(key, user.id, claim.id, ValidationId(f"v-{key}"))


def settled(
    key: str, user: User, claim: Claim, action: Action | None, decision: Decision = VERIFIED
) -> Settled:
    return Settled(key, user.id, claim.id, claim.title, decision, action)
