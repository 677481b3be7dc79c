"""The universal scalability law: what more workers bring, and where they begin to cost.

    throughput(n) = rate * n / (1 + sigma * (n - 1) + kappa * n * (n - 1))

Pure. sigma is the share of the work that is done one at a time (contention), kappa the price of each pair of
workers that has to agree (coherence). Refuses fewer than three worker counts. Called by the command line
with the largest passing load of each worker count. Source: N. J. Gunther, Guerrilla Capacity Planning, 2007.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

from .errors import ScenarioError

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
