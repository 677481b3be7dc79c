"""Boards as values: complete, named after metrics that exist, and equal to the committed JSON."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashboards.boards import BOARDS
from dashboards.build import documents, drifted, write
from dashboards.check import (
    NOT_SHOWN,
    OF_PROMETHEUS,
    alerts,
    known_series,
    node_series,
    recorded_series,
    served_series,
    unknown,
    unused,
    uses,
)
from dashboards.check import main as check_main
from dashboards.model import Board, Kind, Panel
from dashboards.promql import busy, families_of, metrics_of, per_s, quantile, resolved

ROOT = Path(__file__).resolve().parents[3]
PANELS = [(board, panel) for board in BOARDS for panel in board.panels]
IDS = [f"{board.uid}-{panel.title}" for board, panel in PANELS]


def test_the_committed_dashboards_are_what_the_code_says() -> None:
    assert drifted() == []


def test_drift_is_found_and_mended(tmp_path: Path) -> None:
    write(tmp_path)
    changed, gone, foreign = "vouchstorm-bus.json", "vouchstorm-load.json", "old.json"
    (tmp_path / changed).write_text("{}")
    (tmp_path / gone).unlink()
    (tmp_path / foreign).write_text("{}")
    assert drifted(tmp_path) == sorted([changed, gone, foreign])
    write(tmp_path)
    assert drifted(tmp_path) == []


@pytest.mark.parametrize(("board", "panel"), PANELS, ids=IDS)
def test_a_panel_says_what_it_shows(board: Board, panel: Panel) -> None:
    assert panel.title
    assert panel.description.endswith(".")
    assert panel.queries


@pytest.mark.parametrize(("board", "panel"), PANELS, ids=IDS)
def test_several_series_have_names(board: Board, panel: Panel) -> None:
    assert panel.kind is Kind.NUMBER or len(panel.queries) == 1 or all(q.legend for q in panel.queries)


@pytest.mark.parametrize(("board", "panel"), PANELS, ids=IDS)
def test_the_node_variable_is_used_where_it_is_offered(board: Board, panel: Panel) -> None:
    about_nodes = any(metrics_of(query.expr) & (node_series() | OF_PROMETHEUS) for query in panel.queries)
    chosen = any("$node" in query.expr for query in panel.queries)
    assert chosen == (about_nodes and board.by_node)


@pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.uid)
def test_titles_are_unique_on_a_board(board: Board) -> None:
    titles = [panel.title for panel in board.panels]
    assert len(set(titles)) == len(titles)


def test_boards_have_their_own_addresses() -> None:
    assert len({board.uid for board in BOARDS}) == len(BOARDS) == 6


@pytest.mark.parametrize("name", documents())
def test_grafana_gets_what_it_needs(name: str) -> None:
    document = json.loads(documents()[name])
    panels = [panel for panel in document["panels"] if panel["type"] != "row"]
    assert all(target["expr"] for panel in panels for target in panel["targets"])
    assert all(panel["datasource"]["uid"] == "${datasource}" for panel in panels)
    assert len({panel["id"] for panel in document["panels"]}) == len(document["panels"])
    assert all(panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24 for panel in panels)


@pytest.mark.parametrize("name", documents())
def test_panels_do_not_overlap(name: str) -> None:
    taken: set[tuple[int, int]] = set()
    for panel in json.loads(documents()[name])["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        taken |= cells


# -------------------------------------------------------------- names


def test_every_metric_in_a_query_is_served_by_somebody() -> None:
    assert unknown(uses(), known_series()) == []


def test_every_metric_that_is_served_is_shown_or_excused() -> None:
    assert unused(uses(), served_series()) == []


def test_no_excuse_outlives_its_metric() -> None:
    assert families_of(NOT_SHOWN) <= families_of(served_series())
    used = families_of(name for use in uses() for name in metrics_of(use.expr))
    assert not families_of(NOT_SHOWN) & used


@pytest.mark.parametrize("name", sorted(node_series() & {n for u in uses() for n in metrics_of(u.expr)}))
def test_a_renamed_metric_makes_the_check_red(name: str) -> None:
    known = (known_series() - {name}) | {f"{name}_renamed"}
    assert any(missing == name for _, missing in unknown(uses(), known))


def test_a_metric_that_nobody_looks_at_makes_the_check_red() -> None:
    assert unused(uses(), served_series() | {"websocket_forgotten_total"}) == ["websocket_forgotten_total"]


def test_the_names_alone_are_green(capsys) -> None:
    assert check_main(["--names"]) == 0
    assert capsys.readouterr().out == ""


def test_recorded_series_are_known() -> None:
    assert recorded_series() <= known_series()


# -------------------------------------------------------------- promql


@pytest.mark.parametrize(
    ("expr", "names"),
    [
        ("up", {"up"}),
        ('sum by (le) (rate(x_bucket{a="b",c=~"d.+"}[5m]))', {"x_bucket"}),
        ('x{route="/api/{id}/y"} > 0.5 and on (instance) z', {"x", "z"}),
        ("histogram_quantile(0.99, sum by (le, class) (rate(y_bucket[$__rate_interval])))", {"y_bucket"}),
        ("1 - vouchstorm:push_slow:ratio_rate5m", {"vouchstorm:push_slow:ratio_rate5m"}),
        (
            'label_replace(0 * sum(a_total), "code", "none", "", "") or b_total offset 5m',
            {"a_total", "b_total"},
        ),
        ("max(a) / avg without (b) (c) unless d", {"a", "c", "d"}),
    ],
)
def test_metrics_are_read_off_a_query(expr: str, names: set[str]) -> None:
    assert metrics_of(expr) == names


names_ = st.from_regex(r"[a-z]{3,8}_(seconds|total)", fullmatch=True)


@given(name=names_, label=st.sampled_from(["code", "event", "class, reason"]))
def test_our_own_shapes_read_one_metric(name: str, label: str) -> None:
    assert metrics_of(per_s(name, by=label)) == {name}
    assert metrics_of(busy(name, by=label)) == {name}
    assert metrics_of(quantile(0.99, name, by=label)) == {f"{name}_bucket"}


def test_no_variable_is_left_in_what_prometheus_is_asked() -> None:
    for _, panel in PANELS:
        assert all("$" not in resolved(query.expr, window="10s") for query in panel.queries)


def test_endings_of_histograms_are_one_family() -> None:
    assert families_of(["a_seconds_bucket", "a_seconds_sum", "a_seconds_count", "b_total"]) == {
        "a_seconds",
        "b_total",
    }


# -------------------------------------------------------------- runbook


@pytest.mark.parametrize("rule", alerts(), ids=lambda rule: rule["alert"])
def test_an_alert_has_a_paragraph_that_says_what_to_do(rule) -> None:
    runbook = rule["annotations"]["runbook"]
    assert runbook == f"docs/WATCHING.md#{rule['alert'].lower()}"
    text = (ROOT / "docs" / "WATCHING.md").read_text()
    _, heading, rest = text.partition(f"\n### {rule['alert']}\n")
    assert heading
    assert len(rest.split("\n#")[0].split()) > 30


@pytest.mark.parametrize("rule", alerts(), ids=lambda rule: rule["alert"])
def test_an_alert_says_how_urgent_it_is(rule) -> None:
    assert rule["labels"]["severity"] in ("page", "ticket")
    assert rule["annotations"]["summary"]


def test_every_alert_is_in_a_unit_test_of_the_rules() -> None:
    tests = "".join(path.read_text() for path in (ROOT / "dashboards/rules/tests").glob("*.yml"))
    fired = {rule["alert"] for rule in alerts() if f"alertname: {rule['alert']}\n" in tests}
    assert fired == {rule["alert"] for rule in alerts()}
