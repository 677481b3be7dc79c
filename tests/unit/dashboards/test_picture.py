"""Pictures of boards, the configuration for given targets."""

import json
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashboards.boards import BOARDS
from dashboards.model import Board, Query, Unit
from dashboards.picture import Curve, nice, render, shown, stacked
from dashboards.prometheus_server import write_config

ANSWER = {"metric": {"instance": "a:1"}, "values": [[10, "1.5"], [11, "NaN"], [12, "2"]]}


def test_a_curve_is_named_by_the_legend_and_has_no_gaps_in_it() -> None:
    curve = Curve.of(Query("x", "node {{instance}} {{gone}}"), ANSWER)
    assert (curve.name, curve.points) == ("node a:1", [(10.0, 1.5), (12.0, 2.0)])


def test_a_curve_ends_where_it_is_told_to() -> None:
    assert Curve("x", [(1, 1), (2, 2), (3, 3)]).until(2).points == [(1, 1), (2, 2)]


def test_stacked_curves_lie_on_top_of_each_other() -> None:
    piled = stacked([Curve("a", [(1, 1), (2, 1)]), Curve("b", [(1, 2), (3, 5)])])
    assert [curve.points for curve in piled] == [[(1, 1), (2, 1)], [(1, 3), (3, 5)]]


@pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.uid)
def test_a_picture_is_well_formed_and_names_every_panel(board: Board) -> None:
    curves = {panel.title: [Curve("<b>&", [(0.0, 0.0), (1.0, 3.0)])] for panel in board.panels}
    texts = {element.text for element in ET.fromstring(render(board, curves)).iter()}  # noqa: S314 - our own
    assert {panel.title for panel in board.panels} <= texts


@pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.uid)
def test_a_panel_without_data_says_so(board: Board) -> None:
    assert render(board, {}).count("no data") == len(list(board.panels))


@given(st.floats(1e-6, 1e12))
def test_an_axis_ends_above_its_values_and_not_far_above(value: float) -> None:
    assert value * 0.999999 <= nice(value) <= value * 2.6


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.0123, Unit.SECONDS, "12.3 ms"),
        (2.5, Unit.SECONDS, "2.5 s"),
        (0.995, Unit.SHARE, "99.5 %"),
        (1500, Unit.PER_SECOND, "1.5 k/s"),
        (1_000_000, Unit.COUNT, "1 M"),
        (3 * 2**20, Unit.BYTES, "3 MiB"),
        (7, Unit.COUNT, "7"),
    ],
)
def test_values_are_shown_for_people(value: float, unit: Unit, text: str) -> None:
    assert shown(value, unit) == text


# -------------------------------------------------------------- the configuration


def test_the_configuration_is_copied_with_its_rules(tmp_path: Path) -> None:
    path = write_config(tmp_path, {"nodes": ["h:1", "h:2"]})
    assert "rules/alerts.yml" in path.read_text()
    assert (tmp_path / "rules" / "alerts.yml").exists()


def test_targets_are_where_they_were_said_to_be(tmp_path: Path) -> None:
    write_config(tmp_path, {"nodes": ["h:1", "h:2"]})
    read = {
        name: json.loads((tmp_path / "targets" / f"{name}.json").read_text()) for name in ("nodes", "locust")
    }
    assert read == {"nodes": [{"targets": ["h:1", "h:2"]}], "locust": []}


def test_the_interval_can_be_shortened(tmp_path: Path) -> None:
    text = write_config(tmp_path, {}, interval_s=1).read_text()
    assert "scrape_interval: 1000ms" in text
    assert "scrape_interval: 5s" not in text
