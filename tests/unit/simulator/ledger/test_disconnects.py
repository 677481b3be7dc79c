"""Absences: what is timed from where, and who is censored."""

import pytest

from simulator.ledger.disconnects import Disconnects

MS = 1_000_000


def stormed() -> Disconnects:
    """Client 0 is away for 10 ms on purpose, is back after 15, fed after 17, caught up after 20."""
    outages = Disconnects()
    outages.cut(0, 0, 10 * MS)
    outages.connected(0, 15 * MS)
    outages.fed(0, 17 * MS)
    outages.caught_up(0, 20 * MS)
    return outages


def test_times_count_from_when_the_client_was_allowed_back() -> None:
    storm = stormed().absences({}, 100 * MS).figures()
    times = (storm.time_to_reconnect.max, storm.time_to_first_event.max, storm.time_to_caught_up.max)
    assert times == (5.0, 7.0, 10.0)


def test_the_whole_outage_counts_from_the_cut() -> None:
    assert stormed().absences({}, 100 * MS).figures().outage.max == 20.0


def test_one_who_is_not_back_is_censored() -> None:
    outages = Disconnects()
    outages.cut(0, 0)
    storm = outages.absences({}, 100 * MS).figures()
    assert (storm.drops, storm.reconnected, storm.censored) == (1, 0, 1)


def test_one_who_is_back_but_not_caught_up_is_censored() -> None:
    outages = Disconnects()
    outages.cut(0, 0)
    outages.connected(0, 5 * MS)
    storm = outages.absences({}, 100 * MS).figures()
    assert (storm.reconnected, storm.censored) == (1, 1)


def test_what_happened_after_the_window_is_censored() -> None:
    storm = stormed().absences({}, 16 * MS).figures()
    assert (storm.reconnected, storm.censored, storm.time_to_caught_up.count) == (1, 1, 0)


def test_a_second_cut_while_away_is_the_same_outage() -> None:
    outages = Disconnects()
    outages.cut(0, 0)
    outages.connected(0, 5 * MS)
    outages.cut(0, 6 * MS)
    outages.connected(0, 9 * MS)
    storm = outages.absences({}, 100 * MS).figures()
    assert (storm.drops, storm.time_to_reconnect.max) == (1, 9.0)


def test_only_the_first_message_after_the_return_is_timed() -> None:
    outages = stormed()
    outages.fed(0, 50 * MS)
    assert outages.absences({}, 100 * MS).figures().time_to_first_event.max == 7.0


def test_a_message_before_the_return_feeds_nobody() -> None:
    outages = Disconnects()
    outages.cut(0, 0)
    outages.fed(0, 1 * MS)
    assert outages.absences({}, 100 * MS).figures().time_to_first_event.count == 0


RECOVERIES = {
    "one without holes is full": ({}, False, (1, 0, 0)),
    "a hole nobody told of is silent": ({0: 5 * MS}, False, (0, 0, 1)),
    "a hole that was announced is not silent": ({0: 5 * MS}, True, (0, 1, 0)),
    "a hole after the honest word is silent": ({0: 16 * MS}, True, (0, 0, 1)),
}


@pytest.mark.parametrize(("holes", "reloaded", "counts"), RECOVERIES.values(), ids=RECOVERIES)
def test_a_recovery_is_full_reloaded_or_a_silent_hole(
    holes: dict[int, int], reloaded: bool, counts: tuple[int, int, int]
) -> None:
    outages = stormed()
    outages.all[0].reloaded = reloaded
    recovery = outages.absences(holes, 100 * MS).figures().recovery
    assert (recovery.full, recovery.reloaded, recovery.silent_hole) == counts


def test_a_hole_of_one_who_never_dropped_is_no_recovery_at_all() -> None:
    assert stormed().absences({7: 5 * MS}, 100 * MS).figures().recovery.silent_hole == 0


def test_the_first_message_is_timed_also_after_catching_up() -> None:
    outages = Disconnects()
    outages.cut(0, 0)
    outages.connected(0, 5 * MS)
    outages.caught_up(0, 6 * MS)
    outages.fed(0, 9 * MS)
    assert outages.absences({}, 100 * MS).figures().time_to_first_event.max == 9.0


def test_every_absence_ends_in_exactly_one_class() -> None:
    outages = stormed()
    outages.cut(0, 30 * MS)  # a second one of client 0: full, or the hole
    outages.connected(0, 31 * MS)
    outages.caught_up(0, 32 * MS)
    outages.cut(1, 30 * MS)  # never back
    outages.cut(2, 30 * MS).reloaded = True
    outages.connected(2, 31 * MS)
    outages.caught_up(2, 33 * MS)
    storm = outages.absences({0: 29 * MS}, 100 * MS).figures()
    ended = (storm.recovery.full, storm.recovery.reloaded, storm.recovery.silent_hole, storm.censored)
    assert (storm.drops, ended) == (4, (1, 1, 1, 1))


def test_absences_of_several_processes_add_up() -> None:
    both, one = stormed().absences({}, 100 * MS), stormed().absences({0: 5 * MS}, 100 * MS)
    both.add(one)
    storm = both.figures()
    assert (storm.drops, storm.time_to_reconnect.count, storm.recovery.silent_hole) == (2, 2, 1)
