"""Line charts as inline SVG: scales, axes, lines, bands, legends; colours come from the page's style sheet.

Pure: numbers in, text out. Knows nothing of results. Called by the page.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from html import escape
from itertools import pairwise

Points = Sequence[tuple[float, float]]
WIDTH, LEFT, RIGHT, TOP, BOTTOM = 940, 60, 34, 16, 34


@dataclass(frozen=True, slots=True)
class Scale:
    """Maps values to pixels. ticks: (value, label)."""

    place: Callable[[float], float]
    ticks: Sequence[tuple[float, str]]


@dataclass(frozen=True, slots=True)
class Line:
    """One series. tone: 1..4, a colour of the style sheet; filled: down to the axis; dashed: secondary."""

    name: str
    points: Points
    tone: int
    filled: bool = False
    dashed: bool = False
    stepped: bool = False


@dataclass(frozen=True, slots=True)
class Band:
    """A stretch of the x axis to point at."""

    start: float
    end: float
    label: str


@dataclass(frozen=True, slots=True)
class Rule:
    """A straight line across the chart. at: on the x axis, or on the y axis if `level`."""

    at: float
    label: str
    level: bool = False


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart to draw. title: for readers who do not see it."""

    title: str
    x: Scale
    y: Scale
    lines: Sequence[Line]
    height: int = 240
    x_label: str = ""
    y_label: str = ""
    bands: Sequence[Band] = field(default_factory=tuple)
    rules: Sequence[Rule] = field(default_factory=tuple)


def linear(low: float, high: float, start_px: float, end_px: float, unit: str = "") -> Scale:
    """A linear scale with round ticks."""
    high = high if high > low else low + 1.0
    step = _round_step((high - low) / 5)
    first = math.ceil(low / step) * step
    values = [first + n * step for n in range(int((high - first) / step + 1e-9) + 1)]

    def place(value: float) -> float:
        return start_px + (value - low) / (high - low) * (end_px - start_px)

    return Scale(place, [(value, _label(value, unit)) for value in values])


def logarithmic(low: float, high: float, start_px: float, end_px: float, unit: str = "") -> Scale:
    """A logarithmic scale from tick to tick, at 1, 2 and 5 of each decade, or whole decades when many."""
    low = max(low, 1e-6)
    high = max(high, low * 10)
    steps = (1, 2, 5) if high / low < 1_000 else (1,)
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    values = [step * 10.0**decade for decade in decades for step in steps]
    low = max((value for value in values if value <= low * 1.001), default=low)
    high = min((value for value in values if value >= high * 0.999), default=high)
    bottom, top = math.log10(low), math.log10(high)

    def place(value: float) -> float:
        share = (math.log10(max(value, low)) - bottom) / (top - bottom)
        return start_px + share * (end_px - start_px)

    inside = [value for value in values if low * 0.999 <= value <= high * 1.001]
    return Scale(place, [(value, _label(value, unit)) for value in inside])


def percentiles(last: float, start_px: float, end_px: float) -> Scale:
    """The scale of tail latencies: equal steps for 90, 99, 99.9 ... percent. last: below 100."""
    nines = max(1.0, -math.log10(1 - last / 100))

    def place(value: float) -> float:
        return start_px + min(1.0, -math.log10(max(1e-9, 1 - value / 100)) / nines) * (end_px - start_px)

    marks = [0.0, 50.0, 90.0, 99.0, 99.9, 99.99, 99.999, 99.9999]
    return Scale(place, [(mark, f"{mark:g} %") for mark in marks if mark <= last + 1e-9])


def draw(chart: Chart) -> str:
    """The chart as an SVG element."""
    bottom = chart.height - BOTTOM
    parts = [
        f'<svg viewBox="0 0 {WIDTH} {chart.height}" role="img" aria-label="{escape(chart.title)}">',
        *(_band(band, chart.x, bottom) for band in chart.bands),
        *_axes(chart, bottom),
        *(_rule(rule, chart, bottom) for rule in chart.rules),
        *(_line(line, chart, bottom) for line in chart.lines),
        "</svg>",
    ]
    return "".join(parts)


def legend(lines: Sequence[Line]) -> str:
    """The names of the series beside their colours."""
    entries = "".join(
        f'<span class="key"><i class="swatch tone{line.tone}{" dashed" if line.dashed else ""}"></i>'
        f"{escape(line.name)}</span>"
        for line in lines
    )
    return f'<div class="legend">{entries}</div>'


def _axes(chart: Chart, bottom: float) -> list[str]:
    parts = []
    for value, label in chart.y.ticks:
        at = chart.y.place(value)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{at:.1f}" y2="{at:.1f}"/>')
        parts.append(f'<text class="tick" x="{LEFT - 8}" y="{at + 4:.1f}" text-anchor="end">{label}</text>')
    for value, label in chart.x.ticks:
        at = chart.x.place(value)
        parts.append(f'<line class="grid" x1="{at:.1f}" x2="{at:.1f}" y1="{TOP}" y2="{bottom}"/>')
        parts.append(f'<text class="tick" x="{at:.1f}" y="{bottom + 16}" text-anchor="middle">{label}</text>')
    parts.append(f'<line class="axis" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{bottom}" y2="{bottom}"/>')
    if chart.x_label:
        parts.append(
            f'<text class="label" x="{WIDTH - RIGHT}" y="{chart.height - 3}" text-anchor="end">'
            f"{escape(chart.x_label)}</text>"
        )
    if chart.y_label:
        parts.append(f'<text class="label" x="{LEFT + 6}" y="{TOP + 8}">{escape(chart.y_label)}</text>')
    return parts


def _band(band: Band, x: Scale, bottom: float) -> str:
    start, end, label = x.place(band.start), x.place(band.end), escape(band.label)
    side, shift = ("end", 0.0) if start > WIDTH * 0.75 else ("start", -1.0)
    return (
        f'<rect class="fault" x="{start:.1f}" y="{TOP}" width="{max(3.0, end - start):.1f}" '
        f'height="{bottom - TOP}"><title>{label}</title></rect>'
        f'<line class="faultedge" x1="{start:.1f}" x2="{start:.1f}" y1="{TOP}" y2="{bottom}"/>'
        f'<text class="faultlabel" x="{start + shift:.1f}" y="{TOP - 5}" text-anchor="{side}">{label}</text>'
    )


def _rule(rule: Rule, chart: Chart, bottom: float) -> str:
    label = escape(rule.label)
    if rule.level:
        at = chart.y.place(rule.at)
        return (
            f'<line class="rule" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{at:.1f}" y2="{at:.1f}"/>'
            f'<text class="rulelabel" x="{LEFT + 6}" y="{at - 5:.1f}">{label}</text>'
        )
    at = chart.x.place(rule.at)
    return (
        f'<line class="rule" x1="{at:.1f}" x2="{at:.1f}" y1="{TOP}" y2="{bottom}"/>'
        f'<text class="rulelabel" x="{at + 5:.1f}" y="{TOP + 9}">{label}</text>'
    )


def _line(line: Line, chart: Chart, bottom: float) -> str:
    places = [(chart.x.place(x), chart.y.place(y)) for x, y in line.points]
    if not places:
        return ""
    path = _stepped(places) if line.stepped else "L".join(f"{x:.1f},{y:.1f}" for x, y in places)
    parts = []
    if line.filled:
        parts.append(
            f'<path class="area tone{line.tone}" '
            f'd="M{places[0][0]:.1f},{bottom}L{path}L{places[-1][0]:.1f},{bottom}Z"/>'
        )
    dashed = " dashed" if line.dashed else ""
    name = escape(line.name)
    parts.append(f'<path class="line tone{line.tone}{dashed}" d="M{path}"><title>{name}</title></path>')
    return "".join(parts)


def _stepped(places: Points) -> str:
    parts = [f"{places[0][0]:.1f},{places[0][1]:.1f}"]
    for (_, last), (x, y) in pairwise(places):
        parts += [f"{x:.1f},{last:.1f}", f"{x:.1f},{y:.1f}"]
    return "L".join(parts)


def _round_step(rough: float) -> float:
    decade = 10.0 ** math.floor(math.log10(rough))
    return next(step * decade for step in (1, 2, 5, 10) if step * decade >= rough * 0.999)


def _label(value: float, unit: str) -> str:
    return f"{value / 1000:g} s" if unit == " ms" and value >= 1000 else f"{short(value)}{unit}"


def short(value: float) -> str:
    """A number in few characters: 1.2k, 3M, 0.05."""
    for limit, suffix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= limit:
            return f"{value / limit:.3g}{suffix}"
    return f"{value:.3g}"
