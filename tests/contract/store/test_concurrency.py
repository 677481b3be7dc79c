"""Many callers at once: one of each, none lost, no holes; what was acknowledged is there after reopening."""

import asyncio
from collections import Counter

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from backend.app.contracts.errors import Code
from backend.app.contracts.types import Action, ClaimId
from backend.app.domain.consensus import Decision, Tally
from backend.app.domain.records import Claim, User
from backend.app.errors import RefusedError, UnavailableError
from backend.app.ports import Recorded, Store
from tests.contract.store.store_files import opened
from tests.contract.store.store_records import (
    START,
    VERIFIED,
    BuildStore,
    a_claim,
    a_user,
    a_validation,
    after,
    counted,
    told,
)

CROWD = 200
ACTIONS = list(Action)


async def crowd_validates(store: Store) -> list[Recorded]:
    claim, _ = await store.claims.create_claim(a_claim("hot", quorum=CROWD))
    return await asyncio.gather(
        *(
            store.claims.record_validation(a_validation(claim, f"u{n}", ACTIONS[n % 3], weight=n))
            for n in range(CROWD)
        )
    )


async def test_a_crowd_on_one_claim_gets_each_version_once(store: Store) -> None:
    recorded = await crowd_validates(store)
    assert sorted(item.validation.version for item in recorded) == list(range(1, CROWD + 1))


async def test_a_crowd_on_one_claim_is_tallied_exactly(store: Store) -> None:
    await crowd_validates(store)
    claim = await store.claims.claim(ClaimId("hot"))
    weights = [sum(range(start, CROWD, 3)) for start in range(3)]
    assert claim is not None
    assert (claim.tally, claim.weights, claim.version) == (Tally(67, 67, 66), Tally(*weights), CROWD)


async def test_a_crowd_on_one_claim_leaves_a_row_each(store: Store) -> None:
    recorded = await crowd_validates(store)
    by_version = sorted((item.validation for item in recorded), key=lambda row: row.version)
    assert await store.claims.participants(ClaimId("hot")) == by_version


async def test_each_of_a_crowd_sees_the_claim_as_its_own_validation_left_it(store: Store) -> None:
    recorded = await crowd_validates(store)
    assert all(item.claim.version == item.claim.tally.total == item.validation.version for item in recorded)


async def test_one_user_many_times_at_once_is_counted_once(store: Store, claim: Claim) -> None:
    tries = [
        store.claims.record_validation(a_validation(claim, "ann", id=f"v{number}")) for number in range(20)
    ]
    outcomes = await asyncio.gather(*tries, return_exceptions=True)
    codes = Counter(item.code if isinstance(item, RefusedError) else "stored" for item in outcomes)
    assert codes == {"stored": 1, Code.ALREADY_VALIDATED: 19}


async def test_one_winner_settles_a_claim(store: Store, claim: Claim) -> None:
    tries = [
        store.claims.settle(claim.id, 0, Decision(ACTIONS[n % 3], 60.0 + n), after(n)) for n in range(30)
    ]
    winners = [item for item in await asyncio.gather(*tries) if item is not None]
    assert winners == [await store.claims.claim(claim.id)]


async def test_no_validation_slips_in_behind_a_settlement(store: Store, claim: Claim) -> None:
    async def settle_when_possible() -> Claim:
        while True:
            current = await store.claims.claim(claim.id)
            assert current is not None
            if settled := await store.claims.settle(claim.id, current.version, VERIFIED, START):
                return settled

    tries = [store.claims.record_validation(a_validation(claim, f"u{number}")) for number in range(40)]
    settled, *outcomes = await asyncio.gather(settle_when_possible(), *tries, return_exceptions=True)
    recorded = [item for item in outcomes if isinstance(item, Recorded)]
    refused = [item for item in outcomes if isinstance(item, RefusedError)]
    assert isinstance(settled, Claim)
    assert settled.version == len(recorded) == len(await store.claims.participants(claim.id))
    assert {item.code for item in refused} <= {Code.CLAIM_SETTLED}


async def test_one_of_many_registrations_gets_the_name(store: Store) -> None:
    tries = [
        store.users.create_user(a_user(f"x{n}", username="Ann" if n % 2 else "ann"), "h") for n in range(10)
    ]
    outcomes = await asyncio.gather(*tries, return_exceptions=True)
    assert Counter(type(item) for item in outcomes) == {type(None): 1, RefusedError: 9}


async def test_one_of_many_equal_posts_makes_the_claim(store: Store) -> None:
    tries = [
        store.claims.create_claim(a_claim(f"c{number}", title="T", idempotency_key="key"))
        for number in range(10)
    ]
    outcomes = await asyncio.gather(*tries)
    assert sum(created for _, created in outcomes) == 1
    assert len({claim.id for claim, _ in outcomes}) == 1


async def test_repeated_effects_at_once_are_applied_once(store: Store, users: list[User]) -> None:
    effects = [told(f"k{number}", users[number % 3]) for number in range(30)]
    made = await asyncio.gather(*(store.effects.apply_effects(effects) for _ in range(8)))
    keys = Counter(item.data["key"] for group in made for item in group)
    assert keys == {effect.key: 1 for effect in effects}


async def test_seqs_have_no_holes_whatever_the_concurrency(store: Store, users: list[User]) -> None:
    owner = users[3]
    made = await asyncio.gather(
        *(store.effects.apply_effects([told(f"k{number}", owner)]) for number in range(CROWD))
    )
    assert sorted(item.seq for group in made for item in group) == list(range(1, CROWD + 1))
    assert await store.notifications.last_seqs([owner.id]) == {owner.id: CROWD}
    assert await store.notifications.unread_count(owner.id) == CROWD


async def test_progress_counts_every_effect_whatever_the_concurrency(store: Store, users: list[User]) -> None:
    ann, claim = users[0], a_claim()
    await asyncio.gather(
        *(store.effects.apply_effects([counted(f"k{number}", ann, claim)]) for number in range(100))
    )
    stored = await store.users.user(ann.id)
    assert stored is not None
    assert stored.progress.validations == 100
    assert (
        Counter(row.badge_id for row in (await store.users.badges([ann.id]))[ann.id]).most_common(1)[0][1]
        == 1
    )


async def test_the_unread_count_survives_marking_and_telling_at_once(store: Store, users: list[User]) -> None:
    ann = users[0]
    await asyncio.gather(
        *(store.effects.apply_effects([told(f"k{number}", ann)]) for number in range(60)),
        *(store.notifications.mark_all_read(ann.id, None) for _ in range(20)),
    )
    unread = await store.notifications.notifications(ann.id, unread_only=True, limit=1_000)
    assert await store.notifications.unread_count(ann.id) == len(unread)


async def test_history_is_consistent_while_rows_arrive(store: Store, users: list[User]) -> None:
    ann = users[0]
    writing = asyncio.gather(
        *(store.effects.apply_effects([told(f"k{number}", ann)]) for number in range(60))
    )
    histories = []
    while not writing.done():
        histories.append(await store.notifications.history(ann.id, 0, 1_000))
    await writing
    assert all(item.complete and len(item.items) == item.last_seq for item in histories)


# ------------------------------------------------------------------ durability


async def test_everything_is_there_after_reopening(
    build: BuildStore, store: Store, users: list[User]
) -> None:
    recorded = await crowd_validates(store)
    await store.effects.apply_effects([told("k", users[0])])
    await store.close()
    async with opened(build()) as reopened:
        assert len(await reopened.claims.participants(ClaimId("hot"))) == len(recorded)
        assert await reopened.notifications.unread_count(users[0].id) == 1


async def test_applied_keys_are_remembered_after_reopening(
    build: BuildStore, store: Store, users: list[User]
) -> None:
    await store.effects.apply_effects([told("k", users[0])])
    await store.close()
    async with opened(build()) as reopened:
        assert await reopened.effects.apply_effects([told("k", users[0])]) == []


async def test_two_open_stores_share_one_place(build: BuildStore, store: Store, users: list[User]) -> None:
    async with opened(build()) as other:
        stores = (store, other)
        made = await asyncio.gather(
            *(stores[n % 2].effects.apply_effects([told(f"k{n}", users[0])]) for n in range(60))
        )
        assert sorted(item.seq for group in made for item in group) == list(range(1, 61))


# ------------------------------------------------------------------ life


async def test_a_fresh_store_answers(store: Store) -> None:
    await store.ping()


async def test_closing_twice_is_allowed(build: BuildStore) -> None:
    async with opened(build()) as store:
        await store.close()


async def test_closing_before_opening_is_allowed(build: BuildStore) -> None:
    await build().close()


@pytest.mark.parametrize("opened", [False, True])
async def test_a_store_that_is_not_open_is_unavailable(build: BuildStore, opened: bool) -> None:
    store = build()
    if opened:
        await store.open()
        await store.close()
    with pytest.raises(UnavailableError):
        await store.ping()


async def test_closing_finishes_what_was_accepted(build: BuildStore, store: Store, users: list[User]) -> None:
    calls = [asyncio.create_task(store.effects.apply_effects([told(f"k{n}", users[0])])) for n in range(20)]
    await asyncio.sleep(0)  # let each call reach the store
    await store.close()
    accepted = [
        item for item in await asyncio.gather(*calls, return_exceptions=True) if isinstance(item, list)
    ]
    async with opened(build()) as reopened:
        assert await reopened.notifications.unread_count(users[0].id) >= len(accepted)


# ------------------------------------------------------------------ against a model

_STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("tell"), st.integers(0, 12)),
        st.tuples(st.just("read"), st.integers(0, 12)),
        st.tuples(st.just("read_all"), st.none() | st.integers(0, 15)),
    ),
    max_size=25,
)


@settings(
    max_examples=25,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(steps=_STEPS)
async def test_the_bell_behaves_like_a_list_of_flags(
    store: Store, steps: list[tuple[str, int | None]]
) -> None:
    user = a_user(f"model-{len((await store.users.leaderboard(1_000, None)).items)}")
    await store.users.create_user(user, "hash")
    ids, read, keys = [], [], set()
    for verb, number in steps:
        if verb == "tell":
            made = await store.effects.apply_effects([told(f"{user.id}-{number}", user)])
            assert len(made) == (number not in keys)
            keys.add(number)
            ids += [item.id for item in made]
            read += [False for _ in made]
        elif verb == "read" and number is not None and number < len(ids):
            mark = await store.notifications.mark_read(user.id, ids[number])
            assert mark.ids == ([] if read[number] else [ids[number]])
            read[number] = True
        elif verb == "read_all":
            bound = len(ids) if number is None else min(number, len(ids))
            mark = await store.notifications.mark_all_read(user.id, number)
            assert mark.ids == [ids[n] for n in range(bound) if not read[n]]
            read[:bound] = [True] * bound
    rows = await store.notifications.notifications(user.id, after_seq=0, limit=1_000)
    assert [row.read for row in rows] == read
    assert await store.notifications.unread_count(user.id) == read.count(False)
