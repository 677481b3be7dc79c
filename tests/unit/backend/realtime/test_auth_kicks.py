"""Kicked tokens are remembered for a while, and not for ever."""

from backend.app.contracts.types import UserId
from backend.app.realtime.auth import KEPT_KICKS, KEPT_S, RecentKicks
from backend.app.realtime.bus.messages import Kick

ANN = UserId("ann")


def test_a_kicked_token_is_remembered() -> None:
    kicked = RecentKicks()
    kicked.note(Kick(ANN, "j1"), 0.0)
    assert (kicked.holds("j1", 1.0), kicked.holds("j2", 1.0), kicked.holds(None, 1.0)) == (True, False, False)


def test_it_is_forgotten_in_time() -> None:
    kicked = RecentKicks()
    kicked.note(Kick(ANN, "j1"), 0.0)
    assert not kicked.holds("j1", KEPT_S)


def test_what_is_forgotten_takes_no_memory() -> None:
    kicked = RecentKicks()
    for number in range(1_000):
        kicked.note(Kick(ANN, f"j{number}"), float(number))
    assert len(kicked._until_s) <= KEPT_S + 1


def test_a_kicked_user_may_come_back() -> None:
    kicked = RecentKicks()
    kicked.note(Kick(ANN, None), 0.0)
    assert len(kicked._until_s) == 0


def test_there_is_a_bound() -> None:
    kicked = RecentKicks()
    for number in range(KEPT_KICKS + 5):
        kicked.note(Kick(ANN, str(number)), 0.0)
    assert len(kicked._until_s) == KEPT_KICKS
