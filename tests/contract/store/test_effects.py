"""The store applies each effect once, whole, and numbers notifications without a hole."""

from dataclasses import replace

import pytest

from backend.app.contracts.errors import Code
from backend.app.contracts.types import Action, ClaimId, NotificationType, Priority
from backend.app.domain.effects import advance
from backend.app.domain.records import Claim, Progress, TrustChange, User
from backend.app.domain.trust import TrustPolicy
from backend.app.errors import RefusedError
from backend.app.ports import Store
from tests.contract.store.store_records import StubClock, a_claim, a_user, after, counted, settled, told

TYPES = NotificationType


async def test_applying_nothing_makes_nothing(store: Store) -> None:
    assert await store.effects.apply_effects([]) == []


async def test_an_effect_makes_what_the_domain_says(
    store: Store, clock: StubClock, users: list[User]
) -> None:
    clock.moment = after(3.25)
    effect = settled("k", users[0], a_claim(), Action.VOUCH)
    expected = advance(Progress(), effect, TrustPolicy(), clock.moment)
    assert await store.effects.apply_effects([effect]) == list(expected.notifications)
    stored = await store.users.user(users[0].id)
    assert stored is not None
    assert stored.progress == expected.progress


async def test_returned_notifications_are_the_stored_ones(store: Store, users: list[User]) -> None:
    made = await store.effects.apply_effects([settled("k", users[0], a_claim(), Action.VOUCH)])
    assert await store.notifications.notifications(users[0].id, after_seq=0, limit=10) == made


async def test_any_json_data_reads_back(store: Store, users: list[User]) -> None:
    data = {"a.b": [1, 2.5, None, True, {"$x": "ü🐝"}], "big": 2**62, "": "", "text": "x" * 20_000}
    effect = told("k", users[0], data=data, action_url="/claims/1", priority=Priority.URGENT)
    await store.effects.apply_effects([effect])
    (read,) = await store.notifications.notifications(users[0].id, limit=1)
    assert (read.data, read.action_url, read.priority) == (data, "/claims/1", Priority.URGENT)


async def test_an_effect_is_applied_once(store: Store, users: list[User]) -> None:
    effect = settled("k", users[0], a_claim(), Action.VOUCH)
    await store.effects.apply_effects([effect])
    before = await store.users.user(users[0].id)
    assert await store.effects.apply_effects([effect]) == []
    assert await store.users.user(users[0].id) == before


async def test_a_key_twice_in_one_call_is_applied_once(store: Store, users: list[User]) -> None:
    made = await store.effects.apply_effects([told("k", users[0]), told("k", users[0])])
    assert [item.seq for item in made] == [1]


async def test_only_the_new_effects_of_a_repeated_list_are_returned(store: Store, users: list[User]) -> None:
    await store.effects.apply_effects([told("k1", users[0]), told("k2", users[1])])
    made = await store.effects.apply_effects(
        [told("k1", users[0]), told("k2", users[1]), told("k3", users[0])]
    )
    assert [(item.user_id, item.seq) for item in made] == [(users[0].id, 2)]


async def test_notifications_come_in_order_of_effects(store: Store, users: list[User]) -> None:
    ann, ben, *_ = users
    made = await store.effects.apply_effects(
        [told("k1", ben), told("k2", ann), told("k3", ben), told("k4", ann)]
    )
    assert [(item.user_id, item.seq) for item in made] == [(ben.id, 1), (ann.id, 1), (ben.id, 2), (ann.id, 2)]


async def test_seqs_continue_without_a_hole(store: Store, users: list[User]) -> None:
    ann = users[0]
    for number in range(7):
        await store.effects.apply_effects([told(f"a{number}", ann), told(f"b{number}", ann)])
    rows = await store.notifications.notifications(ann.id, after_seq=0, limit=100)
    assert [row.seq for row in rows] == list(range(1, 15))


async def test_effects_of_one_user_build_on_each_other(store: Store, users: list[User]) -> None:
    ann = users[0]
    await store.effects.apply_effects([counted(f"k{number}", ann, a_claim()) for number in range(10)])
    stored = await store.users.user(ann.id)
    assert stored is not None
    assert (stored.progress.validations, stored.progress.badges) == (
        10,
        {"first_validation", "validations_10"},
    )


async def test_a_badge_is_told_in_the_same_breath(store: Store, users: list[User]) -> None:
    made = await store.effects.apply_effects([counted("k", users[0], a_claim())])
    assert [(item.type, item.data["badge_id"]) for item in made] == [(TYPES.BADGE_EARNED, "first_validation")]


async def test_a_missing_user_is_refused(store: Store) -> None:
    with pytest.raises(RefusedError) as refused:
        await store.effects.apply_effects([told("k", a_user("ghost"))])
    assert refused.value.code is Code.USER_NOT_FOUND


async def test_effects_before_a_missing_user_stay_applied(store: Store, users: list[User]) -> None:
    ann, ben, *_ = users
    with pytest.raises(RefusedError):
        await store.effects.apply_effects([told("k1", ann), told("k2", ben), told("k3", a_user("ghost"))])
    assert await store.notifications.last_seqs([ann.id, ben.id]) == {ann.id: 1, ben.id: 1}


async def test_a_cut_list_can_be_completed(store: Store, users: list[User]) -> None:
    ann, ghost = users[0], a_user("ghost")
    effects = [told("k1", ann), told("k2", ghost), told("k3", ann)]
    with pytest.raises(RefusedError):
        await store.effects.apply_effects(effects)
    await store.users.create_user(ghost, "hash")
    made = await store.effects.apply_effects(effects)
    assert await store.notifications.last_seqs([ann.id, ghost.id]) == {ann.id: 2, ghost.id: 1}
    assert {item.user_id for item in made} >= {ghost.id}


# ------------------------------------------------------------------ trust changes


async def test_trust_changes_tell_every_move_of_a_claim(
    store: Store, claim: Claim, users: list[User]
) -> None:
    ann, ben, cid, owner = users
    await store.effects.apply_effects(
        [
            settled("k-owner", owner, claim, None),
            settled("k-ann", ann, claim, Action.VOUCH),
            settled("k-ben", ben, claim, Action.DISPUTE),
            settled("k-cid", cid, claim, Action.UNSURE),
        ]
    )
    changes = await store.effects.trust_changes(claim.id)
    assert sorted(changes, key=lambda change: change.key) == [
        TrustChange("k-ann", ann.id, claim.id, 50, 52),
        TrustChange("k-ben", ben.id, claim.id, 50, 47),
        TrustChange("k-cid", cid.id, claim.id, 50, 50),
        TrustChange("k-owner", owner.id, claim.id, 50, 53),
    ]


async def test_trust_changes_of_other_claims_are_not_told(
    store: Store, claim: Claim, users: list[User]
) -> None:
    await store.effects.apply_effects([settled("k", users[0], a_claim("c2"), Action.VOUCH)])
    assert await store.effects.trust_changes(claim.id) == []


async def test_an_effect_without_a_trust_change_leaves_none(
    store: Store, claim: Claim, users: list[User]
) -> None:
    await store.effects.apply_effects([told("k1", users[0]), counted("k2", users[0], claim)])
    assert await store.effects.trust_changes(claim.id) == []


async def test_trust_changes_of_an_unknown_claim_are_none(store: Store) -> None:
    assert await store.effects.trust_changes(ClaimId("none")) == []


async def test_trust_stays_in_range(store: Store, claim: Claim) -> None:
    top = a_user("top", progress=replace(Progress(), trust_score=99, badges=frozenset({"trusted"})))
    await store.users.create_user(top, "hash")
    await store.effects.apply_effects([settled("k", top, claim, Action.VOUCH)])
    (change,) = await store.effects.trust_changes(claim.id)
    assert (change.old_score, change.new_score) == (99, 100)
