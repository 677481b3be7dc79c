"""What a dashboard is, as plain values: boards hold rows, rows hold panels, panels hold queries. Pure.

Grafana's JSON is made of these in `grafana_json`, pictures in `picture`; the check asks their queries.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum


class Kind(StrEnum):
    """How a panel draws."""

    LINES = "timeseries"
    NUMBER = "stat"


class Unit(StrEnum):
    """Grafana's names of the units in use; all metrics are in base units."""

    SECONDS = "s"
    BYTES = "bytes"
    SHARE = "percentunit"
    PER_SECOND = "ops"
    COUNT = "short"


@dataclass(frozen=True, slots=True)
class Query:
    """expr: PromQL, with Grafana's variables. legend: Grafana's template of a series' name."""

    expr: str
    legend: str = ""


@dataclass(frozen=True, slots=True)
class Limit:
    """Beyond these a value is a warning, or bad; below them if `low`."""

    warn: float
    bad: float
    low: bool = False


@dataclass(frozen=True, slots=True)
class Panel:
    """One panel. width: of 24. stacked: areas that add up.."""

    title: str
    description: str
    unit: Unit
    queries: tuple[Query, ...]
    kind: Kind = Kind.LINES
    width: int = 8
    height: int = 8
    limit: Limit | None = None
    stacked: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """Panels under one heading."""

    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True, slots=True)
class Mark:
    """An annotation: drawn wherever the query has a value."""

    name: str
    expr: str
    color: str = "orange"


@dataclass(frozen=True, slots=True)
class Board:
    """One dashboard. by_node: whether it has the variable `$node`."""

    uid: str
    title: str
    description: str
    rows: tuple[Row, ...]
    marks: tuple[Mark, ...] = field(default=())
    by_node: bool = True

    @property
    def panels(self) -> Iterator[Panel]:
        """All panels in reading order."""
        for row in self.rows:
            yield from row.panels
