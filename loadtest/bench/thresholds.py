"""What the figures are held against. Pure. Source: the project's targets for its real-time core."""

import statistics
from collections.abc import Callable
from dataclasses import dataclass

from .plan import HEADLINE_SIZE
from .samples import Series

LARGE_SIZE = 5_000
SCRAPE_INTERVAL_S = 15.0
NOTIFICATIONS_PER_NODE = 1_000


@dataclass(frozen=True, slots=True)
class Target:
    """What a figure is held against: a ceiling unless `at_least`. measure: None when it was not measured."""

    name: str
    title: str
    bound: float
    at_least: bool
    measure: Callable[[Series], float | None]

    def met(self, figure: float) -> bool:
        return figure >= self.bound if self.at_least else figure <= self.bound

    @property
    def wanted(self) -> str:
        return f"{'>=' if self.at_least else '<='} {self.bound:g}"


def _ratio(metric: str, over: str, under: str) -> Callable[[Series], float | None]:
    return lambda series: series.ratio(metric, over, under)


def _median(metric: str, contestant: str) -> Callable[[Series], float | None]:
    return lambda series: series.median(metric, contestant)


def _growth(name: str) -> Callable[[Series], float | None]:
    """Median of ours at the large size over the median at the headline size."""

    def measure(series: Series) -> float | None:
        more, fewer = (series.median(f"{name}@{size}", "ours") for size in (LARGE_SIZE, HEADLINE_SIZE))
        return more / fewer if more is not None and fewer else None

    return measure


def _idle_kib(series: Series) -> float | None:
    metric = headline_metrics(series)["idle_kib"]
    return series.median(metric, "ours")


def _bus_slope(series: Series) -> float | None:
    """CPU us of ours for each further notification of another node: between fewest and most nodes."""
    found = {size: series.median(f"bus@{size}", "ours") for size in sizes_of(series, "bus")}
    known = {nodes: ms for nodes, ms in found.items() if ms is not None}
    if len(known) < 2:
        return None
    few, many = min(known), max(known)
    return (known[many] - known[few]) * 1e3 / ((many - few) * NOTIFICATIONS_PER_NODE)


def _metrics_ratio(series: Series) -> float | None:
    """Median of the ratios of pairs."""
    on, off = (series.values(f"metrics_{which}@{HEADLINE_SIZE}", "ours") for which in ("on", "off"))
    if not on or len(on) != len(off):
        return None
    return statistics.median(a / b for a, b in zip(on, off, strict=True))


def _scrape_percent(series: Series) -> float | None:
    ms = series.median(f"scrape@{LARGE_SIZE}", "ours")
    return None if ms is None else ms / 1e3 / SCRAPE_INTERVAL_S * 100


def sizes_of(series: Series, name: str) -> list[int]:
    """The sizes at which something was measured, the smallest first."""
    found = (metric.partition("@") for metric in series.metrics())
    return sorted(int(size) for measured, _, size in found if measured == name)


def headline_metrics(series: Series) -> dict[str, str]:
    """Name in the result -> the series it is taken from."""
    idle = sizes_of(series, "idle_rss")
    return {
        "fanout": f"fanout@{HEADLINE_SIZE}",
        "burst": f"burst@{HEADLINE_SIZE}",
        "connect": f"connect@{HEADLINE_SIZE}",
        "idle_kib": f"idle_rss@{idle[-1] if idle else LARGE_SIZE}",
    }


_FANOUT, _BURST, _CONNECT = (f"{name}@{HEADLINE_SIZE}" for name in ("fanout", "burst", "connect"))
_PUSH, _CONNECTION = (f"generators_{name}@{HEADLINE_SIZE}" for name in ("cpu", "kib"))
TARGETS = (
    Target("fanout_stock_over_ours", "fan-out: stock / ours", 5, True, _ratio(_FANOUT, "stock", "ours")),
    Target("fanout_ours_over_node", "fan-out: ours / Node", 0.9, False, _ratio(_FANOUT, "ours", "node")),
    Target("fanout_ours_over_floor", "fan-out: ours / floor", 1.3, False, _ratio(_FANOUT, "ours", "floor")),
    Target("burst_ours_over_floor", "burst: ours / floor", 0.4, False, _ratio(_BURST, "ours", "floor")),
    Target("connect_ours_over_node", "connect: ours / Node", 1.0, False, _ratio(_CONNECT, "ours", "node")),
    Target("idle_kib", "idle socket: KiB of ours", 24, False, _idle_kib),
    Target("bus_us_per_foreign", "bus: us for one more foreign notification, ours", 1, False, _bus_slope),
    Target("fanout_growth", "fan-out: ours at 5,000 / at 1,000 sockets", 1.2, False, _growth("fanout")),
    Target("burst_growth", "burst: ours at 5,000 / at 1,000 sockets", 1.2, False, _growth("burst")),
    Target("connect_growth", "connect: ours at 5,000 / at 1,000 sockets", 1.2, False, _growth("connect")),
    Target("metrics_on_over_off", "fan-out: metrics on / off", 1.05, False, _metrics_ratio),
    Target("scrape_percent", "scrape each 15 s, 5,000 sockets: % of a core", 1, False, _scrape_percent),
    Target("ledger_cpu_us", "ours with ledger, us per message", 7, False, _median(_PUSH, "ledger")),
    Target("ledger_kib", "ours with ledger, KiB per connection", 20, False, _median(_CONNECTION, "ledger")),
    Target(
        "locust_own_over_ours",
        "Locust's SocketIOUser / our Locust user",
        5,
        True,
        _ratio(_PUSH, "locust_own", "locust_ours"),
    ),
)
