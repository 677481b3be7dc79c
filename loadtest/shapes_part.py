"""Locust's load shapes from our curves. Abstract here; `locustfile` makes the chosen one concrete."""

from locust import LoadTestShape

from .shapes import CURVES, users_at

DEFAULT_USERS = 100
DEFAULT_DURATION_S = 60.0


def shape_class(name: str) -> type[LoadTestShape]:
    """The shape of this name; follows --users, --spawn-rate and --run-time. Raises KeyError."""
    curve = CURVES[name]

    class Shape(LoadTestShape):
        use_common_options = True
        abstract = False

        def tick(self) -> tuple[int, float] | None:
            """How many users there should be now; None: the run is over."""
            options = self.runner.environment.parsed_options if self.runner is not None else None
            wanted = getattr(options, "num_users", None) or DEFAULT_USERS
            duration_s = float(getattr(options, "run_time", None) or DEFAULT_DURATION_S)
            users = users_at(curve, float(self.get_run_time()), duration_s, wanted)  # type: ignore[no-untyped-call]
            rate = float(getattr(options, "spawn_rate", None) or max(1.0, wanted / 10))
            return None if users is None else (users, rate)

    Shape.__name__ = Shape.__qualname__ = f"{name.capitalize()}Shape"
    return Shape
