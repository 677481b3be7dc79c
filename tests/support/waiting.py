"""Waiting for a condition until a deadline, instead of sleeping and hoping."""

import asyncio
import time
from collections.abc import Awaitable, Callable

DEADLINE_S = 20.0
POLL_S = 0.005


async def until(condition: Callable[[], object], what: str = "", timeout_s: float = DEADLINE_S) -> None:
    """Return as soon as the condition holds; fails at the deadline."""
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline_s, f"did not come about in time: {what or condition}"
        await asyncio.sleep(POLL_S)


async def until_async(
    condition: Callable[[], Awaitable[object]], what: str = "", timeout_s: float = DEADLINE_S
) -> None:
    """As `until`, for a condition that has to be asked for."""
    deadline_s = time.monotonic() + timeout_s
    while not await condition():
        assert time.monotonic() < deadline_s, f"did not come about in time: {what or condition}"
        await asyncio.sleep(POLL_S * 4)


def wait_until(condition: Callable[[], object], what: str = "", timeout_s: float = DEADLINE_S) -> None:
    """As `until`, for tests that block."""
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline_s, f"did not come about in time: {what or condition}"
        time.sleep(POLL_S * 4)
