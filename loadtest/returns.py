"""The absence of one member: whether the end of the test cut it short, or the server failed to end it.

A Locust test stops its users wherever they are: there is no window after it in which they could come back, as
the simulator has one. Pure: times are monotonic nanoseconds handed in. Called by the members.
"""

from dataclasses import dataclass

PATIENCE_S = 5.0
"""As long as the simulator's own window (`phases.drain_s`): whoever tried for longer was not let in."""


@dataclass(slots=True)
class Return:
    """One member's way back. allowed_ns: from when on it tries; 0 while it is not away."""

    allowed_ns: int = 0

    def begin(self, now_ns: int, away_s: float) -> None:
        """Gone, for so long on purpose."""
        self.allowed_ns = now_ns + round(away_s * 1e9)

    def end(self) -> None:
        """Back."""
        self.allowed_ns = 0

    def cut_short(self, now_ns: int) -> bool:
        """Whether an absence that ends with the test says nothing: not, or hardly, allowed back yet."""
        return self.allowed_ns > 0 and now_ns < self.allowed_ns + round(PATIENCE_S * 1e9)
