"""Limits of one socket: never more than the burst and the rate allow, never less; when abuse is enough."""

from hypothesis import given
from hypothesis import strategies as st

from backend.app.realtime.rate_limit import AbuseCount, Inflow, InflowLimits, TokenBucket

rates = st.floats(0.1, 1_000)
bursts = st.integers(1, 200)
gaps_s = st.lists(st.floats(0, 5), max_size=200)


@given(rates, bursts, gaps_s)
def test_no_window_lets_more_through_than_burst_and_rate(rate: float, burst: int, gaps: list[float]) -> None:
    bucket, now_s, taken = TokenBucket(rate, burst, 0.0), 0.0, 0
    for gap in gaps:
        now_s += gap
        taken += bucket.take(now_s)
    assert taken <= burst + now_s * rate + 1e-6


@given(rates, bursts)
def test_the_whole_burst_is_there_at_once(rate: float, burst: int) -> None:
    bucket = TokenBucket(rate, burst, 0.0)
    assert [bucket.take(0.0) for _ in range(burst + 1)] == [True] * burst + [False]


@given(rates, bursts)
def test_a_patient_socket_is_never_refused(rate: float, burst: int) -> None:
    bucket = TokenBucket(rate, burst, 0.0)
    assert all(bucket.take(number * 1.001 / rate) for number in range(1, 100))


@given(rates, bursts, st.floats(1, 1e6))
def test_waiting_saves_up_no_more_than_a_burst(rate: float, burst: int, wait_s: float) -> None:
    bucket = TokenBucket(rate, burst, 0.0)
    assert sum(bucket.take(wait_s) for _ in range(burst + 5)) == burst


def test_a_refusal_costs_nothing() -> None:
    bucket = TokenBucket(1.0, 1, 0.0)
    bucket.take(0.0)
    for _ in range(1_000):
        bucket.take(0.5)
    assert bucket.take(1.001)


def test_the_limit_within_the_window_earns_the_abort() -> None:
    abuse = AbuseCount(3)
    assert [abuse.add(0.0), abuse.add(5.0), abuse.add(9.9)] == [False, False, True]


def test_refusals_far_apart_are_forgiven() -> None:
    abuse = AbuseCount(2)
    assert not any(abuse.add(number * (AbuseCount.WINDOW_S + 0.1)) for number in range(50))


def test_it_stays_enough_once_it_is() -> None:
    abuse = AbuseCount(1)
    assert abuse.add(0.0)
    assert abuse.add(0.1)


LIMITS = InflowLimits(frames_per_s=10.0, frames_burst=20, bytes_per_s=1_000.0, bytes_burst=5_000, offences=2)


def test_a_burst_of_frames_is_taken() -> None:
    assert Inflow(LIMITS, 0.0).take(20, 100, LIMITS, 0.0) is None


def test_too_many_frames_are_told() -> None:
    assert Inflow(LIMITS, 0.0).take(21, 100, LIMITS, 0.0) == "frames"


def test_too_many_bytes_are_told() -> None:
    assert Inflow(LIMITS, 0.0).take(1, 5_001, LIMITS, 0.0) == "bytes"


def test_what_is_owed_is_paid_by_waiting() -> None:
    inflow = Inflow(LIMITS, 0.0)
    inflow.take(30, 100, LIMITS, 0.0)
    assert inflow.debt_s(LIMITS) == 1.0


def test_after_the_debt_is_paid_more_may_come() -> None:
    inflow = Inflow(LIMITS, 0.0)
    inflow.take(30, 100, LIMITS, 0.0)
    assert inflow.take(1, 1, LIMITS, 1.2) is None


def test_repeated_excess_earns_the_end() -> None:
    inflow = Inflow(LIMITS, 0.0)
    assert [inflow.offend(LIMITS, 0.0), inflow.offend(LIMITS, 1.0)] == [False, True]


@given(st.lists(st.tuples(st.floats(0, 5), st.integers(0, 50), st.integers(0, 9_000)), max_size=30))
def test_nobody_gets_more_than_burst_and_rate(steps: list[tuple[float, int, int]]) -> None:
    """What is let through without a word, up to any moment, is never more than the limits allow."""
    inflow, now_s, frames, size_bytes = Inflow(LIMITS, 0.0), 0.0, 0, 0
    for pause_s, more_frames, more_bytes in steps:
        now_s += pause_s
        frames, size_bytes = frames + more_frames, size_bytes + more_bytes
        if inflow.take(more_frames, more_bytes, LIMITS, now_s) is None:
            assert frames <= LIMITS.frames_burst + now_s * LIMITS.frames_per_s + 1e-6
            assert size_bytes <= LIMITS.bytes_burst + now_s * LIMITS.bytes_per_s + 1e-6
