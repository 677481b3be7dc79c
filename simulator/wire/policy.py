"""When a client that lost its connection, or never got one, tries again. Pure; called by `LeanClient`."""

import random
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ReconnectPolicy:
    """How a client comes back.

    delay_s: before the first retry, doubled with each further one. delay_max_s: upper bound, applied after
    the jitter as the JavaScript client does, so a client that is capped waits exactly delay_max_s.
    jitter: 0..1, share of the delay added or taken at random. attempts: retries in a row before giving up,
    None for ever. retry_refused: also after CONNECT_ERROR; retry_kicked: also after a DISCONNECT packet of
    the server. The JavaScript client does neither.
    """

    enabled: bool = True
    delay_s: float = 1.0
    delay_max_s: float = 5.0
    jitter: float = 0.5
    attempts: int | None = None
    retry_refused: bool = False
    retry_kicked: bool = False

    def __post_init__(self) -> None:
        if self.delay_s < 0 or self.delay_max_s < self.delay_s:
            raise ValueError("reconnect delays must satisfy 0 <= delay_s <= delay_max_s")
        if not 0 <= self.jitter <= 1:
            raise ValueError("reconnect jitter must be from 0 to 1")
        if self.attempts is not None and self.attempts < 0:
            raise ValueError("reconnect attempts must not be negative")

    @classmethod
    def default(cls) -> "ReconnectPolicy":
        """What socket.io-client does unless told otherwise: 1 s, doubled up to 5 s, jitter 0.5, for ever."""
        return cls()

    @classmethod
    def tuned(cls) -> "ReconnectPolicy":
        """What a large service should ask of its clients: 1.5 s, up to 30 s, jitter 0.9."""
        return cls(delay_s=1.5, delay_max_s=30.0, jitter=0.9)

    @classmethod
    def none(cls) -> "ReconnectPolicy":
        """Never come back by itself."""
        return cls(enabled=False)

    @classmethod
    def immediate(cls) -> "ReconnectPolicy":
        """No back-off: a tenth of a second after each failure, all at the same time; what clients do that
        were never told better."""
        return cls(delay_s=0.1, delay_max_s=0.1, jitter=0.0)

    def delay_for(self, attempt: int, rng: random.Random) -> float | None:
        """Seconds to wait before retry number `attempt` (0 is the first); None: give up."""
        if not self.enabled or (self.attempts is not None and attempt >= self.attempts):
            return None
        base_s = self.delay_s * 2.0 ** min(attempt, 32)
        return min(self.delay_max_s, base_s * (1.0 + self.jitter * rng.uniform(-1.0, 1.0)))

    def delay_after_hint(self, hint_s: float, rng: random.Random) -> float:
        """Seconds to wait when the server said `Retry-After: hint_s`: never less, spread by the jitter."""
        spread_s = self.jitter * max(hint_s, self.delay_s)
        return hint_s + spread_s * rng.random()
