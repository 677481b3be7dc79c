"""Samples of alternating repetitions, their medians and ratios. Pure."""

import statistics
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Sample:
    """One figure of one repetition; `value` is None when the repetition is invalid, `reason` says why."""

    metric: str
    contestant: str
    value: float | None
    reason: str = ""


@dataclass(slots=True)
class Series:
    """All samples of a run."""

    samples: list[Sample] = field(default_factory=list)

    def values(self, metric: str, contestant: str) -> list[float]:
        """The valid figures, in the order they were taken."""
        return [value for value in self._tried(metric, contestant) if value is not None]

    def invalid(self) -> list[Sample]:
        return [sample for sample in self.samples if sample.value is None]

    def metrics(self) -> list[str]:
        return list(dict.fromkeys(sample.metric for sample in self.samples))

    def contestants(self) -> list[str]:
        return list(dict.fromkeys(sample.contestant for sample in self.samples))

    def median(self, metric: str, contestant: str) -> float | None:
        values = self.values(metric, contestant)
        return statistics.median(values) if values else None

    def medians(self, metric: str) -> dict[str, float]:
        """Contestant -> median, of those that have one."""
        found = {name: self.median(metric, name) for name in self.contestants()}
        return {name: value for name, value in found.items() if value is not None}

    def ratio(self, metric: str, over: str, under: str) -> float | None:
        """Median of the ratios of neighbours: repetition i of one against repetition i of the other.

        Neighbours in time met the same noise, so this is steadier than a ratio of medians.
        """
        pairs = zip(self._tried(metric, over), self._tried(metric, under), strict=False)
        ratios = [a / b for a, b in pairs if a is not None and b]
        return statistics.median(ratios) if ratios else None

    def _tried(self, metric: str, contestant: str) -> list[float | None]:
        """The figures in the order they were taken, None for an invalid repetition."""
        return [
            sample.value
            for sample in self.samples
            if (sample.metric, sample.contestant) == (metric, contestant)
        ]

    def spread(self, metric: str, contestant: str) -> dict[str, Any]:
        """Median, range and every figure in order, None for an invalid one; empty when never tried."""
        tried = self._tried(metric, contestant)
        values = [value for value in tried if value is not None]
        if not values:
            return {"n": 0, "values": tried} if tried else {}
        return {
            "n": len(values),
            "median": statistics.median(values),
            "min": min(values),
            "max": max(values),
            "values": tried,
        }
