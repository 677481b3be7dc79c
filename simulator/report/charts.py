"""Line charts as inline SVG: scales, axes, lines, bands, legends; and the report's figures made of them.

Colours come from the style sheet of whoever shows them. Pure: numbers in, text out.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from html import escape
from itertools import pairwise

from ..histogram import Histogram
from ..result import FaultMark, Latency, Result, Second

Points = Sequence[tuple[float, float]]
WIDTH, LEFT, RIGHT, TOP, BOTTOM = 940, 60, 34, 16, 34


@dataclass(frozen=True, slots=True)
class Scale:
    """Maps values to pixels. ticks: (value, label)."""

    place: Callable[[float], float]
    ticks: Sequence[tuple[float, str]]


@dataclass(frozen=True, slots=True)
class Line:
    """One series. tone: from 1, a colour of the style sheet; filled: down to the axis; dashed: secondary."""

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
    height: float = 240
    width: float = WIDTH
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
    size = f"{chart.width:g} {chart.height:g}"
    parts = [
        f'<svg width="{chart.width:g}" viewBox="0 0 {size}" role="img" aria-label="{escape(chart.title)}">',
        *(_band(band, chart.x, bottom, chart.width) for band in chart.bands),
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
    parts, right = [], chart.width - RIGHT
    for value, label in chart.y.ticks:
        at = chart.y.place(value)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{right}" y1="{at:.1f}" y2="{at:.1f}"/>')
        parts.append(f'<text class="tick" x="{LEFT - 8}" y="{at + 4:.1f}" text-anchor="end">{label}</text>')
    for value, label in chart.x.ticks:
        at = chart.x.place(value)
        parts.append(f'<line class="grid" x1="{at:.1f}" x2="{at:.1f}" y1="{TOP}" y2="{bottom}"/>')
        parts.append(f'<text class="tick" x="{at:.1f}" y="{bottom + 16}" text-anchor="middle">{label}</text>')
    parts.append(f'<line class="axis" x1="{LEFT}" x2="{right}" y1="{bottom}" y2="{bottom}"/>')
    if chart.x_label:
        parts.append(
            f'<text class="label" x="{right}" y="{chart.height - 3}" text-anchor="end">'
            f"{escape(chart.x_label)}</text>"
        )
    if chart.y_label:
        parts.append(f'<text class="label" x="{LEFT + 6}" y="{TOP + 8}">{escape(chart.y_label)}</text>')
    return parts


def _band(band: Band, x: Scale, bottom: float, width: float) -> str:
    start, end, label = x.place(band.start), x.place(band.end), escape(band.label)
    side, shift = ("end", 0.0) if start > width * 0.75 else ("start", -1.0)
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
            f'<line class="rule" x1="{LEFT}" x2="{chart.width - RIGHT}" y1="{at:.1f}" y2="{at:.1f}"/>'
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


CURVES = (("fanout", "fan-out, all messages"), ("durable", "bell (durable)"), ("http", "publishing request"))
STEPS_PER_NINE = 24
MAX_LABELS = 4
FLOOR_MS = 0.05


def percentile_curve(result: Result) -> str:
    """Latency by percentile, both axes logarithmic: the tail is what the figure is for."""
    named = [(label, result.latency_ms[key]) for key, label in CURVES if key in result.latency_ms]
    drawn = [(label, latency) for label, latency in named if latency.hdr]
    if not drawn:
        return ""
    lines = [Line(label, _curve(latency), tone) for tone, (label, latency) in enumerate(drawn, 1)]
    height = 300
    last = max(point[0] for line in lines for point in line.points)
    values = [max(FLOOR_MS, point[1]) for line in lines for point in line.points]
    limits = [
        Rule(level.limit, f"{level.name} ≤ {level.limit:g} ms", level=True)
        for level in result.slo
        if level.name == "fanout_p99_ms" and min(values) < level.limit < max(values) * 10
    ]
    highest = max(*values, *(limit.at for limit in limits), 0.0)
    chart = Chart(
        "Latency in milliseconds by percentile",
        percentiles(last, LEFT, WIDTH - RIGHT),
        logarithmic(min(values), highest, height - BOTTOM, TOP, " ms"),
        lines,
        height=height,
        x_label="share of receipts that were at least as fast",
        rules=limits,
    )
    return _figure(
        "Latency by percentile",
        chart,
        "Both axes are logarithmic: each step to the right is ten times rarer.",
    )


def timeline(result: Result) -> str:
    """Latency, traffic and presence by the second, with the faults behind them."""
    rows = result.timeline
    if not rows:
        return ""
    span_s = float(rows[-1].t_s + 1)
    bands = [
        Band(mark.at_s, min(span_s, max(mark.until_s, mark.at_s + 0.2)), _said(mark))
        for mark in result.faults
        if mark.at_s < span_s
    ]
    if len(bands) > MAX_LABELS:
        bands = [Band(band.start, band.end, "") for band in bands]
    unlabelled = [Band(band.start, band.end, "") for band in bands]
    load_s = float(result.scenario.get("duration_s") or span_s)
    end = [Rule(load_s, "load ends")] if load_s < span_s else []
    charts = (
        replace(_latency_chart(rows, span_s, bands), rules=end),
        replace(_traffic_chart(rows, span_s, unlabelled), rules=[replace(rule, label="") for rule in end]),
        replace(_presence_chart(rows, span_s, unlabelled), rules=[replace(rule, label="") for rule in end]),
    )
    content = "".join(f"{legend(chart.lines)}{draw(chart)}" for chart in charts)
    return f"<section><h2>Timeline</h2><figure>{content}</figure>{_fault_table(result.faults)}</section>"


def _said(mark: FaultMark) -> str:
    whom = f": {mark.clients:,} clients" if mark.clients else f": {mark.note}" if mark.note else ""
    return f"{mark.kind}{whom}"


def _fault_table(marks: Sequence[FaultMark]) -> str:
    """Every fault in words, for those that the eye cannot tell apart."""
    if not marks:
        return ""
    rows = "".join(
        f"<tr><td>{escape(mark.kind)}</td><td class='number'>{mark.at_s:.1f} s</td>"
        f"<td class='number'>{mark.until_s:.1f} s</td><td class='number'>{mark.clients:,}</td>"
        f"<td>{escape(mark.note)}</td></tr>"
        for mark in marks
    )
    head = "<tr><th>fault</th><th>from</th><th>until</th><th>clients</th><th></th></tr>"
    return f"<details><summary>Faults: {len(marks)}</summary><table>{head}{rows}</table></details>"


def _latency_chart(rows: list[Second], span_s: float, bands: list[Band]) -> Chart:
    p50 = [(row.t_s + 0.5, row.p50_ms) for row in rows if row.p99_ms]
    p99 = [(row.t_s + 0.5, row.p99_ms) for row in rows if row.p99_ms]
    values = [value for _, value in (*p50, *p99)] or [1.0, 10.0]
    return Chart(
        "Fan-out latency per second",
        linear(0, span_s, LEFT, WIDTH - RIGHT, " s"),
        logarithmic(max(FLOOR_MS, min(values)), max(values), 220 - BOTTOM, TOP, " ms"),
        [Line("fan-out p99", p99, 2), Line("fan-out p50", p50, 1)],
        height=220,
        bands=bands,
    )


def _traffic_chart(rows: list[Second], span_s: float, bands: list[Band]) -> Chart:
    delivered = [(row.t_s + 0.5, float(row.delivered)) for row in rows]
    most = max(value for _, value in delivered)
    return Chart(
        "Receipts per second",
        linear(0, span_s, LEFT, WIDTH - RIGHT, " s"),
        linear(0, most * 1.1 or 1.0, 180 - BOTTOM, TOP),
        [Line("receipts per second", delivered, 3, filled=True)],
        height=180,
        bands=bands,
    )


def _presence_chart(rows: list[Second], span_s: float, bands: list[Band]) -> Chart:
    here = [(row.t_s + 0.5, float(row.connected)) for row in rows]
    away = [(row.t_s + 0.5, float(row.reconnecting)) for row in rows]
    most = max(value for _, value in (*here, *away))
    return Chart(
        "Clients connected and reconnecting",
        linear(0, span_s, LEFT, WIDTH - RIGHT, " s"),
        linear(0, most * 1.15 or 1.0, 180 - BOTTOM, TOP),
        [Line("connected", here, 1, filled=True), Line("away or catching up", away, 4, filled=True)],
        height=180,
        x_label="seconds of load",
        bands=bands,
    )


def reconnect_curve(result: Result) -> str:
    """How many of those cut off were connected, and caught up, so long after they were allowed back."""
    storm = result.reconnect
    if not storm.drops or not storm.time_to_reconnect.hdr:
        return ""
    lines = [
        Line("connected", _share_by_time(storm.time_to_reconnect, storm.drops), 1, stepped=True),
        Line("caught up", _share_by_time(storm.time_to_caught_up, storm.drops), 2, dashed=True, stepped=True),
    ]
    longest_ms = max(point[0] for line in lines for point in line.points)
    height = 240
    scale, unit = (1000.0, " s") if longest_ms >= 1000 else (1.0, " ms")
    lines = [replace(line, points=[(x / scale, y) for x, y in line.points]) for line in lines]
    chart = Chart(
        "Share of dropped clients that were back, by time",
        linear(0, longest_ms / scale, LEFT, WIDTH - RIGHT, unit),
        linear(0, 100, height - BOTTOM, TOP, " %"),
        lines,
        height=height,
        x_label="after the client was allowed back",
    )
    missing = f" {storm.censored:,} of {storm.drops:,} were not back when the window closed."
    return _figure(
        "Coming back",
        chart,
        "Share of the dropped clients that were connected again, and that held everything they had missed."
        + (missing if storm.censored else ""),
    )


def _curve(latency: Latency) -> Points:
    histogram = Histogram.decode(latency.hdr)
    nines = len(str(latency.count)) - 1
    marks = [100 * (1 - 10 ** (-step / STEPS_PER_NINE)) for step in range(nines * STEPS_PER_NINE + 1)]
    return [(mark, max(FLOOR_MS, value_ms)) for mark, value_ms in histogram.curve(marks)]


def _share_by_time(latency: Latency, drops: int) -> Points:
    if not latency.hdr:
        return [(0.0, 0.0)]
    back = 100 * latency.count / drops
    curve = Histogram.decode(latency.hdr).curve(range(1, 101))
    return [(0.0, 0.0), *((value_ms, back * percent / 100) for percent, value_ms in curve)]


def _figure(title: str, chart: Chart, note: str = "") -> str:
    said = f"<figcaption>{escape(note)}</figcaption>" if note else ""
    figure = f"<figure>{legend(chart.lines)}{draw(chart)}{said}</figure>"
    return f"<section><h2>{escape(title)}</h2>{figure}</section>"
