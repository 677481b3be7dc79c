"""The ledgers of Locust's bells and watchers: what was owed, what came, what was lost."""

from hypothesis import given
from hypothesis import strategies as st

from loadtest.ledger import BellLedger, Totals, WatchLedger


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


def test_all_received_in_order_is_live() -> None:
    counts = fed(1, 2, 3).close(truth(3), 3, 3)
    assert (counts.expected, counts.live, counts.lost) == (3, 3, 0)


def test_a_hole_at_the_end_of_the_run_is_lost() -> None:
    counts = fed(1, 3).close(truth(3), 3, 3)
    assert (counts.live, counts.lost) == (2, 1)


def test_a_missing_newest_one_is_lost() -> None:
    assert fed(1, 2).close(truth(3), 3, 2).lost == 1


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


def test_a_seq_the_server_never_gave_is_misrouted() -> None:
    ledger = fed(1, 2)
    assert ledger.close(truth(1), 1, 2).misrouted == 1


def test_what_came_after_the_truth_was_asked_for_is_no_stranger() -> None:
    ledger = fed(1, 2)
    counts = ledger.close(truth(1), 1, 1)
    assert (counts.misrouted, counts.live) == (0, 2)


def test_without_a_truth_nothing_is_called_lost() -> None:
    counts = fed(1, 3).close(None, 3, 3)
    assert (counts.lost, counts.unverified) == (0, 1)


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


def test_a_watcher_at_the_newest_version_lost_nothing() -> None:
    assert watched(1, 2).close({"c": ("2", 20)}, 30).lost == 0


def test_a_watcher_that_never_saw_the_newest_version_lost_it() -> None:
    assert watched(1).close({"c": ("2", 20)}, 30).lost == 1


def test_a_claim_that_was_never_seen_is_lost() -> None:
    assert watched().close({"c": ("1", 20)}, 30).lost == 1


def test_what_was_published_before_the_watcher_came_is_not_owed() -> None:
    assert watched().close({"c": ("1", 5)}, 30).lost == 0


def test_what_was_published_after_the_end_is_not_owed() -> None:
    assert watched().close({"c": ("1", 40)}, 30).lost == 0


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
