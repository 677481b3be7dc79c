"""What a benchmark run measures: its options, who takes part, what fits into its time."""

from pathlib import Path

import pytest

from loadtest.bench.command import parse, plan_of
from loadtest.bench.plan import FULL, QUICK, Plan
from loadtest.bench.report import Record, Report, Source
from loadtest.bench.runner import Clock
from loadtest.bench.samples import Sample, Series

SOURCE = Source("command", "commit", "now", "quick", 1)


def test_only_narrows_the_plan() -> None:
    assert plan_of(parse(["--quick", "--only", "fanout,idle"])).only == {"fanout", "idle"}


def test_sizes_narrow_fan_out_burst_and_connect() -> None:
    plan = plan_of(parse(["--full", "--sizes", "5000"]))
    assert (plan.sizes, plan.burst_sizes, plan.connect_after) == ((5_000,), (5_000,), (5_000,))


def test_an_unknown_metric_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as refused:
        parse(["--only", "speed"])
    assert (refused.value.code, "speed is not one of" in capsys.readouterr().err) == (2, True)


@pytest.mark.parametrize("plan", [QUICK, FULL])
def test_every_plan_repeats_at_least_five_times(plan: Plan) -> None:
    assert plan.repetitions >= 5


@pytest.mark.parametrize("plan", [QUICK, FULL])
def test_every_plan_feeds_the_headlines(plan: Plan) -> None:
    measured = {f"fanout@{size}" for size in plan.sizes} | {f"burst@{size}" for size in plan.burst_sizes}
    measured |= {f"connect@{size}" for size in plan.connect_after}
    assert {"fanout@1000", "burst@1000", "connect@1000"} <= measured
    assert {"idle", "bus"} <= plan.only


@pytest.mark.parametrize(
    ("contestant", "metric", "takes_part"),
    [
        ("bare", "fanout@1000", True),
        ("bare", "connect@1000", False),
        ("bare", "fanout@5000", False),
        ("storeless", "connect@1000", True),
        ("storeless", "fanout@1000", False),
        ("node", "burst@5000", False),
        ("ours", "burst@5000", True),
        ("stock", "burst@1000", True),
        ("stock", "burst@5000", False),
        ("node", "idle_rss@5000", True),
        ("node", "bus@2", False),
        ("ours", "metrics_on@1000", True),
        ("floor", "metrics_on@1000", False),
    ],
)
def test_who_takes_part(contestant: str, metric: str, takes_part: bool) -> None:
    assert FULL.takes_part(contestant, metric) is takes_part


def test_the_first_trial_of_its_kind_fits_while_there_is_time() -> None:
    assert Clock(10.0).fits(("fanout", "ours"))


def test_a_trial_that_took_longer_than_what_is_left_does_not_fit() -> None:
    clock = Clock(10.0)
    clock.took(("fanout", "stock"), 11.0)
    assert [clock.fits(("fanout", name)) for name in ("stock", "ours")] == [False, True]


def test_a_record_is_two_files(tmp_path: Path) -> None:
    record = Record(tmp_path / "reports" / "bench.json")
    record.keep(Report().with_run(Series([Sample("bus@2", "ours", 1.0)]), SOURCE))
    assert sorted(path.name for path in (tmp_path / "reports").iterdir()) == ["bench.json", "bench.md"]


def test_a_record_is_read_back(tmp_path: Path) -> None:
    record = Record(tmp_path / "bench.json")
    record.keep(Report().with_run(Series([Sample("bus@2", "ours", 1.0)]), SOURCE))
    assert record.load().series.values("bus@2", "ours") == [1.0]


def test_a_file_that_is_no_record_is_refused_with_its_name(tmp_path: Path) -> None:
    path = tmp_path / "bench.json"
    path.write_text("{}")
    with pytest.raises(OSError, match=r"bench\.json cannot be added to"):
        Record(path).load()
