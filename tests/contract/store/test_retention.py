"""What is older than the retention is forgotten, and nobody is left believing to have everything."""

from datetime import datetime

import pytest

from backend.app.domain.records import Claim, User
from backend.app.ports import Store, Trimmed
from backend.app.services.retention import Retention
from tests.contract.store.store_records import START, StubClock, a_user, a_validation, after, settled, told


@pytest.fixture
async def ann(users: list[User]) -> User:
    return users[0]


async def tell(store: Store, clock: StubClock, user: User, moments: list[datetime]) -> None:
    """One notification at each of the moments."""
    for moment in moments:
        clock.moment = moment
        await store.effects.apply_effects([told(f"{user.id} at {moment.isoformat()}", user)])


async def test_rows_before_the_bound_go(store: Store, clock: StubClock, ann: User) -> None:
    await tell(store, clock, ann, [after(1), after(2), after(3)])
    assert await store.notifications.trim_notifications(after(3), None, 100) == Trimmed(2, None)
    assert [row.seq for row in await store.notifications.notifications(ann.id, limit=10)] == [3]


async def test_a_position_before_what_is_kept_is_an_incomplete_history(
    store: Store, clock: StubClock, ann: User
) -> None:
    await tell(store, clock, ann, [after(1), after(2), after(3)])
    await store.notifications.trim_notifications(after(3), None, 100)
    assert not (await store.notifications.history(ann.id, 1, 10)).complete


async def test_a_position_where_the_kept_rows_begin_is_complete(
    store: Store, clock: StubClock, ann: User
) -> None:
    await tell(store, clock, ann, [after(1), after(2), after(3)])
    await store.notifications.trim_notifications(after(3), None, 100)
    found = await store.notifications.history(ann.id, 2, 10)
    assert (found.complete, [row.seq for row in found.items]) == (True, [3])


async def test_a_user_whose_rows_all_went_is_told_so(store: Store, clock: StubClock, ann: User) -> None:
    await tell(store, clock, ann, [after(1), after(2)])
    await store.notifications.trim_notifications(after(9), None, 100)
    behind, level = (
        await store.notifications.history(ann.id, 1, 10),
        await store.notifications.history(ann.id, 2, 10),
    )
    assert (behind.complete, level.complete, level.last_seq) == (False, True, 2)


async def test_the_next_row_continues_the_numbers(store: Store, clock: StubClock, ann: User) -> None:
    await tell(store, clock, ann, [after(1), after(2)])
    await store.notifications.trim_notifications(after(9), None, 100)
    assert [row.seq for row in await store.effects.apply_effects([told("next", ann)])] == [3]


async def test_unread_rows_that_went_are_not_counted(store: Store, clock: StubClock, ann: User) -> None:
    await tell(store, clock, ann, [after(1), after(2), after(3), after(4)])
    first = (await store.notifications.notifications(ann.id, after_seq=0, limit=1))[0]
    await store.notifications.mark_read(ann.id, first.id)
    await store.notifications.trim_notifications(after(3), None, 100)
    assert await store.notifications.unread_count(ann.id) == 2


async def test_an_old_row_behind_a_young_one_waits_for_it(store: Store, clock: StubClock, ann: User) -> None:
    """The clocks of two nodes differ; a hole would never be closed."""
    await tell(store, clock, ann, [after(1), after(5), after(2)])
    await store.notifications.trim_notifications(after(3), None, 100)
    assert [row.seq for row in await store.notifications.notifications(ann.id, after_seq=0, limit=10)] == [
        2,
        3,
    ]


async def test_slices_reach_every_user(store: Store, clock: StubClock, users: list[User]) -> None:
    for user in users:
        await tell(store, clock, user, [after(1)])
    first = await store.notifications.trim_notifications(after(9), None, 3)
    second = await store.notifications.trim_notifications(after(9), first.next_position, 3)
    assert (first.removed, second) == (3, Trimmed(1, None))


async def test_effects_before_the_bound_are_forgotten(store: Store, clock: StubClock, ann: User) -> None:
    await tell(store, clock, ann, [after(1), after(5)])
    assert await store.effects.trim_effects(after(3), None, 100) == Trimmed(1, None)


async def test_an_effect_that_is_remembered_is_not_applied_again(
    store: Store, clock: StubClock, ann: User
) -> None:
    await tell(store, clock, ann, [after(1), after(5)])
    await store.effects.trim_effects(after(3), None, 100)
    assert await store.effects.apply_effects([told(f"{ann.id} at {after(5).isoformat()}", ann)]) == []


async def test_trust_changes_are_kept(store: Store, clock: StubClock, ann: User, claim: Claim) -> None:
    await store.effects.apply_effects([settled("s", ann, claim, None)])
    assert await store.effects.trim_effects(after(9), None, 100) == Trimmed(0, None)
    assert len(await store.effects.trust_changes(claim.id)) == 1


async def test_unfinished_work_keeps_its_effects(
    store: Store, clock: StubClock, ann: User, claim: Claim
) -> None:
    recorded = await store.claims.record_validation(a_validation(claim, "ann"))
    await store.effects.apply_effects([told("half of it", ann)])
    assert await store.effects.trim_effects(after(9), None, 100) == Trimmed(0, None)
    await store.effects.apply_effects([], finishes=recorded.validation.id)
    assert await store.effects.trim_effects(after(9), None, 100) == Trimmed(1, None)


async def test_slices_of_effects_reach_all(store: Store, clock: StubClock, ann: User) -> None:
    await store.effects.apply_effects([told(f"k{number}", ann) for number in range(5)])
    clock.moment = after(9)
    first = await store.effects.trim_effects(after(9), None, 3)
    second = await store.effects.trim_effects(after(9), first.next_position, 3)
    assert (first.removed, second) == (3, Trimmed(2, None))


# ------------------------------------------------------------------ the service


async def test_the_service_forgets_what_is_older_than_the_days(
    store: Store, clock: StubClock, users: list[User]
) -> None:
    for user in users:
        await tell(store, clock, user, [START, after(86_400)])
    clock.moment = after(1.5 * 86_400)
    assert await Retention(store, clock, 1.0).trim() == 2 * len(users)
    assert [len(await store.notifications.notifications(user.id, limit=9)) for user in users] == [1] * len(
        users
    )


async def test_the_service_keeps_everything_unless_told(store: Store, clock: StubClock, ann: User) -> None:
    await tell(store, clock, ann, [START])
    clock.moment = after(1e9)
    assert await Retention(store, clock, 0.0).trim() == 0


async def test_the_service_takes_all_rows_of_one_user(store: Store, clock: StubClock) -> None:
    """More than one slice takes of a user."""
    zoe = a_user("zoe")
    await store.users.create_user(zoe, "hash")
    await store.effects.apply_effects([told(f"k{number}", zoe) for number in range(1_200)])
    clock.moment = after(10 * 86_400)
    await Retention(store, clock, 1.0).trim()
    assert (
        await store.notifications.notifications(zoe.id, limit=5),
        await store.notifications.unread_count(zoe.id),
    ) == ([], 0)
