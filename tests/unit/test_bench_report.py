"""The result of a benchmark run: JSON shape, tables, targets, who takes part."""

import dataclasses
from typing import Any

import pytest

from loadtest.bench.__main__ import parse, plan_of
from loadtest.bench.plan import FULL, QUICK
from loadtest.bench.report import Run, document, markdown
from loadtest.bench.series import Sample, Series
from loadtest.bench.targets import targets

FIGURES = {
    "fanout@1000": {"ours": 6.0, "stock": 60.0, "node": 10.0, "floor": 5.0},
    "burst@1000": {"ours": 0.1, "node": 5.0, "floor": 6.0},
    "connect@2000": {"ours": 400.0, "stock": 900.0, "node": 500.0, "floor": 40.0},
    "idle_rss": {"ours": 9.0, "stock": 41.0, "node": 20.0, "floor": 1.5},
}


def a_run(**changed: Any) -> Run:
    samples = [
        Sample(metric, name, value)
        for metric, figures in FIGURES.items()
        for name, value in figures.items()
        for _ in range(3)
    ]
    run = Run(QUICK, Series(samples), {}, {"ours": {"python": "3.11"}}, {"cpus": 2})
    return dataclasses.replace(run, **changed)


def test_the_headlines_are_by_metric_and_contestant() -> None:
    result = document(a_run())
    assert {name: result[name] for name in ("fanout", "burst", "connect", "idle_kib")} == {
        "fanout": FIGURES["fanout@1000"],
        "burst": FIGURES["burst@1000"],
        "connect": FIGURES["connect@2000"],
        "idle_kib": FIGURES["idle_rss"],
    }


def test_ratios_are_named_after_their_targets() -> None:
    assert document(a_run())["ratios"]["fanout_stock_over_ours"] == 10.0


def test_what_was_not_measured_has_no_ratio() -> None:
    assert "fanout_growth" not in document(a_run())["ratios"]


def test_the_details_hold_every_figure() -> None:
    assert document(a_run())["details"]["fanout@1000"]["node"]["values"] == [10.0, 10.0, 10.0]


def test_a_target_that_is_met_is_said_to_be() -> None:
    assert "| fan-out: stock / ours | >= 5 | 10.00 | met |" in markdown(a_run())


def test_a_target_that_is_missed_is_said_to_be() -> None:
    samples = [Sample("idle_rss", "ours", 30.0)]
    assert "| idle socket: KiB of ours | <= 24 | 30.00 | missed |" in markdown(a_run(series=Series(samples)))


def test_an_invalid_repetition_is_said_with_its_reason() -> None:
    samples = [Sample("burst@1000", "node", None, "3 clients miscounted")]
    assert "Invalid: burst@1000 of node: 3 clients miscounted." in markdown(a_run(series=Series(samples)))


def test_an_absent_peer_is_said_with_its_reason() -> None:
    assert "Not measured: node: not installed." in markdown(a_run(absent={"node": "not installed"}))


def test_only_narrows_the_plan() -> None:
    assert plan_of(parse(["--quick", "--only", "fanout,idle"])).only == {"fanout", "idle"}


def test_an_unknown_metric_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as refused:
        parse(["--only", "speed"])
    assert (refused.value.code, "speed is not one of" in capsys.readouterr().err) == (2, True)


@pytest.mark.parametrize("plan", [QUICK, FULL])
def test_every_plan_repeats_at_least_five_times(plan: Any) -> None:
    assert plan.repetitions >= 5


@pytest.mark.parametrize("plan", [QUICK, FULL])
def test_every_plan_feeds_the_headline_targets(plan: Any) -> None:
    measured = {f"fanout@{size}" for size in plan.sizes} | {f"burst@{size}" for size in plan.burst_sizes}
    assert {"fanout@1000", "burst@1000"} <= measured
    assert len({target.name for target in targets(plan)}) == len(targets(plan))


def test_the_bare_write_is_no_server_to_connect_to() -> None:
    assert [QUICK.takes_part("bare", metric) for metric in ("fanout@1000", "connect@2000")] == [True, False]
