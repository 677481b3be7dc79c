"""Deadlines: called when due, never when cancelled. Heartbeats: who is pinged when, and who is let go."""

import gc
import weakref

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.app.realtime.timers import Deadline, Deadlines, Heartbeat
from tests.support.virtual_loop import VirtualLoop


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


# ---------------------------------------------------------------- heartbeats


INTERVAL_S, TIMEOUT_S = 10.0, 4.0


class FakeSession:
    def __init__(self) -> None:
        self.ping_sent_at: float | None = None
        self.closed = False
        self.pings = 0
        self.ended = 0
        self.failing = False

    def send_ping(self) -> None:
        self.pings += 1

    async def ping_timed_out(self) -> None:
        if self.failing:
            raise RuntimeError("cannot be ended")
        self.ended += 1
        self.closed = True

    def answer(self, heartbeat: Heartbeat, now_s: float) -> None:
        self.ping_sent_at = None
        heartbeat.schedule(self, now_s)


@pytest.fixture
def heartbeat() -> Heartbeat:
    return Heartbeat(INTERVAL_S, TIMEOUT_S)


@pytest.fixture
def session(heartbeat: Heartbeat) -> FakeSession:
    made = FakeSession()
    heartbeat.schedule(made, 0.0)
    return made


def test_no_ping_before_the_interval_is_over(heartbeat: Heartbeat, session: FakeSession) -> None:
    heartbeat.ping_due(INTERVAL_S - 0.001)
    assert session.pings == 0


def test_a_ping_when_the_interval_is_over(heartbeat: Heartbeat, session: FakeSession) -> None:
    heartbeat.ping_due(INTERVAL_S)
    assert session.pings == 1


def test_no_second_ping_before_the_answer(heartbeat: Heartbeat, session: FakeSession) -> None:
    heartbeat.ping_due(INTERVAL_S)
    heartbeat.ping_due(INTERVAL_S * 5)
    assert session.pings == 1


def test_the_next_ping_comes_an_interval_after_the_answer(heartbeat: Heartbeat, session: FakeSession) -> None:
    heartbeat.ping_due(INTERVAL_S)
    session.answer(heartbeat, INTERVAL_S + 1)
    heartbeat.ping_due(2 * INTERVAL_S + 0.999)
    before = session.pings
    heartbeat.ping_due(2 * INTERVAL_S + 1)
    assert (before, session.pings) == (1, 2)


def test_silence_until_the_timeout_is_forgiven(heartbeat: Heartbeat, session: FakeSession) -> None:
    heartbeat.ping_due(INTERVAL_S)
    assert heartbeat.overdue(INTERVAL_S + TIMEOUT_S - 0.001) == []


def test_silence_beyond_the_timeout_is_not(heartbeat: Heartbeat, session: FakeSession) -> None:
    heartbeat.ping_due(INTERVAL_S)
    assert heartbeat.overdue(INTERVAL_S + TIMEOUT_S) == [session]


def test_an_answered_ping_is_never_overdue(heartbeat: Heartbeat, session: FakeSession) -> None:
    heartbeat.ping_due(INTERVAL_S)
    session.answer(heartbeat, INTERVAL_S + 1)
    assert heartbeat.overdue(INTERVAL_S + TIMEOUT_S + 1) == []


def test_a_closed_session_is_neither_pinged_nor_kept(heartbeat: Heartbeat, session: FakeSession) -> None:
    session.closed = True
    heartbeat.ping_due(INTERVAL_S)
    assert (session.pings, len(heartbeat)) == (0, 0)


@given(st.lists(st.tuples(st.booleans(), st.floats(0, TIMEOUT_S * 0.9)), max_size=60))
def test_whoever_answers_in_time_stays_and_nobody_else(answers: list[tuple[bool, float]]) -> None:
    heartbeat, session, now_s = Heartbeat(INTERVAL_S, TIMEOUT_S), FakeSession(), 0.0
    heartbeat.schedule(session, now_s)
    for answers_this_one, delay_s in answers:
        now_s += INTERVAL_S
        heartbeat.ping_due(now_s)
        if not answers_this_one:
            assert heartbeat.overdue(now_s + TIMEOUT_S) == [session]
            return
        now_s += delay_s
        assert heartbeat.overdue(now_s) == []
        session.answer(heartbeat, now_s)
    assert heartbeat.overdue(now_s + TIMEOUT_S) == []


# ---------------------------------------------------------------- the loop


def test_the_loop_ends_silent_sessions(loop: VirtualLoop, heartbeat: Heartbeat) -> None:
    session = FakeSession()
    heartbeat.schedule(session, loop.time())
    loop.begin(heartbeat.run())
    loop.advance(INTERVAL_S + TIMEOUT_S + 1)
    assert (session.pings, session.ended) == (1, 1)


def test_a_session_that_cannot_be_ended_does_not_save_the_others(
    loop: VirtualLoop, heartbeat: Heartbeat, caplog: pytest.LogCaptureFixture
) -> None:
    sessions = [FakeSession() for _ in range(3)]
    sessions[0].failing = True
    for session in sessions:
        heartbeat.schedule(session, loop.time())
    loop.begin(heartbeat.run())
    loop.advance(INTERVAL_S + TIMEOUT_S + 1)
    assert [session.ended for session in sessions] == [0, 1, 1]
