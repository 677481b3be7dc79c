"""Kinds of metrics beside the library's own: labels with a closed vocabulary, and values read at the scrape.

Children are made at start, so that a series exists before its first event and the hot path is one dictionary
look-up. Used by `metrics.py` only.
"""

from collections.abc import Callable, Iterable, Iterator

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

OTHER = "other"


class CounterBy:
    """A counter whose last label has a closed vocabulary; `before` are the values of the labels before it."""

    __slots__ = ("_children", "_rest")

    def __init__(
        self, counter: Counter, values: Iterable[str], rest: str = OTHER, before: tuple[str, ...] = ()
    ) -> None:
        self._children = {value: counter.labels(*before, value) for value in values}
        self._rest = self._children.setdefault(rest, counter.labels(*before, rest))

    def inc(self, value: str, amount: int = 1) -> None:
        """Count; a value outside the vocabulary goes to the rest."""
        self._children.get(value, self._rest).inc(amount)


class GaugeBy:
    """A gauge with one label of a closed vocabulary."""

    __slots__ = ("_children", "_rest")

    def __init__(self, gauge: Gauge, values: Iterable[str], rest: str = OTHER) -> None:
        self._children = {value: gauge.labels(value) for value in values}
        self._rest = self._children.setdefault(rest, gauge.labels(rest))

    def inc(self, value: str, amount: int = 1) -> None:
        self._children.get(value, self._rest).inc(amount)

    def dec(self, value: str, amount: int = 1) -> None:
        self._children.get(value, self._rest).dec(amount)

    def set(self, value: str, level: float) -> None:
        self._children.get(value, self._rest).set(level)


class HistogramBy:
    """A histogram with one label whose values are few because code, not clients, chooses them."""

    __slots__ = ("_children", "_histogram")

    def __init__(self, histogram: Histogram, values: Iterable[str] = ()) -> None:
        self._histogram = histogram
        self._children: dict[str, Histogram] = {value: histogram.labels(value) for value in values}

    def observe(self, value: str, amount: float) -> None:
        child = self._children.get(value)
        if child is None:
            child = self._children[value] = self._histogram.labels(value)
        child.observe(amount)


class Reading(Collector):
    """A number that its owner keeps anyway, read at the scrape: free on the hot path.

    source: set by the owner; until then the metric stands at 0. Must be quick, and safe to call from the
    thread that scrapes.
    """

    def __init__(self, name: str, text: str, registry: CollectorRegistry, *, counter: bool) -> None:
        self._name = name
        self._text = text
        self._family = CounterMetricFamily if counter else GaugeMetricFamily
        self.source: Callable[[], float] = _nought
        registry.register(self)

    def collect(self) -> Iterator[Metric]:
        """For the registry."""
        yield self._family(self._name, self._text, value=self.source())


def _nought() -> float:
    return 0.0


class WithoutCreated:
    """The registry without the `_created` series that would double the exposition and that nobody reads."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    def collect(self) -> Iterator[Metric]:
        for metric in self._registry.collect():
            metric.samples = [sample for sample in metric.samples if not sample.name.endswith("_created")]
            yield metric
