"""Beats: every receipt is seen once, whatever is still missing is overdue once, and processes add up."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.ledger.broadcasts import Kind, Row
from simulator.ledger.durable import Cause
from simulator.ledger.ledger import Ledger
from simulator.ledger.live import BOUNDS_MS, STEP, LiveCounts, LiveTotals, Watch

MS = 1_000_000
LATE_NS = 5_000 * MS


def ledger_with(clients: int) -> Ledger:
    """Everybody is there, and in the room, since the first nanosecond."""
    ledger = Ledger(clients)
    room = ledger.rooms.room("live")
    for client in range(clients):
        ledger.rooms.connected(client, 1)
        ledger.rooms.enter(room, client, 1)
    return ledger


def publish(ledger: Ledger, position: int, at_ns: int, kind: Kind = Kind.EVENT) -> Row:
    rooms = ledger.rooms
    row = rooms.stream(kind.value, kind, (rooms.room("live"),)).row(position)
    row.published(at_ns, at_ns, at_ns, measured=True)
    return row


def latencies(*values_ms: float) -> LiveCounts:
    beat = LiveCounts()
    beat.received["event"] += len(values_ms)
    beat.record(np.array([round(value * MS) for value in values_ms], dtype=np.int64))
    return beat


def test_every_receipt_of_a_busy_second_is_seen() -> None:
    ledger = ledger_with(1)
    watch = Watch(ledger, LATE_NS)
    for position in range(1_000):
        publish(ledger, position, 10 * MS).receive(0, 11 * MS)
    assert watch.look(20 * MS).received["event"] == 1_000


def test_a_receipt_is_seen_once() -> None:
    ledger = ledger_with(2)
    watch, row = Watch(ledger, LATE_NS), publish(ledger, 0, 10 * MS)
    row.receive(0, 13 * MS)
    first = watch.look(20 * MS)
    row.receive(1, 25 * MS)
    second, third = watch.look(30 * MS), watch.look(40 * MS)
    assert [beat.received["event"] for beat in (first, second, third)] == [1, 1, 0]


def test_a_receipt_before_the_publishers_answer_is_seen_once_it_is_known_whose_it_is() -> None:
    ledger = ledger_with(1)
    watch = Watch(ledger, LATE_NS)
    row = ledger.rooms.stream("event", Kind.EVENT, (ledger.rooms.room("live"),)).row(0)
    row.receive(0, 12 * MS)
    before = watch.look(20 * MS)
    row.published(10 * MS, 10 * MS, 22 * MS, measured=True)
    assert (before.received["event"], watch.look(30 * MS).received["event"]) == (0, 1)


def test_kinds_are_told_apart() -> None:
    ledger = ledger_with(1)
    publish(ledger, 0, 1, Kind.EVENT).receive(0, 2 * MS)
    publish(ledger, 0, 1, Kind.SNAPSHOT).receive(0, 2 * MS)
    assert Watch(ledger, LATE_NS).look(3 * MS).received == {"event": 1, "snapshot": 1}


def test_what_does_not_come_in_time_is_overdue_once() -> None:
    ledger = ledger_with(3)
    watch, row = Watch(ledger, LATE_NS), publish(ledger, 0, 10 * MS)
    row.receive(0, 11 * MS)
    looks = [watch.look(now * MS).overdue for now in (100, 5_000, 5_011, 5_012, 9_000)]
    assert looks == [0, 0, 2, 0, 0]


def test_a_client_that_was_away_is_not_waited_for() -> None:
    ledger = ledger_with(2)
    watch = Watch(ledger, LATE_NS)
    publish(ledger, 0, 10 * MS)
    ledger.rooms.disconnected(1, 11 * MS)
    ledger.rooms.connected(1, 12 * MS)
    ledger.rooms.enter(ledger.rooms.room("live"), 1, 12 * MS)
    assert watch.look(6_000 * MS).overdue == 1


def test_a_member_of_a_room_that_remembers_is_not_waited_for_while_it_is_away() -> None:
    ledger = Ledger(1)
    room = ledger.rooms.room("kept", durable=True)
    ledger.rooms.connected(0, 1)
    ledger.rooms.enter(room, 0, 1)
    ledger.rooms.stream("kept", Kind.EVENT, (room,)).row(0).published(10, 10, 10, measured=True)
    ledger.rooms.disconnected(0, 20)
    assert Watch(ledger, LATE_NS).look(6_000 * MS).overdue == 0


def test_a_snapshot_that_was_overtaken_is_not_waited_for() -> None:
    ledger = ledger_with(1)
    watch = Watch(ledger, LATE_NS)
    rows = [publish(ledger, position, position + 1, Kind.SNAPSHOT) for position in range(3)]
    rows[0].receive(0, 10)
    rows[2].receive(0, 20)
    assert watch.look(6_000 * MS).overdue == 0


def test_buckets_count_up_to_and_with_their_bound() -> None:
    assert latencies(1, 1.5, 20_000).counts == [1, 1, *[0] * (len(BOUNDS_MS) - 2), 1]


@given(st.lists(st.floats(0.01, 60_000), min_size=1, max_size=200), st.sampled_from([50.0, 99.0]))
def test_percentiles_are_right_within_a_step(values_ms: list[float], percent: float) -> None:
    exact = float(np.percentile(values_ms, percent, method="inverted_cdf"))
    assert latencies(*values_ms).percentile_ms(percent) == pytest.approx(exact, rel=STEP - 1 + 1e-3)


@given(st.lists(st.floats(0.1, 1_000), max_size=30), st.lists(st.floats(0.1, 1_000), max_size=30))
def test_two_processes_add_up_to_one(left: list[float], right: list[float]) -> None:
    both, together = latencies(*left), latencies(*left, *right)
    both.add(latencies(*right))
    assert (both.counts, both.cells, both.received) == (together.counts, together.cells, together.received)


def test_a_beat_without_receipts_has_no_latency() -> None:
    assert LiveCounts().percentile_ms(99) == 0.0


def test_the_pulse_forgets_old_latencies_and_keeps_totals() -> None:
    pulse = LiveTotals()
    for value_ms in (900, 1, 1):
        pulse.add(latencies(value_ms))
    assert (pulse.total.received["event"], pulse.recent().percentile_ms(99) < 2) == (3, True)


def durable(ledger: Ledger, seq: int, at_ns: int, cause: str | None = "post:1") -> None:
    box = ledger.mailbox(0, "ann")
    if box.baseline is None:
        box.begin(0)
    box.push(seq, f"id{seq}", at_ns, 1, cause)


def test_a_durable_message_is_seen_once_with_the_latency_of_its_cause() -> None:
    ledger = ledger_with(1)
    ledger.causes["post:1"] = Cause(10 * MS, measured=True)
    durable(ledger, 1, 14 * MS)
    watch = Watch(ledger, LATE_NS)
    first, second = watch.look(20 * MS), watch.look(30 * MS)
    assert (first.received, first.counts[2], second.received) == ({"durable": 1}, 1, {})


def test_a_durable_message_waits_a_beat_for_its_cause() -> None:
    ledger = ledger_with(1)
    watch = Watch(ledger, LATE_NS)
    durable(ledger, 1, 14 * MS)
    first = watch.look(20 * MS)
    ledger.causes["post:1"] = Cause(10 * MS, measured=True)
    second = watch.look(30 * MS)
    assert (first.received, second.received, sum(second.counts)) == ({}, {"durable": 1}, 1)


def test_a_durable_message_without_a_cause_counts_and_has_no_latency() -> None:
    ledger = ledger_with(1)
    watch = Watch(ledger, LATE_NS)
    durable(ledger, 1, 14 * MS, cause=None)
    looks = [watch.look(now * MS) for now in (20, 30, 40)]
    assert [beat.received["durable"] for beat in looks] == [0, 1, 0]
    assert sum(sum(beat.counts) for beat in looks) == 0


def test_a_replay_counts_and_its_absence_is_no_latency() -> None:
    ledger = ledger_with(1)
    publish(ledger, 0, 10 * MS).receive_replayed(0, 3_000 * MS)
    beat = Watch(ledger, LATE_NS).look(4_000 * MS)
    assert (beat.received, sum(beat.counts)) == ({"event": 1}, 0)
