"""What more nodes bring: the largest passing load of each node count, and the law through them.

The searches are awaited one after the other; the fit is `scaling`. Refuses to fit what the harness limited,
not the server: such a count tells only a lower bound.
"""

import math
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

from ..errors import ScenarioError
from .search import Capacity, Part, Quantity

# throughput(n) = rate * n / (1 + sigma * (n - 1) + kappa * n * (n - 1)): sigma is the share of the work that
# is done one at a time (contention), kappa the price of each pair of workers that has to agree (coherence).
# Source: N. J. Gunther, Guerrilla Capacity Planning, 2007.

LEAST_COUNTS = 3
NEGLIGIBLE_KAPPA = 1e-6

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Scaling:
    """A fitted law. rate: throughput of one worker. worst_error: largest relative distance of a point.

    tight: there were more worker counts than unknowns; otherwise the curve goes through any three points
    and says nothing about its own error.
    """

    rate: float
    sigma: float
    kappa: float
    worst_error: float
    tight: bool

    def throughput(self, workers: float) -> float:
        """What the law promises for so many workers."""
        return float(_law(np.array([self.rate, self.sigma, self.kappa]), np.array([workers]))[0])

    @property
    def peak_workers(self) -> float:
        """Where one more worker begins to cost; inf when nothing measured says so."""
        if self.kappa <= NEGLIGIBLE_KAPPA:
            return math.inf
        return max(1.0, math.sqrt((1 - self.sigma) / self.kappa))

    @property
    def peak_throughput(self) -> float:
        """The most there is to get; inf where throughput grows without end."""
        if math.isfinite(self.peak_workers):
            return self.throughput(self.peak_workers)
        return self.rate / self.sigma if self.sigma > NEGLIGIBLE_KAPPA else math.inf

    def sentence(self) -> str:
        """The law for a person."""
        known = (
            f"contention {self.sigma:.1%}, coherence {self.kappa:.2%} per pair, "
            f"{self.rate:,.4g} for one worker, points within {self.worst_error:.1%}"
        )
        if math.isinf(self.peak_workers):
            return f"{known}; no peak in sight."
        return f"{known}; the peak is {self.peak_throughput:,.4g} at {self.peak_workers:.1f} workers."


def fit(points: Sequence[tuple[int, float]]) -> Scaling:
    """The law nearest to pairs of (workers, throughput), each weighed by its relative distance.

    Repeats of a worker count are welcome.

    Raises:
        ScenarioError: fewer than three different worker counts, or a count or throughput not above 0.
    """
    _check(points)
    workers = np.array([count for count, _ in points], dtype=np.float64)
    measured = np.array([throughput for _, throughput in points], dtype=np.float64)
    first = float((measured / workers).max())

    def distances(law: Floats) -> Floats:
        return _law(law * np.array([first, 1.0, 1.0]), workers) / measured - 1

    found = min(
        (
            least_squares(
                distances,
                start,
                bounds=([1e-6, 0.0, 0.0], [np.inf, 1.0, 1.0]),
                x_scale=(1, 0.1, 0.01),
                ftol=1e-12,
                xtol=1e-12,
                gtol=1e-12,
            )
            for start in ((1.0, 0.05, 0.001), (1.0, 0.3, 0.0001), (1.0, 0.01, 0.05))
        ),
        key=lambda solution: float(solution.cost),
    )
    rate, sigma, kappa = (float(value) for value in found.x)
    worst = float(np.abs(distances(found.x)).max())
    return Scaling(rate * first, sigma, kappa, worst, len(set(workers.tolist())) > LEAST_COUNTS)


def _law(law: Floats, workers: Floats) -> Floats:
    rate, sigma, kappa = law
    others = workers - 1
    bent: Floats = rate * workers / (1 + sigma * others + kappa * workers * others)
    return bent


def _check(points: Sequence[tuple[int, float]]) -> None:
    if any(count < 1 or not throughput > 0 or math.isinf(throughput) for count, throughput in points):
        raise ScenarioError(["Scaling: worker counts and throughputs must be above 0."])
    counts = len({count for count, _ in points})
    if counts < LEAST_COUNTS:
        missing = LEAST_COUNTS - counts
        raise ScenarioError(
            [f"Scaling: the law has three unknowns; measure {missing} more worker counts (got {counts})."]
        )


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
    law, why = _fitted(points)
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


def _fitted(points: Sequence[Point]) -> tuple[Law | None, str]:
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
