"""Receipts find their stamp, whichever of the two comes first."""

import json

from hypothesis import given
from hypothesis import strategies as st

from loadtest import latency
from loadtest.latency import StampBook, notification_key, version_key

NAME = "new_notification"
KEY = notification_key("v1")


def live_bytes(claim_id: str = "c1", version: int = 1) -> bytes:
    return json.dumps({"v": 1, "claim_id": claim_id, "count": version, "version": version}).encode()


def test_a_receipt_after_its_stamp_is_a_latency() -> None:
    book = StampBook()
    book.publish([(KEY, 100)])
    book.row(NAME, KEY).receive(130)
    assert book.take_latencies_ns() == {NAME: [30]}


def test_a_receipt_before_its_stamp_waits_for_it() -> None:
    book = StampBook()
    book.row(NAME, KEY).receive(130)
    assert book.take_latencies_ns() == {}
    book.learn([(KEY, 100)])
    assert book.take_latencies_ns() == {NAME: [30]}


def test_latencies_are_taken_once() -> None:
    book = StampBook()
    book.publish([(KEY, 100)])
    book.row(NAME, KEY).receive(130)
    book.take_latencies_ns()
    book.row(NAME, KEY).receive(150)
    assert book.take_latencies_ns() == {NAME: [50]}


def test_only_what_was_published_here_is_told_to_others() -> None:
    book = StampBook()
    book.learn([("n:elsewhere", 1)])
    book.publish([(KEY, 100)])
    assert book.take_fresh() == [(KEY, 100)]
    assert book.take_fresh() == []


def test_the_first_stamp_of_a_key_counts() -> None:
    book = StampBook()
    book.publish([(KEY, 100)])
    book.learn([(KEY, 120)])
    book.row(NAME, KEY).receive(130)
    assert book.take_latencies_ns() == {NAME: [30]}


def test_a_receipt_that_never_got_a_stamp_is_counted_without_a_latency() -> None:
    book = StampBook()
    book.row(NAME, KEY).receive(130)
    book.give_up()
    assert book.take_unstamped() == {NAME: 1}
    assert book.take_latencies_ns() == {}


def test_equal_bytes_are_taken_apart_once() -> None:
    book = StampBook()
    first = book.live("validation_count_update", live_bytes())
    assert book.live("validation_count_update", live_bytes()) is first


def test_a_live_event_is_measured_by_claim_and_version() -> None:
    book = StampBook()
    book.publish([(version_key("c1", 2), 100)])
    book.live("validation_count_update", live_bytes(version=2)).row.receive(107)
    assert book.take_latencies_ns() == {"validation_count_update": [7]}


def test_the_newest_version_of_each_claim_is_known() -> None:
    book = StampBook()
    book.publish([(version_key("c1", 9), 5), (version_key("c1", 10), 6), (version_key("c1", 8), 7)])
    assert book.newest_versions == {"c1": ("10", 6)}


def test_old_rows_are_forgotten_and_counted(monkeypatch) -> None:
    monkeypatch.setattr(latency, "MAX_ROWS", 2)
    book = StampBook()
    for number in range(3):
        book.live("validation_count_update", live_bytes(version=number)).row.receive(1)
    assert book.take_unstamped() == {"validation_count_update": 1}
    assert book.live("validation_count_update", live_bytes(version=0)).row.waiting_ns == []


@given(st.permutations([("stamp", n) for n in range(5)] + [("receive", n) for n in range(5)]))
def test_every_receipt_is_measured_in_any_order(steps) -> None:
    book = StampBook()
    for what, number in steps:
        key = version_key("c", number)
        if what == "stamp":
            book.learn([(key, 1_000 * number + 1)])
        else:
            book.row("x", key).receive(1_000 * number + 1 + number)
    assert sorted(book.take_latencies_ns()["x"]) == [0, 1, 2, 3, 4]
