"""The result of a benchmark run: JSON shape, tables, targets, what a further run replaces."""

import json
from typing import Any

import pytest

from loadtest.bench.report import Report, Source, document, markdown, read
from loadtest.bench.samples import Sample, Series

FIGURES = {
    "fanout@1000": {"ours": 6.0, "stock": 60.0, "node": 10.0, "floor": 5.0},
    "fanout@5000": {"ours": 6.6},
    "burst@1000": {"ours": 0.1, "node": 5.0, "floor": 6.0},
    "connect@1000": {"ours": 400.0, "stock": 900.0, "node": 500.0, "floor": 40.0},
    "idle_rss@2000": {"ours": 9.0, "stock": 41.0, "node": 20.0, "floor": 1.5},
    "bus@2": {"ours": 3.0, "stock": 40.0},
    "bus@8": {"ours": 3.6, "stock": 280.0},
    "metrics_on@1000": {"ours": 6.2},
    "metrics_off@1000": {"ours": 6.0},
    "scrape@5000": {"ours": 15.0},
}
SOURCE = Source("python -m loadtest.bench --quick", "abc1234", "2026-01-01T00:00:00+00:00", "quick", 3)


def samples_of(figures: dict[str, dict[str, float]], repetitions: int = 3) -> Series:
    return Series(
        [
            Sample(metric, name, value)
            for metric, contestants in figures.items()
            for name, value in contestants.items()
            for _ in range(repetitions)
        ]
    )


def a_report(**figures: dict[str, float]) -> Report:
    return Report().with_run(samples_of(figures or FIGURES), SOURCE)


def test_the_headlines_are_by_metric_and_contestant() -> None:
    result = document(a_report())
    assert {name: result[name] for name in ("fanout", "burst", "connect", "idle_kib")} == {
        "fanout": FIGURES["fanout@1000"],
        "burst": FIGURES["burst@1000"],
        "connect": FIGURES["connect@1000"],
        "idle_kib": FIGURES["idle_rss@2000"],
    }


def test_the_headlines_are_of_four_contestants() -> None:
    report = a_report(**{"connect@1000": {"ours": 400.0, "storeless": 350.0}})
    assert document(report)["connect"] == {"ours": 400.0}


def test_the_bus_is_by_contestant_and_number_of_nodes() -> None:
    assert document(a_report())["bus"] == {"ours": {"2": 3.0, "8": 3.6}, "stock": {"2": 40.0, "8": 280.0}}


@pytest.mark.parametrize(
    ("name", "figure"),
    [
        ("fanout_stock_over_ours", 10.0),
        ("fanout_growth", 1.1),
        ("bus_us_per_foreign", 0.1),
        ("metrics_on_over_off", 1.033),
        ("scrape_percent", 0.1),
    ],
)
def test_a_ratio_is_named_after_its_target(name: str, figure: float) -> None:
    assert document(a_report())["ratios"][name] == figure


def test_what_was_not_measured_has_no_ratio() -> None:
    assert "connect_growth" not in document(a_report())["ratios"]


def test_an_empty_report_has_every_headline() -> None:
    result = document(Report())
    assert [result[name] for name in ("fanout", "burst", "connect", "idle_kib", "bus")] == [{}] * 5


def test_the_details_hold_every_figure() -> None:
    assert document(a_report())["details"]["fanout@1000"]["node"]["values"] == [10.0, 10.0, 10.0]


def test_a_target_that_is_met_is_said_to_be() -> None:
    assert "| fan-out: stock / ours | >= 5 | 10.00 | met |" in markdown(a_report())


def test_a_target_that_is_missed_is_said_to_be() -> None:
    report = a_report(**{"idle_rss@2000": {"ours": 30.0}})
    assert "| idle socket: KiB of ours | <= 24 | 30.00 | missed |" in markdown(report)


def test_an_invalid_repetition_is_said_with_its_reason() -> None:
    report = Report().with_run(Series([Sample("burst@1000", "node", None, "3 clients miscounted")]), SOURCE)
    assert "Invalid: burst@1000 of node: 3 clients miscounted." in markdown(report)


def test_an_absent_peer_is_said_with_its_reason() -> None:
    assert "Not measured: node: not installed." in markdown(Report(absent={"node": "not installed"}))


def test_each_figure_is_beside_the_command_that_made_it() -> None:
    report = a_report(**{"burst@1000": {"ours": 1.0}})
    assert (
        "- `python -m loadtest.bench --quick` (abc1234, 2026-01-01T00:00:00+00:00): burst@1000."
        in markdown(report)
    )


def test_a_report_survives_its_document() -> None:
    series = Series([Sample("bus@2", "ours", 1.0), Sample("bus@2", "ours", None, "late")])
    written = document(a_report().with_run(series, SOURCE))
    assert document(read(json.loads(json.dumps(written)))) == written


def test_a_further_run_replaces_what_it_measured_and_nothing_else() -> None:
    grown = a_report().with_run(samples_of({"fanout@1000": {"ours": 7.0}}), SOURCE)
    result = document(grown)
    assert (result["fanout"], result["burst"]) == ({"ours": 7.0}, FIGURES["burst@1000"])


@pytest.mark.parametrize("found", [{}, {"schema_version": 1, "details": {}}])
def test_a_foreign_document_is_not_added_to(found: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="no result of this benchmark"):
        read(found)
