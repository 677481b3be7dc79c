"""Limits of one socket: never more than the burst and the rate allow, never less; when abuse is enough."""

from hypothesis import given
from hypothesis import strategies as st

from backend.app.realtime.limits import AbuseCount, TokenBucket

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
