"""The report's figures: percentile curve, timeline with fault marks, reconnect curve. Pure; called by the
page.
"""

from collections.abc import Sequence
from dataclasses import replace
from html import escape

from ..histogram import Histogram
from ..result import FaultMark, Latency, Result, Second
from .charts import (
    BOTTOM,
    LEFT,
    RIGHT,
    TOP,
    WIDTH,
    Band,
    Chart,
    Line,
    Points,
    Rule,
    draw,
    legend,
    linear,
    logarithmic,
    percentiles,
)

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
