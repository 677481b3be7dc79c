"""Switches all counting of a running node off and on again, for the benchmark only.

Off: whoever counts calls a function that does nothing, and the flusher tells nobody what it flushed. So the
difference is what the metrics cost, the arguments of those calls excepted. The service has no such switch.
"""

from typing import Any

from prometheus_client import Counter, Gauge, Histogram

from backend.app.main import Application
from backend.app.observability.metrics import CounterBy, GaugeBy, HistogramBy

_WRITES: tuple[tuple[type, str], ...] = (
    (Counter, "inc"),
    (Gauge, "inc"),
    (Gauge, "dec"),
    (Gauge, "set"),
    (Histogram, "observe"),
    (CounterBy, "inc"),
    (GaugeBy, "inc"),
    (GaugeBy, "dec"),
    (GaugeBy, "set"),
    (HistogramBy, "observe"),
)


class Metering:
    """The counting of one application, with what it was before."""

    def __init__(self, application: Application) -> None:
        self._fanout = application.realtime.fanout
        self._on_flush = self._fanout._on_flush
        self._writes = [getattr(kind, name) for kind, name in _WRITES]

    def switch(self, on: bool) -> None:
        """Count, or do not."""
        self._fanout._on_flush = self._on_flush if on else None
        for (kind, name), write in zip(_WRITES, self._writes, strict=True):
            setattr(kind, name, write if on else _nothing)


def _nothing(*_: Any, **__: Any) -> None:
    """What is called instead of a metric."""
