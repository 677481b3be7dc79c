"""A board as one SVG picture: what Grafana would show of a run, drawn from the same queries' answers.

For the documentation, where no Grafana is. Light or dark as the reader's page is. Pure: values in, text out.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

from simulator.report import charts

from .model import Board, Kind, Panel, Query, Unit
from .prometheus_server import Series

UNIT_WIDTH = 50.0
COLUMNS = 24
UNIT_HEIGHT = 26.0
GAP = 10.0
HEAD = 30.0
TITLE = 22.0
LEGEND_LINE = 13.0
MAX_LEGEND = 6
COLORS = ("#3274d9", "#e0752d", "#2f9e60", "#b877d9", "#d44a3a", "#6d7f8f", "#c9a227", "#1aa3a3")
STYLE = """
text { font: 11px system-ui, sans-serif; fill: #24292f }
.board { font-size: 17px; font-weight: 600 } .row { font-size: 13px; font-weight: 600 }
.title { font-weight: 600 } .small { font-size: 10px; fill: #57606a }
.number { font-size: 24px; font-weight: 600 }
.page { fill: #ffffff } .panel { fill: #f6f8fa; stroke: #d0d7de } .grid { stroke: #d0d7de; stroke-width: .6 }
.tick { font-size: 10px; fill: #57606a } .axis { stroke: #8c959f; stroke-width: .6 }
.line { fill: none; stroke-width: 1.4; stroke-linejoin: round } .area { opacity: .15; stroke: none }
@media (prefers-color-scheme: dark) {
  text { fill: #d7dde4 } .small, .tick { fill: #8b949e } .page { fill: #0d1117 }
  .panel { fill: #161b22; stroke: #30363d } .grid { stroke: #30363d }
}
""" + "\n".join(
    f".line.tone{tone} {{ stroke: {color} }} .area.tone{tone} {{ fill: {color} }}"
    for tone, color in enumerate(COLORS, 1)
)


@dataclass(frozen=True, slots=True)
class Curve:
    """A named line: (time in s, value) in order of time, without gaps' places."""

    name: str
    points: Sequence[tuple[float, float]]

    @classmethod
    def of(cls, query: Query, series: Series) -> "Curve":
        """From Prometheus' answer, named by the query's legend."""
        labels: Mapping[str, str] = series["metric"]
        name = re.sub(r"\{\{\s*(\w+)\s*\}\}", lambda found: labels.get(found[1], ""), query.legend)
        pairs = ((float(at), float(value)) for at, value in series["values"])
        return cls(name.strip(), [(at, value) for at, value in pairs if math.isfinite(value)])

    def until(self, end_s: float) -> "Curve":
        """The part up to that time."""
        return Curve(self.name, [point for point in self.points if point[0] <= end_s])


def stacked(curves: Sequence[Curve]) -> list[Curve]:
    """Each curve on top of those before it; where one has no value it adds nothing."""
    floor: dict[float, float] = {}
    piled = []
    for curve in curves:
        for at, value in curve.points:
            floor[at] = floor.get(at, 0.0) + value
        piled.append(Curve(curve.name, [(at, floor[at]) for at, _ in curve.points]))
    return piled


def render(board: Board, curves: Mapping[str, Sequence[Curve]]) -> str:
    """The picture. curves: by the title of their panel."""
    width = COLUMNS * UNIT_WIDTH + GAP
    shapes: list[str] = [f'<text class="board" x="{GAP}" y="{HEAD - 8}">{escape(board.title)}</text>']
    y = HEAD
    for row in board.rows:
        shapes.append(f'<text class="row" x="{GAP}" y="{y + 15}">{escape(row.title)}</text>')
        y += TITLE
        x, tallest = 0, 0
        for panel in row.panels:
            if x + panel.width > COLUMNS:
                y += tallest * UNIT_HEIGHT
                x, tallest = 0, 0
            shapes.append(_panel(panel, curves.get(panel.title, ()), GAP + x * UNIT_WIDTH, y))
            x += panel.width
            tallest = max(tallest, panel.height)
        y += tallest * UNIT_HEIGHT + GAP
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {y:g}" role="img">'
    title = f"<title>{escape(board.title)}</title><style>{STYLE}</style>"
    page = f'<rect class="page" width="{width:g}" height="{y:g}"/>'
    return "\n".join([head, title, page, *shapes, "</svg>"]) + "\n"


def _panel(panel: Panel, curves: Sequence[Curve], x: float, y: float) -> str:
    width, height = panel.width * UNIT_WIDTH - GAP, panel.height * UNIT_HEIGHT - GAP
    drawn = [curve for curve in curves if curve.points]
    body = (
        _number(panel, drawn, width, height)
        if panel.kind is Kind.NUMBER
        else _lines(panel, drawn, width, height)
    )
    frame = f'<rect class="panel" width="{width:g}" height="{height:g}" rx="4"/>'
    title = f'<text class="title" x="8" y="15">{escape(panel.title)}</text>'
    return f'<g transform="translate({x:g} {y:g})">{frame}{title}{body}</g>'


def _number(panel: Panel, curves: Sequence[Curve], width: float, height: float) -> str:
    if not curves:
        return _nothing(width, height)
    value = curves[0].points[-1][1]
    place = f'x="{width / 2:g}" y="{height / 2 + 16:g}" text-anchor="middle"'
    return f'<text class="number" {place}>{shown(value, panel.unit)}</text>'


def _nothing(width: float, height: float) -> str:
    return f'<text class="small" x="{width / 2:g}" y="{height / 2:g}" text-anchor="middle">no data</text>'


def _lines(panel: Panel, curves: Sequence[Curve], width: float, height: float) -> str:
    if not curves:
        return _nothing(width, height)
    named = sorted(curves, key=lambda curve: -max(value for _, value in curve.points))
    if panel.stacked:
        named = list(reversed(stacked(list(reversed(named)))))
    legend = [curve for curve in named if curve.name][:MAX_LEGEND]
    tall = height - TITLE - -(-len(legend) // max(1, int(width // 130))) * LEGEND_LINE
    start = min(at for curve in named for at, _ in curve.points)
    span = max(max(at for curve in named for at, _ in curve.points) - start, 1.0)
    high = nice(max(max(value for _, value in curve.points) for curve in named), panel.unit)
    bottom = tall - charts.BOTTOM
    chart = charts.Chart(
        panel.title,
        charts.Scale(
            lambda at: charts.LEFT + (at - start) / span * (width - charts.RIGHT - charts.LEFT),
            [(start, "0 s"), (start + span, f"{span:.0f} s")],
        ),
        charts.Scale(
            lambda value: bottom - value / high * (bottom - charts.TOP),
            [(value, shown(value, panel.unit)) for value in (0.0, high / 2, high)],
        ),
        [
            charts.Line(curve.name, curve.points, 1 + number % len(COLORS), filled=panel.stacked)
            for number, curve in enumerate(named)
        ],
        height=tall,
        width=width,
    )
    drawn = f'<g transform="translate(0 {TITLE:g})">{charts.draw(chart)}</g>'
    return "".join([drawn, *_legend(legend, named, TITLE + tall + 5, width)])


def _legend(legend: Sequence[Curve], named: Sequence[Curve], top: float, width: float) -> list[str]:
    across = max(1, int(width // 130))
    shapes = []
    for number, curve in enumerate(legend):
        x = 10 + (number % across) * ((width - 16) / across)
        y = top + (number // across) * LEGEND_LINE
        color = COLORS[named.index(curve) % len(COLORS)]
        room = int((width - 16) / across / 5.2) - 2
        name = curve.name if len(curve.name) <= room else curve.name[: room - 1] + "…"
        shapes.append(f'<rect x="{x:g}" y="{y - 7:g}" width="8" height="3" fill="{color}"/>')
        shapes.append(f'<text class="small" x="{x + 12:g}" y="{y - 2:g}">{escape(name)}</text>')
    return shapes


def nice(value: float, unit: Unit = Unit.COUNT) -> float:
    """The next rounder number, as the top of an axis."""
    if value <= 0:
        return 2.0**20 if unit is Unit.BYTES else 1.0
    if unit is Unit.BYTES and value > 2**20:
        return nice(value / 2**20) * 2**20
    size: float = 10.0 ** math.floor(math.log10(value))
    return next(step * size for step in (1, 2, 2.5, 5, 10) if value <= step * size * 1.0000001)


def shown(value: float, unit: Unit) -> str:
    """A value for people."""
    if unit is Unit.SHARE:
        return f"{value * 100:.3g} %"
    if unit is Unit.SECONDS:
        return f"{value:.3g} s" if value >= 1 or value == 0 else f"{value * 1000:.3g} ms"
    if unit is Unit.BYTES:
        return f"{value / 2**20:.3g} MiB" if value >= 2**20 else f"{value / 1024:.3g} KiB"
    text = f"{value:.3g}"
    for size, name in ((1_000_000, "M"), (1_000, "k")):
        if value >= size:
            text = f"{value / size:.3g} {name}"
            break
    return f"{text}/s" if unit is Unit.PER_SECOND else text
