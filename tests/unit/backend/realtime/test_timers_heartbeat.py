"""Heartbeats of fake sessions: who is pinged when, and who is let go."""

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.app.realtime.timers import Heartbeat
from tests.support.virtual_loop import VirtualLoop

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


@pytest.fixture
def loop() -> Iterator[VirtualLoop]:
    with VirtualLoop() as made:
        yield made


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
