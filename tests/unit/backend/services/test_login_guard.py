"""Guessing passwords: who is stopped, and who is not although somebody else is."""

import pytest

from backend.app.contracts.errors import Code
from backend.app.errors import UnavailableError
from backend.app.services import throttle
from backend.app.services.login_guard import KNOWN_ADDRESS_S, Attempt, LoginGuard
from backend.app.services.throttle import Throttle
from backend.app.settings import LoginLimits
from tests.support.backend.rest_app import ManualClock

LIMITS = LoginLimits(per_pair=3, per_address=6, per_account=9, lockout_s=900)


@pytest.fixture
def guard(clock: ManualClock) -> LoginGuard:
    return LoginGuard(Throttle(clock), LIMITS)


async def tried(guard: LoginGuard, username: str, address: str | None) -> Attempt | None:
    """The attempt, None when it was refused."""
    try:
        return await guard.enter(username, address)
    except UnavailableError:
        return None


async def entered(guard: LoginGuard, username: str, address: str | None, tries: int) -> int:
    return sum([await tried(guard, username, address) is not None for _ in range(tries)])


async def test_an_address_has_a_few_guesses_at_an_account(guard: LoginGuard) -> None:
    assert await entered(guard, "anna", "1.1.1.1", 10) == 3


async def test_the_refusal_says_when_to_come_back(guard: LoginGuard, clock: ManualClock) -> None:
    await entered(guard, "anna", "1.1.1.1", 3)
    with pytest.raises(UnavailableError) as refusal:
        await guard.enter("anna", "1.1.1.1")
    clock.advance(refusal.value.retry_after_s)
    assert refusal.value.code is Code.RATE_LIMITED
    assert await tried(guard, "anna", "1.1.1.1") is not None


async def test_case_does_not_give_more_guesses(guard: LoginGuard) -> None:
    await entered(guard, "anna", "1.1.1.1", 2)
    assert await entered(guard, "ANNA", "1.1.1.1", 10) == 1


async def test_whoever_guesses_does_not_lock_out_another_address(guard: LoginGuard) -> None:
    await entered(guard, "anna", "1.1.1.1", 100)
    assert await tried(guard, "anna", "2.2.2.2") is not None


async def test_an_address_has_a_few_guesses_at_all_accounts(guard: LoginGuard) -> None:
    assert sum([await entered(guard, name, "1.1.1.1", 1) for name in "abcdefghijk"]) == 6


async def test_many_addresses_have_a_few_guesses_at_one_account(guard: LoginGuard) -> None:
    assert sum([await entered(guard, "anna", f"1.1.1.{number}", 1) for number in range(30)]) == 9


async def test_an_address_that_is_known_gets_in_while_others_guess(guard: LoginGuard) -> None:
    attempt = await guard.enter("anna", "2.2.2.2")
    await guard.succeeded(attempt)
    for number in range(30):
        await tried(guard, "anna", f"1.1.1.{number}")
    assert await tried(guard, "anna", "2.2.2.2") is not None


def before_the_edge(clock: ManualClock, seconds: float) -> None:
    """Go to so long before the next of the windows in which known addresses are kept."""
    clock.advance(KNOWN_ADDRESS_S - clock.now().timestamp() % KNOWN_ADDRESS_S - seconds)


async def test_who_just_logged_in_is_known_after_the_window_of_known_addresses_ended(
    clock: ManualClock,
) -> None:
    guard = LoginGuard(Throttle(clock), LoginLimits())
    before_the_edge(clock, 20 * 60)
    await guard.succeeded(await guard.enter("anna", "2.2.2.2"))
    clock.advance(21 * 60)
    for number in range(101):
        await tried(guard, "anna", f"1.1.1.{number}")
    assert await tried(guard, "anna", "2.2.2.2") is not None


async def test_an_address_stays_known_for_the_whole_time(guard: LoginGuard, clock: ManualClock) -> None:
    before_the_edge(clock, 1)
    await guard.succeeded(await guard.enter("anna", "2.2.2.2"))
    clock.advance(KNOWN_ADDRESS_S)
    for number in range(30):
        await tried(guard, "anna", f"1.1.1.{number}")
    assert await tried(guard, "anna", "2.2.2.2") is not None


async def test_an_address_is_forgotten_after_twice_the_time(guard: LoginGuard, clock: ManualClock) -> None:
    await guard.succeeded(await guard.enter("anna", "2.2.2.2"))
    clock.advance(2 * KNOWN_ADDRESS_S)
    for number in range(30):
        await tried(guard, "anna", f"1.1.1.{number}")
    assert await tried(guard, "anna", "2.2.2.2") is None


async def test_strangers_leave_room_for_the_next_address_that_becomes_known(
    clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(throttle, "MAX_KEYS", 50)
    guard = LoginGuard(Throttle(clock), LIMITS)
    for number in range(100):
        await tried(guard, "anna", f"1.1.1.{number}")
    clock.advance(LIMITS.lockout_s)
    await guard.succeeded(await guard.enter("bert", "2.2.2.2"))
    for number in range(30):
        await tried(guard, "bert", f"3.3.3.{number}")
    assert await tried(guard, "bert", "2.2.2.2") is not None


async def test_a_known_address_has_no_more_guesses_than_others(guard: LoginGuard) -> None:
    await guard.succeeded(await guard.enter("anna", "2.2.2.2"))
    assert await entered(guard, "anna", "2.2.2.2", 10) == 3


async def test_a_lock_ends_even_if_the_guessing_goes_on(guard: LoginGuard, clock: ManualClock) -> None:
    while clock.now().timestamp() % LIMITS.lockout_s:
        await tried(guard, "anna", "1.1.1.1")
        clock.advance(1)
    assert await tried(guard, "anna", "1.1.1.1") is not None


async def test_success_is_not_held_against_anybody(guard: LoginGuard) -> None:
    for _ in range(50):
        await guard.succeeded(await guard.enter("anna", "1.1.1.1"))


async def test_many_attempts_at_once_gain_nothing(guard: LoginGuard) -> None:
    attempts = [await tried(guard, "anna", "1.1.1.1") for _ in range(10)]
    assert len([attempt for attempt in attempts if attempt]) == 3


async def test_without_an_address_the_account_is_counted(guard: LoginGuard) -> None:
    assert await entered(guard, "anna", None, 30) == 9


async def test_what_is_counted_does_not_tell_the_name(guard: LoginGuard) -> None:
    assert "anna" not in (await guard.enter("anna", "1.1.1.1")).pair


async def test_refusals_are_counted(clock: ManualClock) -> None:
    refused: list[int] = []
    guard = LoginGuard(Throttle(clock), LIMITS, lambda: refused.append(1))
    await entered(guard, "anna", "1.1.1.1", 5)
    assert len(refused) == 2
