"""A validation and the consensus it brings are one write: on every store, whoever comes at the same time."""

import asyncio
from datetime import timedelta

import pytest

from backend.app.contracts.errors import Code
from backend.app.contracts.types import Action, ClaimStatus
from backend.app.domain.consensus import ConsensusPolicy, Decision, decide
from backend.app.domain.records import Claim, User
from backend.app.errors import RefusedError
from backend.app.ports import Recorded, Store
from tests.contract.store.store_records import START, a_claim, a_user, a_validation

NAMES = ("ann", "ben", "cid")


def by_policy(claim: Claim) -> Decision | None:
    return decide(claim.tally, claim.weights, claim.quorum, ConsensusPolicy())


async def test_the_claim_stays_open_while_nothing_is_decided(
    store: Store, users: list[User], claim: Claim
) -> None:
    recorded = await store.claims.record_validation(a_validation(claim, "ann"), by_policy)
    assert (recorded.claim.status, recorded.claim.decision) == (ClaimStatus.OPEN, None)


async def test_the_deciding_validation_settles_its_claim(
    store: Store, users: list[User], claim: Claim
) -> None:
    for name in NAMES:
        recorded = await store.claims.record_validation(a_validation(claim, name), by_policy)
    assert recorded.claim.decision == Decision(Action.VOUCH, 100.0)
    assert await store.claims.claim(claim.id) == recorded.claim


async def test_a_claim_is_settled_when_its_last_validation_was_made(
    store: Store, users: list[User], claim: Claim
) -> None:
    for number, name in enumerate(NAMES):
        made_at = START + timedelta(seconds=number)
        recorded = await store.claims.record_validation(
            a_validation(claim, name, created_at=made_at), by_policy
        )
    assert recorded.claim.settled_at == made_at


async def test_what_follows_from_the_consensus_is_pending(
    store: Store, users: list[User], claim: Claim
) -> None:
    for name in NAMES:
        await store.claims.record_validation(a_validation(claim, name), by_policy)
    pending = await store.claims.pending_settlements(START + timedelta(days=1), 10)
    assert [item.id for item in pending] == [claim.id]


async def test_after_the_decision_nobody_is_counted(store: Store, users: list[User], claim: Claim) -> None:
    await store.users.create_users([a_user("dan")], "hash")
    for name in NAMES:
        await store.claims.record_validation(a_validation(claim, name), by_policy)
    with pytest.raises(RefusedError) as caught:
        await store.claims.record_validation(a_validation(claim, "dan"), by_policy)
    assert caught.value.code is Code.CLAIM_SETTLED


async def test_at_the_same_moment_exactly_the_quorum_is_counted(store: Store, users: list[User]) -> None:
    crowd = [f"u{number}" for number in range(40)]
    await store.users.create_users([a_user(name) for name in crowd], "hash")
    claim, _ = await store.claims.create_claim(a_claim(quorum=7))
    answers = await asyncio.gather(
        *(store.claims.record_validation(a_validation(claim, name), by_policy) for name in crowd),
        return_exceptions=True,
    )
    accepted = sorted(answer.claim.version for answer in answers if isinstance(answer, Recorded))
    refused = {answer.code for answer in answers if isinstance(answer, RefusedError)}
    settled = [a for a in answers if isinstance(a, Recorded) and a.claim.status is not ClaimStatus.OPEN]
    assert (accepted, refused, len(settled)) == (list(range(1, 8)), {Code.CLAIM_SETTLED}, 1)
