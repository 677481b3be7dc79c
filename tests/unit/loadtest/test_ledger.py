"""The ledgers of Locust's bells and watchers, and absences: what was owed, what came, what was lost."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.ledger import BellLedger, Return, Totals, WatchLedger


def bell(last_seq: int = 0) -> BellLedger:
    ledger = BellLedger()
    ledger.begin(last_seq)
    return ledger


def truth(last_seq: int, first: int = 1) -> list[tuple[int, str]]:
    return [(seq, f"id-{seq}") for seq in range(first, last_seq + 1)]


def fed(*seqs: int) -> BellLedger:
    ledger = bell()
    for seq in seqs:
        ledger.push(seq, f"id-{seq}")
    return ledger


BELLS: dict[str, tuple[list[int], int | None, tuple[int, int], dict[str, int]]] = {
    "all received in order": ([1, 2, 3], 3, (3, 3), {"expected": 3, "live": 3, "lost": 0}),
    "a hole at the end of the run": ([1, 3], 3, (3, 3), {"live": 2, "lost": 1}),
    "a missing newest one": ([1, 2], 3, (3, 2), {"lost": 1}),
    "a late one is not lost": ([1, 3, 2], 3, (3, 3), {"out_of_order": 1, "lost": 0, "live": 2}),
    "a seq the server never gave": ([1, 2], 1, (1, 2), {"misrouted": 1}),
    "one that came after the truth was asked for": ([1, 2], 1, (1, 1), {"misrouted": 0, "live": 2}),
    "without a truth nothing is called lost": ([1, 3], None, (3, 3), {"lost": 0, "unverified": 1}),
}


@pytest.mark.parametrize(("seqs", "given", "closed", "counts"), BELLS.values(), ids=BELLS)
def test_each_notification_of_a_bell_has_its_class(
    seqs: list[int], given: int | None, closed: tuple[int, int], counts: dict[str, int]
) -> None:
    found = fed(*seqs).close(None if given is None else truth(given), *closed)
    assert {name: getattr(found, name) for name in counts} == counts


def test_a_hole_is_seen_at_once() -> None:
    assert fed(1, 3).behind


def test_a_closed_hole_is_none() -> None:
    ledger = fed(1, 3)
    ledger.push(2, "id-2", live=False)
    assert not ledger.behind
    assert ledger.close(truth(3), 3, 3).replayed == 1


def test_a_late_one_is_out_of_order_and_not_lost() -> None:
    counts = fed(1, 3, 2).close(truth(3), 3, 3)
    assert (counts.out_of_order, counts.lost, counts.live) == (1, 0, 2)


def test_a_repeated_one_is_a_duplicate() -> None:
    ledger = fed(1)
    assert not ledger.push(1, "id-1")
    assert ledger.close(truth(1), 1, 1).duplicate == 1


def test_what_was_there_before_the_socket_is_not_owed() -> None:
    counts = bell(7).close([], 7, 7)
    assert counts.expected == 0


def test_somebody_elses_notification_is_misrouted() -> None:
    ledger = bell()
    ledger.push(1, "of-another-user")
    counts = ledger.close(truth(1), 1, 1)
    assert (counts.misrouted, counts.lost, counts.live) == (1, 1, 0)


@given(st.lists(st.integers(1, 12), max_size=40), st.integers(0, 14))
def test_the_identities_of_a_bell_hold_whatever_comes(seqs, last_seq) -> None:
    ledger = fed(*seqs)
    counts = ledger.close(truth(last_seq), last_seq, ledger.highest)
    owed = (
        counts.live
        + counts.replayed
        + counts.superseded
        + counts.out_of_order
        + counts.lost
        + counts.unverified
    )
    had = counts.live + counts.replayed + counts.out_of_order + counts.duplicate + counts.misrouted
    assert (owed, had) == (counts.expected, counts.received)


def watched(*versions: int) -> WatchLedger:
    ledger = WatchLedger()
    ledger.begin(10)
    for version in versions:
        ledger.see("c", version)
    return ledger


WATCHERS = {
    "at the newest version": ((1, 2), ("2", 20), 0),
    "never saw the newest version": ((1,), ("2", 20), 1),
    "never saw the claim": ((), ("1", 20), 1),
    "published before the watcher came": ((), ("1", 5), 0),
    "published after the end": ((), ("1", 40), 0),
}


@pytest.mark.parametrize(("versions", "newest", "lost"), WATCHERS.values(), ids=WATCHERS)
def test_a_watcher_is_owed_the_newest_version_of_its_time(
    versions: tuple[int, ...], newest: tuple[str, int], lost: int
) -> None:
    assert watched(*versions).close({"c": newest}, 30).lost == lost


def test_versions_jumped_over_are_superseded() -> None:
    counts = watched(1, 4).close({}, 30)
    assert (counts.superseded, counts.expected) == (2, 4)


def test_a_version_behind_a_newer_one_is_out_of_order() -> None:
    assert watched(1, 3, 2).close({}, 30).out_of_order == 1


def test_a_version_that_was_an_answer_may_still_come_live() -> None:
    ledger = watched()
    ledger.told("c", 3)
    ledger.see("c", 3)
    assert (ledger.counts.live, ledger.counts.duplicate) == (1, 0)


def test_after_an_absence_the_next_version_counts_from_anew() -> None:
    ledger = watched(1)
    ledger.begin(50)
    ledger.see("c", 9)
    assert ledger.counts.superseded == 0


def test_totals_add_up() -> None:
    total = Totals(live=1)
    total.add(Totals(live=2, lost=3))
    assert (total.live, total.lost) == (3, 3)


# -------------------------------------------------------------- absences


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
