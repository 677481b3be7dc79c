"""Telling a change from chance with a handful of runs: rank test, correction, bootstrap.

Pure statistics on plain numbers. Called by `compare`.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import mannwhitneyu

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Rules:
    """alpha: chance of a false alarm. min_effect: smallest relative change worth a word.

    least_runs: valid runs that either side must have. resamples: of the bootstrap; confidence: of its
    interval.
    """

    alpha: float = 0.05
    min_effect: float = 0.05
    least_runs: int = 5
    resamples: int = 2_000
    confidence: float = 0.95


def p_value(left: Sequence[float], right: Sequence[float]) -> float:
    """Two-sided p of the Mann-Whitney U test, exact for small samples without ties; 1 when all are equal."""
    if len({*left, *right}) == 1:
        return 1.0
    return float(mannwhitneyu(left, right, alternative="two-sided", method="auto").pvalue)


def holm(p_values: Sequence[float]) -> list[float]:
    """The p values, corrected for there being several (Holm 1979), in the order given."""
    corrected = [1.0] * len(p_values)
    highest = 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=lambda at: p_values[at])):
        highest = max(highest, min(1.0, p_values[index] * (len(p_values) - rank)))
        corrected[index] = highest
    return corrected


def ratio_interval(
    left: Sequence[float], right: Sequence[float], rules: Rules, rng: np.random.Generator
) -> tuple[float, float]:
    """Bootstrap percentile interval of median(right) / median(left)."""
    below, above = (_resampled_medians(side, rules.resamples, rng) for side in (left, right))
    tail = 50 * (1 - rules.confidence)
    low, high = np.percentile(above / below, [tail, 100 - tail])
    return float(low), float(high)


def smallest_p(left_runs: int, right_runs: int) -> float:
    """The smallest two-sided p that so many runs can bring about: full separation."""
    return min(1.0, 2 / math.comb(left_runs + right_runs, left_runs))


def runs_needed(tests: int, alpha: float) -> int:
    """Runs a side from which a change in one of so many metrics can be told at all."""
    runs = 2
    while smallest_p(runs, runs) * tests > alpha:
        runs += 1
    return runs


def _resampled_medians(values: Sequence[float], resamples: int, rng: np.random.Generator) -> Floats:
    sample = np.asarray(values, dtype=np.float64)
    picked = sample[rng.integers(0, sample.size, size=(resamples, sample.size))]
    medians: Floats = np.median(picked, axis=1)
    return medians
