"""How late the harness's own loop was, and when that counts."""

import asyncio
import contextlib
import time

from simulator.host import LoopLag
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
