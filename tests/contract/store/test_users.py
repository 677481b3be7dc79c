"""The store keeps its promises about users, badges, ranks and revoked tokens."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from backend.app.contracts.errors import Code
from backend.app.contracts.types import UserId
from backend.app.domain.records import EarnedBadge, Progress, User
from backend.app.errors import RefusedError
from backend.app.ports import Newcomer, Store
from tests.contract.store.store_records import START, StubClock, a_claim, a_user, after, counted, told

PROGRESS = Progress(81, 12, 7, 3, 2, frozenset({"trusted", "first_validation"}), 0)


async def test_a_user_reads_back_as_created(store: Store) -> None:
    user = a_user("ann", display_name="Änn 🐝 “quoted”", progress=PROGRESS)
    await store.users.create_user(user, "hash")
    assert await store.users.user(user.id) == user


async def test_an_unknown_user_is_none(store: Store) -> None:
    assert await store.users.user(UserId("nobody")) is None


async def test_credentials_are_found_whatever_the_case(store: Store) -> None:
    user = a_user("Ann")
    await store.users.create_user(user, "a secret hash")
    found = await store.users.credentials("aNN")
    assert found is not None
    assert (found.user, found.password_hash) == (user, "a secret hash")


async def test_credentials_of_an_unknown_name_are_none(store: Store) -> None:
    assert await store.users.credentials("nobody") is None


async def test_a_taken_username_is_refused_whatever_the_case(store: Store) -> None:
    await store.users.create_user(a_user("ann"), "hash")
    with pytest.raises(RefusedError) as refused:
        await store.users.create_user(a_user("x", username="ANN"), "hash")
    assert refused.value.code is Code.USERNAME_TAKEN


async def test_a_refused_user_does_not_replace_the_first(store: Store) -> None:
    await store.users.create_user(a_user("ann"), "hash")
    with pytest.raises(RefusedError):
        await store.users.create_user(a_user("x", username="ANN"), "hash")
    assert await store.users.user(UserId("id-x")) is None


async def test_many_users_are_created_at_once(store: Store) -> None:
    await store.users.create_users([a_user(f"user-{number}") for number in range(1_200)], "hash")
    assert await store.users.user(UserId("id-user-1199")) is not None


async def test_creating_no_users_is_allowed(store: Store) -> None:
    await store.users.create_users([], "hash")
    assert (await store.users.leaderboard(10, None)).items == []


async def test_many_users_with_one_taken_name_are_all_refused(store: Store) -> None:
    await store.users.create_user(a_user("ann"), "hash")
    with pytest.raises(RefusedError) as refused:
        await store.users.create_users([a_user("ben"), a_user("x", username="Ann")], "hash")
    assert refused.value.code is Code.USERNAME_TAKEN
    assert await store.users.user(UserId("id-ben")) is None


async def test_the_same_name_twice_in_one_call_is_refused(store: Store) -> None:
    with pytest.raises(RefusedError) as refused:
        await store.users.create_users([a_user("ben"), a_user("x", username="BEN")], "hash")
    assert refused.value.code is Code.USERNAME_TAKEN
    assert await store.users.user(UserId("id-ben")) is None


async def test_a_user_id_is_never_given_twice(store: Store) -> None:
    await store.users.create_user(a_user("ann"), "hash")
    with pytest.raises(RefusedError):
        await store.users.create_user(a_user("ann", username="other"), "hash")
    assert await store.users.credentials("other") is None


async def test_badges_come_oldest_first(store: Store, clock: StubClock, users: list[User]) -> None:
    ann = users[0]
    for number in range(10):
        clock.moment = after(number)
        await store.effects.apply_effects([counted(f"k{number}", ann, a_claim())])
    assert await store.users.badges([ann.id]) == {
        ann.id: [EarnedBadge("first_validation", START), EarnedBadge("validations_10", after(9))]
    }


async def test_users_without_badges_are_absent(store: Store, users: list[User]) -> None:
    assert await store.users.badges([users[0].id, UserId("nobody")]) == {}


async def test_badges_of_nobody_are_none(store: Store) -> None:
    assert await store.users.badges([]) == {}


def _ranked(name: str, score: int, validations: int) -> User:
    return a_user(name, progress=replace(Progress(), trust_score=score, validations=validations))


RANKED = [
    _ranked("b", 90, 1),
    _ranked("d", 80, 9),
    _ranked("a", 80, 5),
    _ranked("c", 80, 5),
    _ranked("e", 80, 2),
    _ranked("f", 10, 700),
]


async def test_the_leaderboard_sorts_by_score_then_validations_then_id(store: Store) -> None:
    await store.users.create_users(list(reversed(RANKED)), "hash")
    assert (await store.users.leaderboard(10, None)).items == RANKED


@pytest.mark.parametrize("limit", [1, 2, 3, 4, 5])
async def test_leaderboard_pages_join_up(store: Store, limit: int) -> None:
    await store.users.create_users(RANKED, "hash")
    seen: list[User] = []
    cursor = None
    while True:
        page = await store.users.leaderboard(limit, cursor)
        assert len(page.items) <= limit
        seen += page.items
        cursor = page.next_cursor
        if cursor is None:
            break
    assert seen == RANKED


async def test_the_last_full_page_has_no_cursor(store: Store) -> None:
    await store.users.create_users(RANKED, "hash")
    assert (await store.users.leaderboard(len(RANKED), None)).next_cursor is None


@pytest.mark.parametrize("cursor", ["", "x", "!!!", "bnVsbA", "W10", "é", "A" * 5_000])
@pytest.mark.parametrize("listing", ["leaderboard", "claims", "validations"])
async def test_a_made_up_cursor_is_refused(store: Store, listing: str, cursor: str) -> None:
    calls: dict[str, Callable[[], object]] = {
        "leaderboard": lambda: store.users.leaderboard(10, cursor),
        "claims": lambda: store.claims.claims(10, cursor, None, None),
        "validations": lambda: store.claims.validations(a_claim().id, 10, cursor),
    }
    with pytest.raises(RefusedError) as refused:
        await calls[listing]()  # type: ignore[misc]
    assert refused.value.code is Code.INVALID_CURSOR


async def test_a_cursor_of_another_list_is_refused(store: Store) -> None:
    await store.users.create_users(RANKED, "hash")
    cursor = (await store.users.leaderboard(1, None)).next_cursor
    with pytest.raises(RefusedError) as refused:
        await store.claims.claims(1, cursor, None, None)
    assert refused.value.code is Code.INVALID_CURSOR


async def test_a_revoked_token_is_revoked(store: Store) -> None:
    await store.users.revoke_token("jti-1", after(60))
    assert await store.users.is_revoked("jti-1")


async def test_other_tokens_are_not_revoked(store: Store) -> None:
    await store.users.revoke_token("jti-1", after(60))
    assert not await store.users.is_revoked("jti-2")


async def test_revoking_twice_keeps_the_later_expiry(store: Store, clock: StubClock) -> None:
    await store.users.revoke_token("jti-1", after(600))
    await store.users.revoke_token("jti-1", after(60))
    clock.moment = after(300)
    await store.users.revoke_token("other", after(600))
    assert await store.users.is_revoked("jti-1")


async def test_newcomers_are_told_in_the_order_they_asked(store: Store) -> None:
    await store.users.create_users([a_user("anna"), a_user("bert")], "hash")
    found = await store.users.newcomers(
        [(UserId("nobody"), "j1"), (UserId("id-bert"), "j2"), (UserId("id-anna"), "j3")]
    )
    assert found == [Newcomer(None, False), Newcomer(0, False), Newcomer(0, False)]


async def test_a_newcomers_revoked_token_is_told(store: Store) -> None:
    await store.users.create_users([a_user("anna")], "hash")
    await store.users.revoke_token("gone", after(60))
    found = await store.users.newcomers([(UserId("id-anna"), "gone"), (UserId("id-anna"), "good")])
    assert found == [Newcomer(0, True), Newcomer(0, False)]


async def test_a_token_id_is_never_taken_for_a_user(store: Store) -> None:
    await store.users.create_users([a_user("anna")], "hash")
    await store.users.revoke_token("id-anna", after(60))
    found = await store.users.newcomers([(UserId("id-anna"), "good"), (UserId("other"), "id-anna")])
    assert found == [Newcomer(0, False), Newcomer(None, True)]


async def test_a_newcomers_newest_seq_is_that_of_the_user(store: Store) -> None:
    await store.users.create_users([a_user("anna")], "hash")
    await store.effects.apply_effects([told("k1", a_user("anna")), told("k2", a_user("anna"))])
    assert await store.users.newcomers([(UserId("id-anna"), "j")]) == [Newcomer(2, False)]


async def test_nobody_is_no_question(store: Store) -> None:
    assert await store.users.newcomers([]) == []
