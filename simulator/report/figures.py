"""The report's figures: percentile curve, timeline with fault marks, reconnect curve. Pure; called by the
page.
"""

from html import escape

from ..histogram import Histogram
from ..result import Latency, Result, Second
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
    draw,
    legend,
    linear,
    logarithmic,
    percentiles,
)

CURVES = (("fanout", "fan-out, all messages"), ("durable", "bell (durable)"), ("http", "publishing request"))
STEPS_PER_NINE = 24
FLOOR_MS = 0.05


def percentile_curve(result: Result) -> str:
    """Latency by percentile, both axes logarithmic: the tail is what the figure is for."""
    named = [(label, result.latency_ms[key]) for key, label in CURVES if key in result.latency_ms]
    drawn = [(label, latency) for label, latency in named if latency.count]
    if not drawn:
        return ""
    lines = [Line(label, _curve(latency), tone) for tone, (label, latency) in enumerate(drawn, 1)]
    height = 300
    last = max(point[0] for line in lines for point in line.points)
    values = [max(FLOOR_MS, point[1]) for line in lines for point in line.points]
    chart = Chart(
        "Latency in milliseconds by percentile",
        percentiles(last, LEFT, WIDTH - RIGHT),
        logarithmic(min(values), max(values) * 1.2, height - BOTTOM, TOP, " ms"),
        lines,
        height=height,
        x_label="share of receipts that were at least as fast",
    )
    return _figure("Latency by percentile", chart)


def timeline(result: Result) -> str:
    """Latency, traffic and presence by the second, with the faults behind them."""
    rows = result.timeline
    if not rows:
        return ""
    span_s = float(rows[-1].t_s + 1)
    bands = [
        Band(
            mark.at_s, min(span_s, max(mark.until_s, mark.at_s + 0.2)), f"{mark.kind}: {mark.clients} clients"
        )
        for mark in result.faults
    ]
    unlabelled = [Band(band.start, band.end, "") for band in bands]
    charts = (
        _latency_chart(rows, span_s, bands),
        _traffic_chart(rows, span_s, unlabelled),
        _presence_chart(rows, span_s, unlabelled),
    )
    content = "".join(f"{legend(chart.lines)}{draw(chart)}" for chart in charts)
    return f"<section><h2>Timeline</h2><figure>{content}</figure></section>"


def _latency_chart(rows: list[Second], span_s: float, bands: list[Band]) -> Chart:
    p50 = [(row.t_s + 0.5, row.p50_ms) for row in rows if row.p99_ms]
    p99 = [(row.t_s + 0.5, row.p99_ms) for row in rows if row.p99_ms]
    values = [value for _, value in (*p50, *p99)] or [1.0, 10.0]
    return Chart(
        "Fan-out latency per second",
        linear(0, span_s, LEFT, WIDTH - RIGHT, " s"),
        logarithmic(max(FLOOR_MS, min(values)), max(values) * 1.3, 220 - BOTTOM, TOP, " ms"),
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
    if not storm.drops or not storm.time_to_reconnect.count:
        return ""
    lines = [
        Line("connected", _share_by_time(storm.time_to_reconnect, storm.drops), 1, stepped=True),
        Line("caught up", _share_by_time(storm.time_to_caught_up, storm.drops), 2, stepped=True),
    ]
    longest_ms = max(point[0] for line in lines for point in line.points)
    height = 240
    chart = Chart(
        "Share of dropped clients that were back, by time",
        linear(0, longest_ms, LEFT, WIDTH - RIGHT, " ms"),
        linear(0, 100, height - BOTTOM, TOP, " %"),
        lines,
        height=height,
        x_label="after the client was allowed back",
    )
    missing = f"{storm.censored:,} of {storm.drops:,} were not back when the window closed."
    return _figure("Coming back", chart, missing if storm.censored else "")


def _curve(latency: Latency) -> Points:
    histogram = Histogram.decode(latency.hdr)
    nines = len(str(latency.count)) - 1
    marks = [100 * (1 - 10 ** (-step / STEPS_PER_NINE)) for step in range(nines * STEPS_PER_NINE + 1)]
    return [(mark, max(FLOOR_MS, value_ms)) for mark, value_ms in histogram.curve(marks)]


def _share_by_time(latency: Latency, drops: int) -> Points:
    if not latency.count:
        return [(0.0, 0.0)]
    back = 100 * latency.count / drops
    curve = Histogram.decode(latency.hdr).curve(range(1, 101))
    return [(0.0, 0.0), *((value_ms, back * percent / 100) for percent, value_ms in curve)]


def _figure(title: str, chart: Chart, note: str = "") -> str:
    said = f"<figcaption>{escape(note)}</figcaption>" if note else ""
    figure = f"<figure>{legend(chart.lines)}{draw(chart)}{said}</figure>"
    return f"<section><h2>{escape(title)}</h2>{figure}</section>"
