"""How long to wait before trying again: exponential, bounded, spread by jitter. Pure.

Used by whatever restarts processes: the supervisor of workers and the stack.
"""

import random


class Backoff:
    """Waits that double from `first_s` to `longest_s`, each shortened by up to `jitter` (a share, 0..1)."""

    def __init__(
        self, rng: random.Random, *, first_s: float = 0.1, longest_s: float = 10.0, jitter: float = 0.5
    ) -> None:
        self._rng = rng
        self._first_s = first_s
        self._longest_s = longest_s
        self._jitter = jitter
        self._failures = 0

    @property
    def failures(self) -> int:
        """Failures in a row."""
        return self._failures

    def next_s(self) -> float:
        """Count a failure; the seconds to wait before the next try."""
        # The exponent is bounded so that a process that fails for weeks does not overflow the float.
        wait_s = min(self._longest_s, self._first_s * 2.0 ** min(self._failures, 64))
        self._failures += 1
        return wait_s * (1 - self._jitter * self._rng.random())

    def reset(self) -> None:
        """It works again: the next failure starts over."""
        self._failures = 0
