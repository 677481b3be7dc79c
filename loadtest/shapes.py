"""How many users when: the shapes of a load test as functions of time. Pure.

Every curve takes the elapsed share of the run (0 to 1) and answers with the share of the users that should
be there.
"""

from collections.abc import Callable, Mapping

Curve = Callable[[float], float]

RAMP_STEPS = 10
BASE_SHARE = 0.2
STORM_LOW_SHARE = 0.1
SOAK_RAMP_SHARE = 0.05


def ramp(share: float) -> float:
    """Ten equal steps up: where does it begin to hurt?"""
    return min(1.0, (int(share * RAMP_STEPS) + 1) / RAMP_STEPS)


def spike(share: float) -> float:
    """A fifth of the users, in the middle third all of them at once: does it come back to normal?"""
    return 1.0 if 1 / 3 <= share < 2 / 3 else BASE_SHARE


def storm(share: float) -> float:
    """All users, but twice nearly all leave and come back together: how long until everybody is served?"""
    return STORM_LOW_SHARE if 0.3 <= share < 0.4 or 0.6 <= share < 0.7 else 1.0


def soak(share: float) -> float:
    """Up within a twentieth of the run, then steady: does anything grow that should not?"""
    return min(1.0, max(share / SOAK_RAMP_SHARE, 0.05))


CURVES: Mapping[str, Curve] = {"ramp": ramp, "spike": spike, "storm": storm, "soak": soak}


def users_at(curve: Curve, elapsed_s: float, duration_s: float, users: int) -> int | None:
    """How many users there should be; None when the run is over."""
    if elapsed_s >= duration_s:
        return None
    return max(1, round(curve(elapsed_s / duration_s) * users))
