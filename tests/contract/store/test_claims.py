"""The store keeps its promises about claims, validations and settlements."""

from dataclasses import replace

import pytest

from backend.app.contracts.errors import Code
from backend.app.contracts.types import Action, ClaimId, ClaimStatus, UserId
from backend.app.domain.consensus import Decision, Tally
from backend.app.domain.records import Claim, User, Validation
from backend.app.errors import RefusedError
from backend.app.ports import Store
from tests.contract.store.store_records import START, VERIFIED, a_claim, a_user, a_validation, after, told

BIG_TEXT = "“größer” 👩‍🔬 \u2028 " * 700
INCONCLUSIVE = Decision(Action.UNSURE, 60.0)


async def record(store: Store, claim: Claim, *names: str) -> list[Validation]:
    return [(await store.claims.record_validation(a_validation(claim, name))).validation for name in names]


# ------------------------------------------------------------------ claims


async def test_a_claim_reads_back_as_created(store: Store) -> None:
    claim = a_claim(
        title="Ünïcode 🐝", body=BIG_TEXT, evidence_urls=("https://a/", "https://b/?x=ä"), quorum=9
    )
    assert await store.claims.create_claim(claim) == (claim, True)
    assert await store.claims.claim(claim.id) == claim


async def test_an_unknown_claim_is_none(store: Store) -> None:
    assert await store.claims.claim(ClaimId("none")) is None


async def test_an_idempotency_key_returns_the_stored_claim(store: Store) -> None:
    first = a_claim("c1", idempotency_key="key")
    await store.claims.create_claim(first)
    again = a_claim("c2", title=first.title, idempotency_key="key", created_at=after(5))
    assert await store.claims.create_claim(again) == (first, False)


async def test_a_repeated_idempotency_key_stores_nothing(store: Store) -> None:
    await store.claims.create_claim(a_claim("c1", title="T", idempotency_key="key"))
    await store.claims.create_claim(a_claim("c2", title="T", idempotency_key="key"))
    assert await store.claims.claim(ClaimId("c2")) is None


@pytest.mark.parametrize(
    "change",
    [{"title": "X"}, {"body": "X"}, {"evidence_urls": ()}, {"quorum": 4}],
    ids=lambda item: next(iter(item)),
)
async def test_an_idempotency_key_for_another_claim_is_refused(
    store: Store, change: dict[str, object]
) -> None:
    await store.claims.create_claim(a_claim("c1", title="T", idempotency_key="key"))
    other = replace(a_claim("c2", title="T", idempotency_key="key"), **change)
    with pytest.raises(RefusedError) as refused:
        await store.claims.create_claim(other)
    assert refused.value.code is Code.IDEMPOTENCY_KEY_REUSED


async def test_idempotency_keys_of_two_owners_do_not_meet(store: Store) -> None:
    await store.claims.create_claim(a_claim("c1", "ann", idempotency_key="key"))
    _, created = await store.claims.create_claim(a_claim("c2", "ben", idempotency_key="key"))
    assert created


async def test_claims_without_a_key_are_never_the_same(store: Store) -> None:
    await store.claims.create_claim(a_claim("c1", title="T"))
    _, created = await store.claims.create_claim(a_claim("c2", title="T"))
    assert created


async def test_many_claims_are_created_at_once(store: Store) -> None:
    await store.claims.create_claims([a_claim(f"c{number}") for number in range(300)])
    assert await store.claims.claim(ClaimId("c299")) == a_claim("c299")


async def test_creating_no_claims_is_allowed(store: Store) -> None:
    await store.claims.create_claims([])
    assert (await store.claims.claims(10, None, None, None)).items == []


async def test_many_claims_with_a_stored_id_are_all_refused(store: Store) -> None:
    await store.claims.create_claim(a_claim("c1"))
    with pytest.raises(RefusedError):
        await store.claims.create_claims([a_claim("c0"), a_claim("c1")])
    assert await store.claims.claim(ClaimId("c0")) is None


CLAIMS = [
    a_claim("c6", "ann", created_at=after(3)),
    a_claim("c9", "ben", created_at=after(2)),
    a_claim("c3", "ann", created_at=after(2)),
    a_claim(
        "c2", "ann", created_at=after(2), status=ClaimStatus.VERIFIED, decision=VERIFIED, settled_at=after(9)
    ),
    a_claim("c8", "ben", created_at=after(1)),
]


async def test_claims_come_newest_first(store: Store) -> None:
    await store.claims.create_claims(list(reversed(CLAIMS)))
    assert (await store.claims.claims(10, None, None, None)).items == CLAIMS


@pytest.mark.parametrize("status", [None, ClaimStatus.OPEN, ClaimStatus.VERIFIED, ClaimStatus.REFUTED])
@pytest.mark.parametrize("owner_id", [None, UserId("id-ann"), UserId("id-nobody")])
@pytest.mark.parametrize("limit", [1, 2, 100])
async def test_claim_pages_join_up_under_every_filter(
    store: Store, status: ClaimStatus | None, owner_id: UserId | None, limit: int
) -> None:
    await store.claims.create_claims(CLAIMS)
    seen: list[Claim] = []
    cursor = None
    while True:
        page = await store.claims.claims(limit, cursor, status, owner_id)
        assert len(page.items) <= limit
        seen += page.items
        cursor = page.next_cursor
        if cursor is None:
            break
    assert seen == [
        claim for claim in CLAIMS if status in (None, claim.status) and owner_id in (None, claim.owner_id)
    ]


async def test_a_claim_page_is_bounded_whatever_is_asked(store: Store) -> None:
    await store.claims.create_claims([a_claim(f"c{number:04}") for number in range(1_001)])
    page = await store.claims.claims(1_000_000, None, None, None)
    assert (len(page.items), page.next_cursor is not None) == (1_000, True)


# ------------------------------------------------------------------ validations


async def test_a_validation_is_stored_with_the_version_it_made(store: Store, claim: Claim) -> None:
    asked = a_validation(claim, "ann", comment="Sure: ✓", weight=7, idempotency_key="k", version=99)
    recorded = await store.claims.record_validation(asked)
    assert recorded.validation == replace(asked, version=1)
    assert await store.claims.validation_by(claim.id, asked.user_id) == recorded.validation


async def test_a_validation_moves_tally_weights_and_version(store: Store, claim: Claim) -> None:
    await store.claims.record_validation(a_validation(claim, "ann", Action.VOUCH, weight=50))
    await store.claims.record_validation(a_validation(claim, "ben", Action.DISPUTE, weight=0))
    recorded = await store.claims.record_validation(a_validation(claim, "cid", Action.VOUCH, weight=31))
    assert recorded.claim == replace(claim, tally=Tally(2, 1, 0), weights=Tally(81, 0, 0), version=3)
    assert await store.claims.claim(claim.id) == recorded.claim


async def test_a_validation_of_an_unknown_claim_is_refused(store: Store) -> None:
    with pytest.raises(RefusedError) as refused:
        await store.claims.record_validation(a_validation(a_claim("none"), "ann"))
    assert refused.value.code is Code.CLAIM_NOT_FOUND


async def test_a_validation_of_ones_own_claim_is_refused(store: Store, claim: Claim) -> None:
    with pytest.raises(RefusedError) as refused:
        await store.claims.record_validation(a_validation(claim, "owner"))
    assert refused.value.code is Code.OWN_CLAIM


async def test_own_claim_is_refused_before_settled(store: Store, claim: Claim) -> None:
    await store.claims.settle(claim.id, 0, VERIFIED, START)
    with pytest.raises(RefusedError) as refused:
        await store.claims.record_validation(a_validation(claim, "owner"))
    assert refused.value.code is Code.OWN_CLAIM


async def test_a_validation_of_a_settled_claim_is_refused(store: Store, claim: Claim) -> None:
    await store.claims.settle(claim.id, 0, VERIFIED, START)
    with pytest.raises(RefusedError) as refused:
        await store.claims.record_validation(a_validation(claim, "ann"))
    assert refused.value.code is Code.CLAIM_SETTLED


async def test_settled_is_refused_before_repeated(store: Store, claim: Claim) -> None:
    await record(store, claim, "ann")
    await store.claims.settle(claim.id, 1, VERIFIED, START)
    with pytest.raises(RefusedError) as refused:
        await store.claims.record_validation(a_validation(claim, "ann"))
    assert refused.value.code is Code.CLAIM_SETTLED


async def test_a_second_validation_by_one_user_is_refused(store: Store, claim: Claim) -> None:
    await record(store, claim, "ann")
    with pytest.raises(RefusedError) as refused:
        await store.claims.record_validation(replace(a_validation(claim, "ann", Action.DISPUTE), id="other"))
    assert refused.value.code is Code.ALREADY_VALIDATED


async def test_a_refused_validation_changes_nothing(store: Store, claim: Claim) -> None:
    (first,) = await record(store, claim, "ann")
    before = await store.claims.claim(claim.id)
    with pytest.raises(RefusedError):
        await store.claims.record_validation(replace(a_validation(claim, "ann", Action.DISPUTE), id="other"))
    assert await store.claims.claim(claim.id) == before
    assert await store.claims.participants(claim.id) == [first]


async def test_no_validation_by_someone_who_made_none(store: Store, claim: Claim) -> None:
    assert await store.claims.validation_by(claim.id, UserId("id-ann")) is None


async def test_validations_page_in_order_of_version(store: Store, claim: Claim) -> None:
    made = await record(store, claim, "eve", "ann", "dan", "ben", "cid")
    seen: list[Validation] = []
    cursor = None
    while True:
        page = await store.claims.validations(claim.id, 2, cursor)
        assert len(page.items) <= 2
        seen += page.items
        cursor = page.next_cursor
        if cursor is None:
            break
    assert seen == made


async def test_participants_are_all_validations_in_order_of_version(store: Store, claim: Claim) -> None:
    made = await record(store, claim, "eve", "ann", "dan")
    assert await store.claims.participants(claim.id) == made


async def test_validations_of_other_claims_are_not_listed(store: Store, claim: Claim) -> None:
    other, _ = await store.claims.create_claim(a_claim("c2"))
    await record(store, other, "ann")
    assert await store.claims.participants(claim.id) == []


# ------------------------------------------------------------------ settlements


async def test_settling_stores_the_decision(store: Store, claim: Claim) -> None:
    await record(store, claim, "ann")
    settled = await store.claims.settle(claim.id, 1, INCONCLUSIVE, after(7))
    assert settled == await store.claims.claim(claim.id)
    assert settled is not None
    assert (settled.status, settled.decision, settled.settled_at, settled.version) == (
        ClaimStatus.INCONCLUSIVE,
        INCONCLUSIVE,
        after(7),
        1,
    )


async def test_settling_twice_wins_once(store: Store, claim: Claim) -> None:
    await store.claims.settle(claim.id, 0, VERIFIED, START)
    assert await store.claims.settle(claim.id, 0, INCONCLUSIVE, START) is None


async def test_the_loser_of_a_settlement_changes_nothing(store: Store, claim: Claim) -> None:
    winner = await store.claims.settle(claim.id, 0, VERIFIED, START)
    await store.claims.settle(claim.id, 0, INCONCLUSIVE, after(1))
    assert await store.claims.claim(claim.id) == winner


@pytest.mark.parametrize("version", [0, 2])
async def test_settling_at_another_version_loses(store: Store, claim: Claim, version: int) -> None:
    await record(store, claim, "ann")
    assert await store.claims.settle(claim.id, version, VERIFIED, START) is None


async def test_settling_an_unknown_claim_loses(store: Store) -> None:
    assert await store.claims.settle(ClaimId("none"), 0, VERIFIED, START) is None


# ------------------------------------------------------------------ pending work


async def test_a_recorded_validation_is_pending(store: Store, claim: Claim) -> None:
    made = await record(store, claim, "ann")
    assert await store.claims.pending_validations(after(1), 10) == made


async def test_a_finished_validation_is_not_pending(store: Store, claim: Claim) -> None:
    (made,) = await record(store, claim, "ann")
    await store.effects.apply_effects([], finishes=made.id)
    assert await store.claims.pending_validations(after(1), 10) == []


async def test_finishing_is_idempotent(store: Store, claim: Claim) -> None:
    (made,) = await record(store, claim, "ann")
    await store.effects.apply_effects([], finishes=made.id)
    assert await store.effects.apply_effects([], finishes=made.id) == []


async def test_applying_effects_without_finishing_leaves_it_pending(
    store: Store, claim: Claim, users: list[User]
) -> None:
    made = await record(store, claim, "ann")
    await store.effects.apply_effects([told("k", users[0])])
    assert await store.claims.pending_validations(after(1), 10) == made


async def test_a_missing_user_leaves_the_validation_pending(store: Store, claim: Claim) -> None:
    made = await record(store, claim, "ann")
    with pytest.raises(RefusedError):
        await store.effects.apply_effects([told("k", a_user("ghost"))], finishes=made[0].id)
    assert await store.claims.pending_validations(after(1), 10) == made


async def test_pending_validations_are_older_than_asked(store: Store, claim: Claim) -> None:
    await record(store, claim, "ann")
    assert await store.claims.pending_validations(START, 10) == []


async def test_pending_validations_come_oldest_first_and_bounded(store: Store, claim: Claim) -> None:
    for age, name in ((3, "ann"), (1, "ben"), (2, "cid")):
        await store.claims.record_validation(a_validation(claim, name, created_at=after(age)))
    found = await store.claims.pending_validations(after(9), 2)
    assert [row.validator_name for row in found] == ["ben", "cid"]


async def test_an_open_claim_is_not_pending(store: Store, claim: Claim) -> None:
    assert await store.claims.pending_settlements(after(1), 10) == []


async def test_a_settled_claim_is_pending_until_finished(store: Store, claim: Claim) -> None:
    settled = await store.claims.settle(claim.id, 0, VERIFIED, START)
    assert await store.claims.pending_settlements(after(1), 10) == [settled]
    await store.effects.apply_effects([], finishes=claim.id)
    assert await store.claims.pending_settlements(after(1), 10) == []


async def test_pending_settlements_are_older_than_asked(store: Store, claim: Claim) -> None:
    await store.claims.settle(claim.id, 0, VERIFIED, START)
    assert await store.claims.pending_settlements(START, 10) == []


async def test_pending_settlements_come_oldest_first_and_bounded(store: Store) -> None:
    await store.claims.create_claims([a_claim(name) for name in ("c1", "c2", "c3")])
    for age, name in ((3, "c1"), (1, "c2"), (2, "c3")):
        await store.claims.settle(ClaimId(name), 0, VERIFIED, after(age))
    assert [claim.id for claim in await store.claims.pending_settlements(after(9), 2)] == ["c2", "c3"]


# ------------------------------------------------------------------ claims that moved


async def test_a_validated_claim_has_moved(store: Store, claim: Claim) -> None:
    made = await record(store, claim, "ann")
    assert await store.claims.claims_moved(made[0].created_at, 10) == [claim.id]


async def test_an_older_validation_is_no_move(store: Store, claim: Claim) -> None:
    await record(store, claim, "ann")
    assert await store.claims.claims_moved(after(3_600), 10) == []
