"""What more nodes bring: the largest passing load of each node count, and the law through them.

The searches are awaited one after the other; the fit is `scaling`. Refuses to fit what the harness limited,
not the server: such a count tells only a lower bound. Called by the command line.
"""

import math
from collections.abc import Awaitable, Callable, Sequence

from ..errors import ScenarioError
from ..knee import Part
from ..scaling import LEAST_COUNTS, fit
from .search import Capacity, Quantity

FindCapacity = Callable[[int], Awaitable[Capacity]]
"""The capacity of so many nodes. Raises ScenarioError, SetupError."""


class Law(Part):
    """The universal scalability law as fitted. peak_nodes, peak: null where no peak is in sight."""

    rate: float
    contention: float
    coherence: float
    worst_error: float
    tight: bool
    peak_nodes: float | None
    peak: float | None
    sentence: str


class Point(Part):
    """One node count. exact: the server was the limit, so the load is its capacity and no lower bound."""

    nodes: int
    capacity: Capacity

    @property
    def exact(self) -> bool:
        return self.capacity.passing is not None and self.capacity.bound == "server"


class Curve(Part):
    """The document that `vouchstorm capacity --nodes 1,2,4 --json` writes. law: null with its `why`."""

    schema_version: int = 1
    scenario: str
    quantity: Quantity
    points: list[Point]
    law: Law | None
    why: str = ""

    @property
    def exit_code(self) -> int:
        """130 interrupted; 0 when every count held some load; else the worst of the searches."""
        codes = [point.capacity.exit_code for point in self.points]
        return 130 if 130 in codes else max(codes, default=1)

    def sentence(self) -> str:
        """The answer for a person."""
        return self.law.sentence if self.law else self.why


async def find_curve(counts: Sequence[int], find: FindCapacity) -> Curve:
    """Search every node count, the smallest first. Raises ScenarioError, SetupError."""
    points: list[Point] = []
    for nodes in sorted(set(counts)):
        found = await find(nodes)
        points.append(Point(nodes=nodes, capacity=found))
        if found.bound == "interrupted":
            break
    law, why = _law(points)
    first = points[0].capacity if points else None
    return Curve(
        scenario=first.scenario if first else "",
        quantity=first.quantity if first else "clients",
        points=points,
        law=law,
        why=why,
    )


def parse_counts(text: str) -> list[int]:
    """Node counts from `1,2,4`, ascending. Raises ScenarioError."""
    try:
        counts = sorted({int(part) for part in text.split(",")})
    except ValueError:
        counts = []
    if not counts or counts[0] < 1:
        raise ScenarioError([f"--nodes {text}: write one or several counts, for example --nodes 1,2,4."])
    return counts


def _law(points: Sequence[Point]) -> tuple[Law | None, str]:
    usable = [(point.nodes, point.capacity.passing or 0.0) for point in points if point.exact]
    bounded = [str(point.nodes) for point in points if not point.exact]
    if len(usable) < LEAST_COUNTS:
        limited = f" With {', '.join(bounded)} nodes it was not the server that gave way." if bounded else ""
        return (
            None,
            f"The law needs the capacity of {LEAST_COUNTS} node counts; {len(usable)} are known.{limited}",
        )
    found = fit(usable)
    finite = math.isfinite(found.peak_workers)
    return Law(
        rate=found.rate,
        contention=found.sigma,
        coherence=found.kappa,
        worst_error=found.worst_error,
        tight=found.tight,
        peak_nodes=found.peak_workers if finite else None,
        peak=found.peak_throughput if math.isfinite(found.peak_throughput) else None,
        sentence=found.sentence(),
    ), ""
