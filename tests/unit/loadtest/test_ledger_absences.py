"""Absences that the end of a load test cuts short, and those that the server failed to end."""

import pytest

from loadtest.ledger import Return

S = 1_000_000_000


def gone() -> Return:
    """Away from second 10 to second 12."""
    absence = Return()
    absence.begin(10 * S, 2.0)
    return absence


@pytest.mark.parametrize("at_s", [11, 13, 16])
def test_who_was_hardly_allowed_back_was_cut_short(at_s: int) -> None:
    assert gone().cut_short(at_s * S)


def test_who_tried_for_long_was_not_let_in() -> None:
    assert not gone().cut_short(17 * S)


def test_who_was_never_away_was_not_cut_short() -> None:
    assert not Return().cut_short(1 * S)


def test_who_is_back_was_not_cut_short() -> None:
    absence = gone()
    absence.end()
    assert not absence.cut_short(12 * S)
