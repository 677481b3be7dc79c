"""Writes the committed Grafana JSON from the boards, with the Grafana Foundation SDK.

python -m dashboards.build            write dashboards/grafana/*.json
python -m dashboards.build --check    write nothing; exit 1 when a file has drifted or is nobody's
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from grafana_foundation_sdk.builders import common as common_builders
from grafana_foundation_sdk.builders import dashboard, prometheus, stat, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import common
from grafana_foundation_sdk.models import dashboard as models

from simulator import interrupts

from .boards import BOARDS
from .model import Board, Kind, Limit, Mark, Panel, Query
from .promql import JOB

DATASOURCE_UID = "prometheus"
REFRESH = "5s"
SINCE = "now-15m"
TAG = "vouchstorm"
GOOD, WARNING, BAD = "green", "orange", "red"


def to_json(board: Board) -> str:
    """The dashboard document, ready to be provisioned; equal boards give equal text."""
    return JSONEncoder(sort_keys=True, indent=2).encode(_dashboard(board)) + "\n"


def _dashboard(board: Board) -> models.Dashboard:
    built = (
        dashboard.Dashboard(board.title)
        .uid(board.uid)
        .description(board.description)
        .tags([TAG])
        .editable()
        .refresh(REFRESH)
        .time(SINCE, "now")
        .timezone("browser")
        .tooltip(models.DashboardCursorSync.CROSSHAIR)
        .with_variable(_datasource_variable())
        .link(_links())
    )
    if board.by_node:
        built = built.with_variable(_node_variable())
    for mark in board.marks:
        built = built.annotation(_annotation(mark))
    for row in board.rows:
        built = built.with_row(dashboard.Row(row.title))
        for panel in row.panels:
            built = built.with_panel(_panel(panel))
    document = built.build()
    _number(document)
    return document


def _number(document: models.Dashboard) -> None:
    """Panels need ids that stay the same from build to build: links point at them."""
    for number, panel in enumerate(document.panels or [], 1):
        panel.id_val = number


def _source() -> models.DataSourceRef:
    return models.DataSourceRef(type_val="prometheus", uid="${datasource}")


def _datasource_variable() -> dashboard.DatasourceVariable:
    default = models.VariableOption(text="Prometheus", value=DATASOURCE_UID, selected=True)
    return dashboard.DatasourceVariable("datasource").label("Data source").type("prometheus").current(default)


def _node_variable() -> dashboard.QueryVariable:
    everything = models.VariableOption(text="All", value="$__all", selected=True)
    return (
        dashboard.QueryVariable("node")
        .label("Node")
        .datasource(_source())
        .query(f"label_values(vouchstorm_build_info{{{JOB}}}, instance)")
        .refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(models.VariableSort.ALPHABETICAL_ASC)
        .multi(True)
        .include_all(True)
        .all_value(".+")
        .current(everything)
    )


def _links() -> dashboard.DashboardLink:
    return (
        dashboard.DashboardLink("Vouchstorm")
        .type(models.DashboardLinkType.DASHBOARDS)
        .tags([TAG])
        .as_dropdown(True)
        .include_vars(True)
        .keep_time(True)
    )


def _annotation(mark: Mark) -> dashboard.AnnotationQuery:
    return (
        dashboard.AnnotationQuery()
        .name(mark.name)
        .datasource(_source())
        .expr(mark.expr)
        .enable(True)
        .icon_color(mark.color)
    )


def _panel(panel: Panel) -> Any:
    built = _number_panel() if panel.kind is Kind.NUMBER else _lines_panel(panel)
    built = (
        built.title(panel.title)
        .description(panel.description)
        .datasource(_source())
        .unit(panel.unit.value)
        .span(panel.width)
        .height(panel.height)
        .min(0)
    )
    if panel.limit is not None:
        built = built.thresholds(_thresholds(panel.limit))
    for number, query in enumerate(panel.queries):
        built = built.with_target(_target(query, chr(ord("A") + number)))
    return built


def _number_panel() -> Any:
    return (
        stat.Panel()
        .color_mode(common.BigValueColorMode.VALUE)
        .graph_mode(common.BigValueGraphMode.AREA)
        .reduce_options(common_builders.ReduceDataOptions().calcs(["lastNotNull"]))
    )


def _lines_panel(panel: Panel) -> Any:
    built = (
        timeseries.Panel()
        .line_width(1.5)
        .fill_opacity(25 if panel.stacked else 8)
        .show_points(common.VisibilityMode.NEVER)
        .span_nulls(False)
        .legend(
            common_builders.VizLegendOptions()
            .display_mode(common.LegendDisplayMode.LIST)
            .placement(common.LegendPlacement.BOTTOM)
            .show_legend(True)
        )
        .tooltip(
            common_builders.VizTooltipOptions()
            .mode(common.TooltipDisplayMode.MULTI)
            .sort(common.SortOrder.DESCENDING)
        )
    )
    if panel.stacked:
        built = built.stacking(common_builders.StackingConfig().mode(common.StackingMode.NORMAL))
    if panel.limit is not None:
        style = common_builders.GraphThresholdsStyleConfig().mode(common.GraphTresholdsStyleMode.DASHED)
        built = built.thresholds_style(style)
    return built


def _thresholds(limit: Limit) -> dashboard.ThresholdsConfig:
    if limit.low:
        steps = [(None, BAD), (limit.bad, WARNING), (limit.warn, GOOD)]
    else:
        steps = [(None, GOOD), (limit.warn, WARNING), (limit.bad, BAD)]
    return (
        dashboard.ThresholdsConfig()
        .mode(models.ThresholdsMode.ABSOLUTE)
        .steps([models.Threshold(value=value, color=color) for value, color in steps])
    )


def _target(query: Query, ref_id: str) -> prometheus.Dataquery:
    built = prometheus.Dataquery().expr(query.expr).ref_id(ref_id).range()
    return built.legend_format(query.legend) if query.legend else built


TARGET = Path(__file__).with_name("grafana")


def documents() -> dict[str, str]:
    """File name -> text of every dashboard."""
    return {f"{board.uid}.json": to_json(board) for board in BOARDS}


def drifted(directory: Path = TARGET) -> list[str]:
    """Names of files that are not what the code says: changed, missing, or left over."""
    wanted = documents()
    present = {path.name: path.read_text(encoding="utf-8") for path in directory.glob("*.json")}
    return sorted(name for name in wanted.keys() | present.keys() if wanted.get(name) != present.get(name))


def write(directory: Path = TARGET) -> list[str]:
    """Write all, remove what is left over; names of the files that changed."""
    changed = drifted(directory)
    wanted = documents()
    for name in changed:
        if name in wanted:
            (directory / name).write_text(wanted[name], encoding="utf-8")
        else:
            (directory / name).unlink()
    return changed


def main(arguments: Sequence[str]) -> int:
    """Write or check; the exit code."""
    if "--check" in arguments:
        names = drifted()
        for name in names:
            print(f"dashboards/grafana/{name} has drifted; run: python -m dashboards.build", file=sys.stderr)  # noqa: T201
        return 1 if names else 0
    for name in write():
        print(f"wrote dashboards/grafana/{name}")  # noqa: T201
    return 0


if __name__ == "__main__":
    interrupts.program(lambda: main(sys.argv[1:]), "dashboards")
