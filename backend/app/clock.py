"""The real clock and the real ids. Built in the composition root and handed on; tests bring their own."""

import secrets
from collections.abc import Callable
from datetime import UTC, datetime

from .ports import Clock

_RANDOM_BITS = 80
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class SystemClock:
    """Wall-clock time of this machine, UTC."""

    def now(self) -> datetime:
        return datetime.now(UTC)


class SortableIds:
    """Ids of 32 hexadecimal characters: 48 bits of milliseconds, then 80 bits of random.

    Ids of one instance always ascend, also within a millisecond and when the clock is set back; ids of
    different nodes ascend as far as their clocks agree. Not a secret: never use one as a token.
    """

    def __init__(self, clock: Clock, random_bits: Callable[[int], int] = secrets.randbits) -> None:
        self._clock = clock
        self._random_bits = random_bits
        self._last = 0

    def new(self) -> str:
        elapsed = self._clock.now() - _EPOCH
        now_ms = (elapsed.days * 86_400 + elapsed.seconds) * 1000 + elapsed.microseconds // 1000
        if now_ms > self._last >> _RANDOM_BITS:
            # One bit stays free, so that counting on within the millisecond cannot run into the time.
            self._last = now_ms << _RANDOM_BITS | self._random_bits(_RANDOM_BITS - 1)
        else:
            self._last += 1 + self._random_bits(32)
        return f"{self._last:032x}"
