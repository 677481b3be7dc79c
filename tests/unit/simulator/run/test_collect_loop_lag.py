"""How late the harness's own loop was, and when that counts."""

import asyncio
import contextlib
import time

import pytest

from simulator.host import LoopLag, latenesses_us
from simulator.verdict import Honesty, judge
from tests.support.simulator.findings import findings
from tests.support.waiting import until

HOUR_NS = 3_600 * 1_000_000_000


async def probed(since_ns: int, until_ns: int) -> LoopLag:
    """A loop that woke up late at least once."""
    lag = LoopLag()
    probing = asyncio.ensure_future(lag.run(since_ns, until_ns))
    await until(lambda: lag.take_worst_ms() > 0, timeout_s=30)
    probing.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await probing
    return lag


async def test_what_was_late_during_the_load_counts() -> None:
    now_ns = time.monotonic_ns()
    assert (await probed(now_ns, now_ns + HOUR_NS)).histogram.count > 0


async def test_the_quiet_before_the_load_does_not_dilute_it() -> None:
    now_ns = time.monotonic_ns()
    assert (await probed(now_ns + HOUR_NS, now_ns + 2 * HOUR_NS)).histogram.count == 0


async def test_the_quiet_after_the_load_does_not_dilute_it() -> None:
    now_ns = time.monotonic_ns()
    assert (await probed(now_ns - 2 * HOUR_NS, now_ns - HOUR_NS)).histogram.count == 0


def lag_of(*lates_ms: float) -> LoopLag:
    """A loop that woke up so late, one probe after the other."""
    lag = LoopLag()
    for late_ms in lates_ms:
        lag.woke(0, round(late_ms * 1_000_000))
    return lag


def test_a_loop_that_stands_still_a_fifth_of_the_time_is_late_a_fifth_of_the_time() -> None:
    """Frozen for 1 s in every 5 s: what was due meanwhile was late as well, though nobody woke to probe."""
    latency = lag_of(*([0.5] * 400 + [1_000.0]) * 12).histogram.latency()
    assert latency.p90 > 400
    assert latency.p99 > 900


def test_a_loop_that_is_always_a_little_late_is_probed_as_often_as_it_wakes() -> None:
    assert lag_of(*[4.0] * 100).histogram.count == 100


def test_a_probe_that_was_not_late_is_one_probe() -> None:
    assert latenesses_us(0, 10) == [0]


def test_each_probe_that_was_due_meanwhile_was_late_by_the_rest() -> None:
    assert latenesses_us(35, 10) == [35, 25, 15, 5]


@pytest.mark.parametrize("frozen_s", [0.2, 1.0, 3.0])
def test_a_generator_that_stands_still_a_fifth_of_the_time_is_not_believed(frozen_s: float) -> None:
    quiet = [0.5] * round(400 * frozen_s)
    latency = lag_of(*[*quiet, frozen_s * 1_000] * 12).histogram.latency()
    found = findings(generator__loop_lag_ms=latency.model_dump())
    assert judge(found, {}, Honesty()).verdict == "INVALID"


def test_a_hiccup_of_a_fifth_of_a_second_every_ten_seconds_is_believed() -> None:
    latency = lag_of(*[*[2.0] * 980, 200.0] * 3).histogram.latency()
    found = findings(generator__loop_lag_ms=latency.model_dump())
    assert judge(found, {}, Honesty()).verdict == "PASS"
