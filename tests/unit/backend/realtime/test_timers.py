"""Deadlines: called when due, never when cancelled, and nothing is held for longer than needed."""

import gc
import weakref

import pytest

from backend.app.realtime.timers import Deadline, Deadlines


class Something:
    def touch(self) -> None:
        """What a deadline would do."""


def test_nothing_happens_before_its_time() -> None:
    deadlines, called = Deadlines(), []
    deadlines.add(10.0, lambda: called.append("ten"))
    deadlines.due(9.999)
    assert called == []


def test_what_is_due_happens_in_order_of_time() -> None:
    deadlines, called = Deadlines(), []
    for at_s in (3.0, 1.0, 2.0):
        deadlines.add(at_s, lambda at_s=at_s: called.append(at_s))
    deadlines.due(2.5)
    assert called == [1.0, 2.0]


def test_equal_times_happen_in_order_of_adding() -> None:
    deadlines, called = Deadlines(), []
    for number in range(20):
        deadlines.add(1.0, lambda number=number: called.append(number))
    deadlines.due(1.0)
    assert called == list(range(20))


def test_a_deadline_happens_once() -> None:
    deadlines, called = Deadlines(), []
    deadlines.add(1.0, lambda: called.append(1))
    deadlines.due(1.0)
    deadlines.due(2.0)
    assert called == [1]


def test_a_failing_callback_does_not_stop_the_others(caplog: pytest.LogCaptureFixture) -> None:
    deadlines, called = Deadlines(), []
    deadlines.add(1.0, lambda: 1 / 0)
    deadlines.add(1.0, lambda: called.append("after"))
    deadlines.due(1.0)
    assert (called, len(caplog.records)) == (["after"], 1)


def test_a_callback_may_add_a_deadline_that_is_due() -> None:
    deadlines, called = Deadlines(), []
    deadlines.add(1.0, lambda: deadlines.add(1.0, lambda: called.append("second")) and None)
    deadlines.due(1.0)
    assert called == ["second"]


def test_a_cancelled_deadline_does_not_happen() -> None:
    deadlines, called = Deadlines(), []
    deadlines.add(1.0, lambda: called.append(1)).cancel()
    deadlines.due(2.0)
    assert called == []


def test_cancelling_what_happened_already_changes_nothing() -> None:
    deadlines = Deadlines()
    deadline = deadlines.add(1.0, lambda: None)
    deadlines.due(1.0)
    deadline.cancel()
    assert len(deadlines) == 0


def test_a_callback_may_cancel_its_neighbour() -> None:
    deadlines, called = Deadlines(), []
    neighbours: list[Deadline] = []
    deadlines.add(1.0, lambda: [neighbour.cancel() for neighbour in neighbours] and None)
    neighbours.append(deadlines.add(1.0, lambda: called.append("neighbour")))
    deadlines.due(1.0)
    assert called == []


def test_a_cancelled_deadline_lets_go_of_what_it_held() -> None:
    deadlines, held = Deadlines(), Something()
    deadline = deadlines.add(86_400.0, held.touch)
    alive = weakref.ref(held)
    del held
    deadline.cancel()
    gc.collect()
    assert alive() is None


def test_cancelled_deadlines_do_not_pile_up() -> None:
    deadlines = Deadlines()
    for _ in range(20_000):
        deadlines.add(86_400.0, lambda: None).cancel()
    assert len(deadlines) < 3_000


def test_sweeping_keeps_what_was_not_cancelled() -> None:
    deadlines, called = Deadlines(), []
    for number in range(20):
        deadlines.add(2.0, lambda number=number: called.append(number))
    for _ in range(5_000):
        deadlines.add(1.0, lambda: None).cancel()
    deadlines.due(2.0)
    assert called == list(range(20))


def test_what_was_cancelled_is_swept_out_when_the_live_ones_are_over() -> None:
    deadlines = Deadlines()
    many = Deadlines.SWEEP_AT + 1
    for _ in range(many):
        deadlines.add(1.0, lambda: None)
    for entry in [deadlines.add(3_600.0, lambda: None) for _ in range(many)]:
        entry.cancel()
    deadlines.due(2.0)
    assert len(deadlines) == 0
