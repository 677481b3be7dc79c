"""What the figures are held against. Pure. Source: the project's targets for its real-time core."""

from collections.abc import Callable
from dataclasses import dataclass

from .plan import HEADLINE_SIZE, Plan
from .series import Series


@dataclass(frozen=True, slots=True)
class Target:
    """`measure` gives the figure, None when it was not measured; `bound` is a ceiling unless `at_least`."""

    name: str
    title: str
    measure: Callable[[Series], float | None]
    bound: float
    at_least: bool = False

    def met(self, figure: float) -> bool:
        return figure >= self.bound if self.at_least else figure <= self.bound

    @property
    def wanted(self) -> str:
        return f"{'>=' if self.at_least else '<='} {self.bound:g}"


def _ratio(metric: str, over: str, under: str) -> Callable[[Series], float | None]:
    return lambda series: series.ratio(metric, over, under)


def _growth(over: str, under: str) -> Callable[[Series], float | None]:
    def measure(series: Series) -> float | None:
        if over == under:
            return None
        more, fewer = series.median(over, "ours"), series.median(under, "ours")
        return more / fewer if more is not None and fewer else None

    return measure


def headline_metrics(plan: Plan) -> dict[str, str]:
    """Name in the result -> the series it is taken from."""
    return {
        "fanout": f"fanout@{HEADLINE_SIZE}",
        "burst": f"burst@{HEADLINE_SIZE}",
        "connect": f"connect@{max(plan.connect_after)}",
        "idle_kib": "idle_rss",
    }


def targets(plan: Plan) -> tuple[Target, ...]:
    """All targets; those that the plan does not measure give no figure."""
    at = headline_metrics(plan)
    fanout, burst, connect, idle = at["fanout"], at["burst"], at["connect"], at["idle_kib"]
    few, many, first = f"fanout@{HEADLINE_SIZE}", "fanout@5000", f"connect@{min(plan.connect_after)}"
    return (
        Target("fanout_stock_over_ours", "fan-out: stock / ours", _ratio(fanout, "stock", "ours"), 5, True),
        Target("fanout_ours_over_node", "fan-out: ours / Node", _ratio(fanout, "ours", "node"), 0.9),
        Target("fanout_ours_over_floor", "fan-out: ours / floor", _ratio(fanout, "ours", "floor"), 1.3),
        Target("burst_ours_over_floor", "burst: ours / floor", _ratio(burst, "ours", "floor"), 0.4),
        Target("connect_ours_over_node", "connect: ours / Node", _ratio(connect, "ours", "node"), 1.0),
        Target("idle_kib", "idle socket: KiB of ours", lambda series: series.median(idle, "ours"), 24),
        Target("fanout_growth", "fan-out: ours at 5,000 / at 1,000", _growth(many, few), 1.2),
        Target("connect_growth", "connect: ours, many there / few there", _growth(connect, first), 1.2),
    )
