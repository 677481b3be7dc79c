"""Two sets of runs compared with their noise: what got better, what got worse, what nobody can tell.

Pure statistics over results. A change is reported when the Mann-Whitney U test (two-sided, corrected after
Holm), the bootstrap interval of the ratio of medians and a minimum effect all agree.
Refuses fewer valid runs a side than the rules demand, five by default.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict
from scipy.stats import mannwhitneyu

from .errors import ScenarioError
from .result import Result
from .thresholds import KNOWN

NEVER_MS = 120_000.0
"""Stands for a percentile of which too many never came back: the longest time a histogram holds."""


Family = Literal["load", "recovery"]
FAMILIES: tuple[Family, ...] = ("load", "recovery")


@dataclass(frozen=True, slots=True)
class Metric:
    """A figure of a run; less is better. family: the question it belongs to.

    A family has six members at most: the smallest p that five runs a side can bring about is 0.008, which
    survives the correction for six.
    """

    name: str
    unit: str
    family: Family
    read: Callable[[Result], float | None]


def _level(name: str, family: Family) -> Metric:
    def read(result: Result) -> float | None:
        value = KNOWN[name].read(result)
        return None if value is None else min(value, NEVER_MS)

    return Metric(name, "ms", family, read)


def _server(name: str, unit: str) -> Metric:
    return Metric(name, unit, "load", lambda result: float(getattr(result.server, name)) or None)


METRICS = (
    _level("fanout_p50_ms", "load"),
    _level("fanout_p99_ms", "load"),
    _level("durable_p99_ms", "load"),
    _level("http_p99_ms", "load"),
    _server("cpu_us_per_delivery", "us"),
    _server("rss_bytes", "bytes"),
    _level("reconnect_p95_ms", "recovery"),
    _level("caught_up_p95_ms", "recovery"),
)

FAULTS: Mapping[str, Callable[[Result], int]] = {
    "lost": lambda result: result.ledger.lost,
    "misrouted": lambda result: result.ledger.misrouted,
    "duplicate": lambda result: result.ledger.duplicate,
    "out_of_order": lambda result: result.ledger.out_of_order,
    "silent_holes": lambda result: result.reconnect.recovery.silent_hole,
    "violations": lambda result: result.conservation.violation_count,
    "server_died": lambda result: int(bool(result.server.died or result.server.unreachable)),
}
"""What a correct server never does. Where the baseline has none, a single one is a change for the worse."""


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


Change = Literal["better", "worse", "no change"]

LEAST_SAMPLES = 3
"""Of one metric on either side; some are not measured in every run."""

Samples = Mapping[Metric, tuple[list[float], list[float]]]
"""What was measured on either side."""


class Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Told(Part):
    """Something looked at on both sides, and what came of it."""

    name: str
    change: Change


class Row(Told):
    """One metric. ratio: candidate / baseline of the medians; low, high: its interval.

    spread: (max - min) / median of each side, baseline first. p: corrected.
    """

    unit: str
    baseline: float
    candidate: float
    spread: tuple[float, float]
    ratio: float
    low: float
    high: float
    p: float


class FaultRow(Told):
    """Counts of something that must not happen, over all valid runs of a side."""

    baseline: int
    candidate: int


class Side(Part):
    """runs: valid ones. invalid, interrupted: left out."""

    runs: int
    invalid: int
    interrupted: int
    versions: dict[str, str]


class Comparison(Part):
    """The document that `vouchstorm compare --json` writes."""

    schema_version: Literal[1] = 1
    scenario: str
    baseline: Side
    candidate: Side
    min_effect: float
    alpha: float
    metrics: list[Row]
    faults: list[FaultRow]
    warnings: list[str]

    @property
    def worse(self) -> list[str]:
        """Names of what got worse."""
        return self._named("worse")

    @property
    def better(self) -> list[str]:
        """Names of what got better."""
        return self._named("better")

    @property
    def exit_code(self) -> int:
        """1 when something got worse, else 0."""
        return 1 if self.worse else 0

    def _named(self, change: Change) -> list[str]:
        rows: list[Told] = [*self.faults, *self.metrics]
        return [row.name for row in rows if row.change == change]


def compare(
    baseline: Sequence[Result], candidate: Sequence[Result], rules: Rules, rng: np.random.Generator
) -> Comparison:
    """What changed from baseline to candidate.

    Raises:
        ScenarioError: a side has fewer valid runs than `rules.least_runs`.
    """
    left, right = _valid(baseline), _valid(candidate)
    _check_runs({"baseline": (left, baseline), "candidate": (right, candidate)}, rules.least_runs)
    samples = {metric: (_sample(metric, left), _sample(metric, right)) for metric in METRICS}
    told = {metric: pair for metric, pair in samples.items() if min(map(len, pair)) >= LEAST_SAMPLES}
    rows = _rows(told, rules, rng)
    return Comparison(
        scenario=str(left[0].scenario.get("name", "run")),
        baseline=_side(left, baseline),
        candidate=_side(right, candidate),
        min_effect=rules.min_effect,
        alpha=rules.alpha,
        metrics=rows,
        faults=[_fault_row(name, left, right, rules) for name in FAULTS],
        warnings=[
            *_context_warnings(left, right),
            *_sample_warnings(samples, told, rules),
            *_doubts(rows, rules),
        ],
    )


def _rows(told: Samples, rules: Rules, rng: np.random.Generator) -> list[Row]:
    corrected: dict[Metric, float] = {}
    for members in _corrected_together(told, rules.alpha):
        corrected |= dict(zip(members, holm([p_value(*told[metric]) for metric in members]), strict=True))
    return [
        _row(metric, left, right, corrected[metric], rules, rng) for metric, (left, right) in told.items()
    ]


def _corrected_together(told: Samples, alpha: float) -> list[list[Metric]]:
    """All metrics, unless the runs are too few for that: then load and recovery apart.

    The price is up to twice the chance of a false alarm; else five runs a side could not tell anything.
    """
    if smallest_p(*_fewest(told)) * len(told) <= alpha:
        return [list(told)]
    return [[metric for metric in told if metric.family == family] for family in FAMILIES]


def _fewest(told: Samples) -> tuple[int, int]:
    left, right = (min((len(pair[at]) for pair in told.values()), default=LEAST_SAMPLES) for at in (0, 1))
    return left, right


def _row(
    metric: Metric,
    left: list[float],
    right: list[float],
    p: float,
    rules: Rules,
    rng: np.random.Generator,
) -> Row:
    before, after = float(np.median(left)), float(np.median(right))
    low, high = ratio_interval(left, right, rules, rng)
    ratio = after / before
    return Row(
        name=metric.name,
        unit=metric.unit,
        baseline=before,
        candidate=after,
        spread=(_spread(left), _spread(right)),
        ratio=ratio,
        low=low,
        high=high,
        p=p,
        change=_change(ratio, low, high, p, rules),
    )


def _doubts(rows: Sequence[Row], rules: Rules) -> list[str]:
    """Metrics that moved but could not be told from chance: silence would be taken for an all-clear."""
    return [
        f"{row.name} moved by {row.ratio - 1:+.0%}, which chance alone may have done: repeat with more runs."
        for row in rows
        if row.change == "no change" and _moved(row.ratio, row.low, row.high, rules)
    ]


def _change(ratio: float, low: float, high: float, p: float, rules: Rules) -> Change:
    """Test, interval and effect must agree. The effect counts the same both ways: 1.05 and 1 / 1.05."""
    if p > rules.alpha or not _moved(ratio, low, high, rules):
        return "no change"
    return "worse" if ratio > 1 else "better"


def _moved(ratio: float, low: float, high: float, rules: Rules) -> bool:
    return not low <= 1 <= high and abs(math.log(ratio)) >= math.log1p(rules.min_effect)


def _fault_row(name: str, left: Sequence[Result], right: Sequence[Result], rules: Rules) -> FaultRow:
    before = [FAULTS[name](result) for result in left]
    after = [FAULTS[name](result) for result in right]
    return FaultRow(
        name=name, baseline=sum(before), candidate=sum(after), change=_fault_change(before, after, rules)
    )


def _fault_change(before: Sequence[int], after: Sequence[int], rules: Rules) -> Change:
    if not any(before):
        return "worse" if any(after) else "no change"
    if p_value(before, after) > rules.alpha:
        return "no change"
    return "worse" if float(np.mean(after)) > float(np.mean(before)) else "better"


def _spread(values: Sequence[float]) -> float:
    return (max(values) - min(values)) / float(np.median(values))


def _sample(metric: Metric, results: Sequence[Result]) -> list[float]:
    """What was measured. Zeros cannot be put in proportion; they stand for less than the clock can tell."""
    values = (metric.read(result) for result in results)
    return [max(value, 0.001) for value in values if value is not None]


def _valid(results: Sequence[Result]) -> list[Result]:
    return [result for result in results if result.verdict in ("PASS", "FAIL")]


def _check_runs(sides: Mapping[str, tuple[Sequence[Result], Sequence[Result]]], least: int) -> None:
    problems = [
        f"The {name} has {len(valid)} valid runs of {len(given)}; {least} are needed on either side: add "
        f"{least - len(valid)} more."
        for name, (valid, given) in sides.items()
        if len(valid) < least
    ]
    if problems:
        raise ScenarioError(problems)


def _side(valid: Sequence[Result], given: Sequence[Result]) -> Side:
    return Side(
        runs=len(valid),
        invalid=sum(result.verdict == "INVALID" for result in given),
        interrupted=sum(result.verdict == "INTERRUPTED" for result in given),
        versions=dict(valid[-1].versions),
    )


def _sample_warnings(
    samples: Samples,
    told: Samples,
    rules: Rules,
) -> list[str]:
    found = [
        f"{metric.name} was measured in {len(left)} baseline and {len(right)} candidate runs: not compared."
        for metric, (left, right) in samples.items()
        if metric not in told and (left or right)
    ]
    fewest = min(_fewest(told))
    largest = max(sum(metric.family == family for metric in told) for family in FAMILIES)
    needed = runs_needed(max(1, largest), rules.alpha)
    if fewest < needed:
        found.append(
            f"{needed - fewest} more runs a side are needed: with {fewest} not even a large change can be "
            "told from chance."
        )
    return found


def _context_warnings(left: Sequence[Result], right: Sequence[Result]) -> list[str]:
    """Differences that make the sides incomparable; every run should differ in the server alone."""
    checks: dict[str, Callable[[Result], Any]] = {
        "scenarios": lambda result: {k: v for k, v in result.scenario.items() if k != "seed"},
        "hosts": lambda result: (result.host.cpus, result.host.kernel, result.host.memory_bytes),
        "versions of Python": lambda result: result.host.python,
        "numbers of load processes": lambda result: result.generator.processes,
    }
    found = [
        f"The runs have different {what}: a difference may come from there."
        for what, read in checks.items()
        if len({repr(read(result)) for result in (*left, *right)}) > 1
    ]
    if sorted({result.seed for result in left}) != sorted({result.seed for result in right}):
        found.append("The sides were run with different seeds: a difference may come from there.")
    return found
