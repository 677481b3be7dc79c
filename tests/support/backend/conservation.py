"""What must hold whenever the system is quiet, checked in a store."""

from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from backend.app.contracts.types import Action, ClaimId, ClaimStatus, NotificationType, UserId
from backend.app.domain.consensus import Tally
from backend.app.domain.records import Notification, User, Validation
from backend.app.ports import Store

FOREVER = datetime(2100, 1, 1, tzinfo=UTC)


async def bell(store: Store, user_id: UserId) -> list[Notification]:
    """All notifications of a user, ascending."""
    rows: list[Notification] = []
    while page := await store.notifications.notifications(
        user_id, after_seq=rows[-1].seq if rows else 0, limit=500
    ):
        rows += page
    return rows


async def check_claim(store: Store, claim_id: ClaimId) -> list[Validation]:
    """Tally == rows, versions without holes; if settled, one consensus and one trust change per person."""
    claim = await store.claims.claim(claim_id)
    assert claim is not None
    rows = await store.claims.participants(claim_id)
    assert [row.version for row in rows] == list(range(1, claim.version + 1))
    counts = Counter(row.action for row in rows)
    assert claim.tally == Tally(counts[Action.VOUCH], counts[Action.DISPUTE], counts[Action.UNSURE])
    people = sorted([claim.owner_id, *(row.user_id for row in rows)])
    changes = sorted(change.user_id for change in await store.effects.trust_changes(claim_id))
    reached = sorted([user for user in people for _ in await _consensus_notes(store, user, claim_id)])
    settled = claim.status is not ClaimStatus.OPEN
    assert settled == (claim.decision is not None) == (claim.settled_at is not None)
    assert changes == (people if settled else [])
    assert reached == (people if settled else [])
    received = [
        row for row in await bell(store, claim.owner_id) if _about(row, "validation_received", claim_id)
    ]
    assert sorted(row.data["validation_id"] for row in received) == sorted(row.id for row in rows)
    return rows


async def check_user(store: Store, before: User) -> None:
    """Seqs 1..n, each badge at most once and announced, counters that follow from the rows."""
    after = await store.users.user(before.id)
    assert after is not None
    rows = await bell(store, before.id)
    assert [row.seq for row in rows] == list(range(1, after.progress.last_seq + 1))
    badges = [badge.badge_id for badge in (await store.users.badges([before.id])).get(before.id, [])]
    announced = [row.data["badge_id"] for row in rows if row.type is NotificationType.BADGE_EARNED]
    assert len(set(badges)) == len(badges)
    assert sorted(announced) == sorted(set(badges) - before.progress.badges)
    assert await store.notifications.unread_count(before.id) == sum(not row.read for row in rows)
    moves = [row.data for row in rows if row.type is NotificationType.TRUST_SCORE_UPDATED]
    score = before.progress.trust_score
    for move in moves:
        assert move["old_score"] == score
        score = move["new_score"]
    assert after.progress.trust_score == score


async def check_quiet(store: Store) -> None:
    """Nothing is left to be finished."""
    assert await store.claims.pending_validations(FOREVER, 100) == []
    assert await store.claims.pending_settlements(FOREVER, 100) == []


async def check(store: Store, claims: Iterable[ClaimId], users: Iterable[User]) -> None:
    """Everything. users: as they were before anything happened."""
    await check_quiet(store)
    made: Counter[UserId] = Counter()
    for claim_id in claims:
        made.update(row.user_id for row in await check_claim(store, claim_id))
    for user in users:
        await check_user(store, user)
        after = await store.users.user(user.id)
        assert after is not None
        assert after.progress.validations == user.progress.validations + made[user.id]


async def _consensus_notes(store: Store, user_id: UserId, claim_id: ClaimId) -> list[Notification]:
    return [row for row in await bell(store, user_id) if _about(row, "consensus_reached", claim_id)]


def _about(row: Notification, kind: str, claim_id: ClaimId) -> bool:
    data: dict[str, Any] = row.data
    return row.type.value == kind and data.get("claim_id") == claim_id
