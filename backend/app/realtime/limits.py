"""How much one socket may ask for. Pure: the time is passed in."""


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
