"""The store keeps its promises about the bell: pages, history, read state."""

import pytest

from backend.app.contracts.errors import Code
from backend.app.contracts.types import NotificationId, UserId
from backend.app.domain.records import Notification, User
from backend.app.errors import RefusedError
from backend.app.ports import History, ReadMark, Store
from tests.contract.store.store_records import a_user, told

NOBODY = UserId("nobody")


@pytest.fixture
async def ann(users: list[User]) -> User:
    return users[0]


@pytest.fixture
async def rows(store: Store, ann: User) -> list[Notification]:
    """Five unread rows of ann."""
    return await store.effects.apply_effects([told(f"k{number}", ann) for number in range(1, 6)])


def seqs(found: list[Notification]) -> list[int]:
    return [item.seq for item in found]


@pytest.mark.parametrize(
    ("bounds", "expected"),
    [
        ({"limit": 10}, [5, 4, 3, 2, 1]),
        ({"limit": 2}, [5, 4]),
        ({"before_seq": 4, "limit": 2}, [3, 2]),
        ({"before_seq": 1, "limit": 2}, []),
        ({"before_seq": 99, "limit": 1}, [5]),
        ({"after_seq": 0, "limit": 10}, [1, 2, 3, 4, 5]),
        ({"after_seq": 2, "limit": 2}, [3, 4]),
        ({"after_seq": 5, "limit": 2}, []),
        ({"after_seq": 1, "before_seq": 4, "limit": 9}, [2, 3]),
    ],
)
async def test_pages(
    store: Store, ann: User, rows: list[Notification], bounds: dict[str, int], expected: list[int]
) -> None:
    assert seqs(await store.notifications.notifications(ann.id, **bounds)) == expected


async def test_unread_only_leaves_out_what_was_read(
    store: Store, ann: User, rows: list[Notification]
) -> None:
    await store.notifications.mark_read(ann.id, rows[1].id)
    await store.notifications.mark_read(ann.id, rows[4].id)
    assert seqs(await store.notifications.notifications(ann.id, unread_only=True, limit=2)) == [4, 3]


async def test_a_read_row_says_so(store: Store, ann: User, rows: list[Notification]) -> None:
    await store.notifications.mark_read(ann.id, rows[0].id)
    found = await store.notifications.notifications(ann.id, after_seq=0, limit=2)
    assert [item.read for item in found] == [True, False]


async def test_an_unknown_user_has_no_notifications(store: Store) -> None:
    assert await store.notifications.notifications(NOBODY, limit=5) == []


async def test_nobody_sees_another_users_rows(
    store: Store, users: list[User], rows: list[Notification]
) -> None:
    assert await store.notifications.notifications(users[1].id, limit=5) == []


async def test_a_notification_page_is_bounded_whatever_is_asked(store: Store, ann: User) -> None:
    await store.effects.apply_effects([told(f"k{number}", ann) for number in range(1_001)])
    assert len(await store.notifications.notifications(ann.id, limit=1_000_000)) == 1_000


# ------------------------------------------------------------------ history


async def test_history_is_what_was_missed(store: Store, ann: User, rows: list[Notification]) -> None:
    assert await store.notifications.history(ann.id, 2, 10) == History(rows[2:], 5, complete=True)


async def test_history_is_bounded(store: Store, ann: User, rows: list[Notification]) -> None:
    assert await store.notifications.history(ann.id, 1, 2) == History(rows[1:3], 5, complete=True)


async def test_history_of_someone_up_to_date_is_empty(
    store: Store, ann: User, rows: list[Notification]
) -> None:
    assert await store.notifications.history(ann.id, 5, 10) == History([], 5, complete=True)


async def test_history_of_a_new_user_is_empty(store: Store, ann: User) -> None:
    assert await store.notifications.history(ann.id, 0, 10) == History([], 0, complete=True)


async def test_a_position_ahead_of_the_newest_cannot_be_caught_up(
    store: Store, ann: User, rows: list[Notification]
) -> None:
    assert await store.notifications.history(ann.id, 6, 10) == History([], 5, complete=False)


async def test_history_of_an_unknown_user_at_a_position_is_incomplete(store: Store) -> None:
    assert await store.notifications.history(NOBODY, 3, 10) == History([], 0, complete=False)


# ------------------------------------------------------------------ counters


async def test_last_seqs_of_several_users(store: Store, users: list[User], rows: list[Notification]) -> None:
    ann, ben, *_ = users
    assert await store.notifications.last_seqs([ann.id, ben.id, NOBODY]) == {ann.id: 5, ben.id: 0}


async def test_last_seqs_of_nobody(store: Store) -> None:
    assert await store.notifications.last_seqs([]) == {}


async def test_last_seqs_of_very_many(store: Store) -> None:
    many = [a_user(f"user-{number}") for number in range(1_500)]
    await store.users.create_users(many, "hash")
    assert await store.notifications.last_seqs([user.id for user in many]) == {user.id: 0 for user in many}


async def test_new_rows_are_unread(store: Store, ann: User, rows: list[Notification]) -> None:
    assert await store.notifications.unread_count(ann.id) == 5


async def test_an_unknown_user_has_nothing_unread(store: Store) -> None:
    assert await store.notifications.unread_count(NOBODY) == 0


# ------------------------------------------------------------------ marking


async def test_marking_one_read(store: Store, ann: User, rows: list[Notification]) -> None:
    assert await store.notifications.mark_read(ann.id, rows[2].id) == ReadMark([rows[2].id], 3, 4)
    assert await store.notifications.unread_count(ann.id) == 4


async def test_marking_one_again_changes_nothing(store: Store, ann: User, rows: list[Notification]) -> None:
    await store.notifications.mark_read(ann.id, rows[2].id)
    assert await store.notifications.mark_read(ann.id, rows[2].id) == ReadMark([], 3, 4)


async def test_marking_an_unknown_row_is_refused(store: Store, ann: User) -> None:
    with pytest.raises(RefusedError) as refused:
        await store.notifications.mark_read(ann.id, NotificationId("none"))
    assert refused.value.code is Code.NOTIFICATION_NOT_FOUND


async def test_marking_another_users_row_is_refused(
    store: Store, users: list[User], rows: list[Notification]
) -> None:
    ann, ben, *_ = users
    with pytest.raises(RefusedError) as refused:
        await store.notifications.mark_read(ben.id, rows[0].id)
    assert refused.value.code is Code.NOTIFICATION_NOT_FOUND
    assert await store.notifications.unread_count(ann.id) == 5


async def test_marking_all_read(store: Store, ann: User, rows: list[Notification]) -> None:
    assert await store.notifications.mark_all_read(ann.id, None) == ReadMark([row.id for row in rows], 5, 0)
    assert await store.notifications.notifications(ann.id, unread_only=True, limit=5) == []


async def test_marking_up_to_a_seq(store: Store, ann: User, rows: list[Notification]) -> None:
    assert await store.notifications.mark_all_read(ann.id, 3) == ReadMark([row.id for row in rows[:3]], 3, 2)


async def test_marking_all_names_only_what_was_unread(
    store: Store, ann: User, rows: list[Notification]
) -> None:
    await store.notifications.mark_all_read(ann.id, 2)
    assert await store.notifications.mark_all_read(ann.id, 4) == ReadMark([rows[2].id, rows[3].id], 4, 1)


async def test_a_bound_ahead_of_the_newest_means_the_newest(
    store: Store, ann: User, rows: list[Notification]
) -> None:
    assert (await store.notifications.mark_all_read(ann.id, 1_000)).up_to_seq == 5


async def test_rows_after_a_mark_are_unread(store: Store, ann: User, rows: list[Notification]) -> None:
    await store.notifications.mark_all_read(ann.id, 1_000)
    await store.effects.apply_effects([told("later", ann)])
    assert await store.notifications.unread_count(ann.id) == 1


async def test_marking_for_a_user_without_rows(store: Store, ann: User) -> None:
    assert await store.notifications.mark_all_read(ann.id, None) == ReadMark([], 0, 0)


async def test_marking_for_an_unknown_user(store: Store) -> None:
    assert await store.notifications.mark_all_read(NOBODY, None) == ReadMark([], 0, 0)


async def test_marking_all_leaves_other_users_alone(
    store: Store, users: list[User], rows: list[Notification]
) -> None:
    ann, ben, *_ = users
    await store.notifications.mark_all_read(ben.id, 1_000)
    assert await store.notifications.unread_count(ann.id) == 5
