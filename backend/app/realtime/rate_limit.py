"""How much one socket may ask for. Pure: the time is passed in."""

from dataclasses import dataclass
from typing import Literal


class TokenBucket:
    """`rate_per_s` sustained, `burst` at once."""

    __slots__ = ("_burst", "_rate_per_s", "_tokens", "_updated_s")

    def __init__(self, rate_per_s: float, burst: int, now_s: float) -> None:
        self._rate_per_s = rate_per_s
        self._burst = burst
        self._tokens = float(burst)
        self._updated_s = now_s

    def take(self, now_s: float) -> bool:
        """Take one token, or say no."""
        self._tokens = min(self._burst, self._tokens + (now_s - self._updated_s) * self._rate_per_s)
        self._updated_s = now_s
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


class AbuseCount:
    """Refusals in a window of ten seconds."""

    __slots__ = ("_count", "_limit", "_since_s")

    WINDOW_S = 10.0

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._count = 0
        self._since_s = 0.0

    def add(self, now_s: float) -> bool:
        """Count one refusal; True when the socket has earned its abort."""
        if now_s - self._since_s > self.WINDOW_S:
            self._since_s, self._count = now_s, 0
        self._count += 1
        return self._count >= self._limit


@dataclass(frozen=True, slots=True)
class InflowLimits:
    """What one connection may send; offences: excesses within ten seconds after which it is ended."""

    frames_per_s: float
    frames_burst: int
    bytes_per_s: float
    bytes_burst: int
    offences: int


class Inflow:
    """Two token buckets of one connection: frames and bytes. What came is spent, into debt if need be."""

    __slots__ = ("_abuse", "_bytes", "_frames", "_updated_s")

    def __init__(self, limits: InflowLimits, now_s: float) -> None:
        self._frames = float(limits.frames_burst)
        self._bytes = float(limits.bytes_burst)
        self._updated_s = now_s
        self._abuse: AbuseCount | None = None

    def take(
        self, frames: int, size_bytes: int, limits: InflowLimits, now_s: float
    ) -> Literal["frames", "bytes"] | None:
        """Spend what came; which of the two ran out, if one did."""
        passed_s = now_s - self._updated_s
        self._updated_s = now_s
        self._frames = min(limits.frames_burst, self._frames + passed_s * limits.frames_per_s) - frames
        self._bytes = min(limits.bytes_burst, self._bytes + passed_s * limits.bytes_per_s) - size_bytes
        if self._frames < 0:
            return "frames"
        return "bytes" if self._bytes < 0 else None

    def debt_s(self, limits: InflowLimits) -> float:
        """How long it takes until nothing is owed, seconds."""
        return max(0.0, -self._frames / limits.frames_per_s, -self._bytes / limits.bytes_per_s)

    def offend(self, limits: InflowLimits, now_s: float) -> bool:
        """Count one excess; True when the connection has earned its end."""
        if self._abuse is None:
            self._abuse = AbuseCount(limits.offences)
        return self._abuse.add(now_s)
