"""Seconds: deliveries and latencies fall where they belong."""

import numpy as np

from simulator.ledger.ledger import Account, Samples
from simulator.ledger.outcomes import OutcomeCounts
from simulator.ledger.timeline import SecondCounts, seconds, seconds_between
from simulator.result import FaultMark

NS = 1_000_000_000


def account(at_s: list[float], latency_ms: list[int]) -> Account:
    at_ns = np.array([round(at * NS) for at in at_s], dtype=np.int64)
    samples = {"snapshot": Samples(at_ns, np.array(latency_ms, dtype=np.int64) * 1000)}
    return Account(OutcomeCounts(), {}, samples, np.empty(0, dtype=np.int64), at_ns, [], 0, {})


def pace(at_s: list[float], latency_ms: list[int], count: int = 3) -> SecondCounts:
    return SecondCounts.of(account(at_s, latency_ms), 0, count)


def rows(of: SecondCounts) -> list[tuple[int, int, float, float]]:
    found = seconds(0, of, [], [], [])
    return [(row.t_s, row.delivered, row.p50_ms, row.p99_ms) for row in found]


def test_receipts_fall_into_their_second() -> None:
    assert rows(pace([0.1, 0.9, 1.0], [1, 3, 7])) == [
        (0, 2, 1.0, 3.001),
        (1, 1, 7.003, 7.003),
        (2, 0, 0.0, 0.0),
    ]


def test_what_came_before_or_after_is_left_out() -> None:
    assert [delivered for _, delivered, _, _ in rows(pace([-0.5, 3.5], [1, 1]))] == [0, 0, 0]


def test_presence_is_carried_on_until_the_next_sample() -> None:
    presence = [(0, 10, 0), (2 * NS, 7, 3)]
    found = seconds(0, pace([], []), [], presence, [])
    assert [(row.connected, row.reconnecting) for row in found] == [(10, 0), (10, 0), (7, 3)]


def test_publishes_are_counted_by_when_they_were_sent() -> None:
    found = seconds(0, pace([], [], 2), [1, NS, NS + 1], [], [])
    assert [row.published for row in found] == [1, 2]


def test_faults_mark_the_seconds_they_touch() -> None:
    marks = [FaultMark(at_s=0.5, until_s=1.5, kind="drop")]
    found = seconds(0, pace([], []), [], [], marks)
    assert [row.faults for row in found] == [["drop"], ["drop"], []]


def test_a_run_without_load_has_no_seconds() -> None:
    assert seconds(NS, pace([], [], seconds_between(NS, 0)), [], [], []) == []


def test_the_seconds_of_two_processes_add_up_to_those_of_one() -> None:
    one, other = pace([0.1, 0.9], [1, 3]), pace([0.5, 1.0], [3, 7])
    one.add(other)
    whole = pace([0.1, 0.9, 0.5, 1.0], [1, 3, 3, 7])
    assert rows(one) == rows(whole) == [(0, 3, 3.001, 3.001), (1, 1, 7.003, 7.003), (2, 0, 0.0, 0.0)]
