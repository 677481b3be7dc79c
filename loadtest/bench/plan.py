"""What a run measures, and how often. Pure."""

from dataclasses import dataclass, field

HEADLINE_SIZE = 1_000
METRICS = ("fanout", "burst", "connect", "idle", "bus")
CONTESTANTS = ("ours", "stock", "node", "floor", "bare")
DELIVERIES = 120_000
"""About this many deliveries make one figure, at each size."""


@dataclass(frozen=True, slots=True)
class Plan:
    """repetitions: alternations of all contestants. sizes: sockets per fan-out. burst_sizes: those of
    them that get a burst of `burst_events` too. connects: measured connections, when `connect_after` sockets
    are there already (they warm the server up, too). idle_sockets: (few, many). bus_notifications: sent by
    each other node of `bus_nodes`.
    """

    name: str
    repetitions: int
    sizes: tuple[int, ...]
    burst_sizes: tuple[int, ...]
    burst_events: int = 200
    connects: int = 1_000
    connect_after: tuple[int, ...] = (4_000,)
    connects_at_once: int = 50
    idle_sockets: tuple[int, int] = (1_000, 5_000)
    bus_nodes: tuple[int, ...] = (2, 4, 8)
    bus_notifications: int = 1_000
    idle_ping_interval_s: float = 2.0
    stock_burst_sizes: tuple[int, ...] = ()
    """Bursts of the contestant that needs most of the time for them."""
    only: frozenset[str] = field(default=frozenset(METRICS))
    contestants: tuple[str, ...] = CONTESTANTS

    def takes_part(self, contestant: str, metric: str) -> bool:
        """Is this contestant measured by `name@size`?"""
        name, _, size = metric.partition("@")
        if contestant == "bare":
            return name in ("fanout", "burst")
        if name == "bus":
            return contestant in ("ours", "stock")
        if contestant == "stock" and name == "burst":
            return int(size) in self.stock_burst_sizes
        return True

    @property
    def largest_crowd(self) -> int:
        """Sockets in the largest trial."""
        return max(*self.sizes, *self.idle_sockets, *(after + self.connects for after in self.connect_after))

    def events_for(self, size: int) -> int:
        """Fan-outs that make one figure at this size."""
        return max(10, DELIVERIES // size)


QUICK = Plan(
    "quick",
    repetitions=5,
    sizes=(1_000,),
    burst_sizes=(1_000,),
    connect_after=(2_000,),
    idle_sockets=(500, 2_500),
    bus_nodes=(2, 8),
)
FULL = Plan(
    "full",
    repetitions=7,
    sizes=(200, 1_000, 5_000),
    burst_sizes=(200, 1_000, 5_000),
    connect_after=(500, 4_000),
    stock_burst_sizes=(1_000,),
)
