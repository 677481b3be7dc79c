"""Comparing runs, and directories of their files: alike ones differ in nothing, planted changes are found."""

from collections.abc import Sequence
from itertools import permutations
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.compare import (
    METRICS,
    Comparison,
    Rules,
    compare,
    holm,
    p_value,
    ratio_interval,
    runs_needed,
    smallest_p,
)
from simulator.errors import ScenarioError
from simulator.histogram import Histogram
from simulator.report.files import read_runs, write_json
from simulator.result import Latency, Result, Verdict

NOISE = {"p50": 0.03, "p99": 0.06, "http": 0.05, "recovery": 0.08, "cpu": 0.03, "rss": 0.01}
"""Standard deviations of the logarithms, about those of repeated runs on one quiet machine."""


FEW = Rules(least_runs=3)
COMMON = {
    "verdict": "PASS",
    "exit_code": 0,
    "target": "http://127.0.0.1:1",
    "versions": {"vouchstorm": "1"},
    "host": {"cpus": 2},
    "started_at": "2026-01-01T00:00:00Z",
}


def latency(**values: float) -> dict[str, float]:
    return {"count": 1_000, **values}


def run(rng: np.random.Generator, slower: float = 1.0, noise: float = 1.0, **changes: Any) -> Result:
    """A synthetic run with realistic noise. slower: factor on the fan-out latencies."""

    def around(value: float, kind: str) -> float:
        return float(value * rng.lognormal(0, NOISE[kind] * noise))

    body: dict[str, Any] = {
        **COMMON,
        "scenario": {"name": "synthetic", "clients": 300},
        "seed": 1,
        "latency_ms": {
            "fanout": latency(p50=around(4, "p50") * slower, p99=around(20, "p99") * slower),
            "durable": latency(p99=around(30, "p99")),
            "http": latency(p99=around(15, "http")),
        },
        "reconnect": {
            "drops": 1_000,
            "reconnected": 1_000,
            "time_to_reconnect": latency(p95=around(900, "recovery")),
            "time_to_caught_up": latency(p95=around(950, "recovery")),
        },
        "server": {
            "managed": True,
            "cpu_us_per_delivery": around(12, "cpu"),
            "rss_bytes": int(around(9e7, "rss")),
        },
    }
    return Result.model_validate(body | changes)


def side(start: int, runs: int = 5, **how: Any) -> list[Result]:
    rng = np.random.default_rng(start)
    return [run(rng, **how) for _ in range(runs)]


def compared(baseline: Sequence[Result], candidate: Sequence[Result], rules: Rules = Rules()) -> Comparison:  # noqa: B008
    return compare(baseline, candidate, rules, np.random.default_rng(1))


@pytest.mark.parametrize("runs", [5, 10])
def test_identical_sets_show_no_change_in_19_of_20_seeds(runs: int) -> None:
    told = [compared(side(seed, runs), side(1_000 + seed, runs)) for seed in range(20)]
    assert sum(not each.worse and not each.better for each in told) >= 19


def test_false_alarms_stay_below_the_promised_share() -> None:
    """With five runs at most alpha in each of two families, 10 %; here 200 comparisons."""
    told = [compared(side(seed), side(9_000 + seed), Rules(resamples=200)) for seed in range(200)]
    assert sum(bool(each.worse or each.better) for each in told) <= 20


def test_a_ten_percent_change_is_found() -> None:
    told = [
        compared(side(seed, 10, noise=0.5), side(500 + seed, 10, slower=1.1, noise=0.5)) for seed in range(20)
    ]
    assert sum("fanout_p99_ms" in each.worse for each in told) >= 19


def test_five_quiet_runs_a_side_find_a_ten_percent_change() -> None:
    told = compared(side(1, 5, noise=0.2), side(2, 5, slower=1.1, noise=0.2))
    assert told.worse == ["fanout_p50_ms", "fanout_p99_ms"]


def test_a_two_percent_change_is_not_reported() -> None:
    told = [
        compared(side(seed, 10, noise=0.5), side(500 + seed, 10, slower=1.02, noise=0.5))
        for seed in range(20)
    ]
    assert sum("fanout_p99_ms" in each.worse for each in told) <= 1


def test_a_change_for_the_better_is_no_failure() -> None:
    told = compared(side(1, 8, noise=0.2), side(2, 8, slower=0.8, noise=0.2))
    assert (told.exit_code, told.better) == (0, ["fanout_p50_ms", "fanout_p99_ms"])


def test_a_change_for_the_worse_fails() -> None:
    assert compared(side(1, 8, noise=0.2), side(2, 8, slower=1.3, noise=0.2)).exit_code == 1


def test_the_smallest_effect_can_be_chosen() -> None:
    rules = Rules(min_effect=0.5)
    assert compared(side(1, 8, noise=0.2), side(2, 8, slower=1.3, noise=0.2), rules).worse == []


@pytest.mark.parametrize("name", ["lost", "misrouted"])
def test_one_lost_message_where_there_was_none_is_worse(name: str) -> None:
    candidate = [*side(2, 4), *side(3, 1, ledger={name: 1}, verdict="FAIL")]
    told = compared(side(1), candidate)
    assert (told.exit_code, told.worse) == (1, [name])


@pytest.mark.parametrize(("lost", "worse", "better"), [(7, [], []), (90, ["lost"], []), (0, [], ["lost"])])
def test_losing_is_compared_with_what_was_lost_before(lost: int, worse: list[str], better: list[str]) -> None:
    told = compared(side(1, ledger={"lost": 7}), side(2, ledger={"lost": lost}))
    assert (told.worse, told.better, told.exit_code) == (worse, better, 1 if worse else 0)


def test_a_server_that_died_is_worse() -> None:
    server = {"died": "it ended with signal SIGKILL"}
    assert "server_died" in compared(side(1), side(2, server=server)).worse


@pytest.mark.parametrize(("verdict", "counted"), [("INVALID", (2, 0)), ("INTERRUPTED", (0, 2))])
def test_runs_that_do_not_count_are_left_out_and_counted(verdict: str, counted: tuple[int, int]) -> None:
    told = compared([*side(1), *side(8, 2, slower=9, verdict=verdict)], side(2))
    assert (told.baseline.runs, told.baseline.invalid, told.baseline.interrupted) == (5, *counted)


def test_invalid_runs_do_not_move_the_medians() -> None:
    told = compared([*side(1), *side(8, 9, slower=9, verdict="INVALID")], side(1))
    assert [row.ratio for row in told.metrics] == pytest.approx([1] * len(told.metrics))


def test_every_verdict_has_its_place() -> None:
    assert set(get_args(Verdict)) == {"PASS", "FAIL", "INVALID", "INTERRUPTED"}


def test_fewer_than_five_valid_runs_are_refused() -> None:
    with pytest.raises(
        ScenarioError, match=r"The candidate has 4 valid runs of 5; 5 are needed .* add 1 more"
    ):
        compared(side(1), [*side(2, 4), *side(3, 1, verdict="INVALID")])


def test_both_sides_are_told_at_once() -> None:
    with pytest.raises(ScenarioError) as raised:
        compared(side(1, 2), side(2, 3))
    assert len(raised.value.problems) == 2


def test_too_few_runs_are_told_how_many_more() -> None:
    assert any(
        text.startswith("2 more runs a side") for text in compared(side(1, 3), side(2, 3), FEW).warnings
    )


def test_a_large_change_that_chance_could_explain_is_not_passed_over_in_silence() -> None:
    told = compared(side(1, 3, noise=0.1), side(2, 3, slower=1.5, noise=0.1), FEW)
    assert told.worse == []
    assert any(text.startswith("fanout_p99_ms moved by +") for text in told.warnings)


def test_five_like_runs_a_side_need_no_warning() -> None:
    assert compared(side(1), side(2)).warnings == []


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"scenario": {"name": "other"}}, "scenarios"),
        ({"host": {"cpus": 64}}, "hosts"),
        ({"seed": 2}, "seeds"),
        ({"generator": {"processes": 4}}, "load processes"),
    ],
)
def test_sides_that_differ_in_more_than_the_server_are_warned_about(
    change: dict[str, Any], word: str
) -> None:
    assert [word in text for text in compared(side(1), side(2, **change)).warnings] == [True]


def test_the_order_of_seeds_does_not_matter() -> None:
    rng = np.random.default_rng(3)
    runs = [run(rng, seed=seed) for seed in (1, 2, 3, 4, 5)]
    assert compared(runs, runs[::-1]).warnings == []


def test_what_was_measured_on_one_side_only_is_not_compared_and_said() -> None:
    told = compared(side(1), side(2, reconnect={}))
    assert [row.name for row in told.metrics if "reconnect" in row.name] == []
    assert any(text.startswith("reconnect_p95_ms was measured in 5") for text in told.warnings)


def test_clients_that_never_came_back_are_the_slowest_of_all() -> None:
    storm = {"drops": 1_000, "reconnected": 10, "time_to_caught_up": latency(p95=1.0) | {"count": 10}}
    told = compared(side(1), side(2, reconnect=storm))
    assert {"reconnect_p95_ms", "caught_up_p95_ms"} <= set(told.worse)


def test_five_runs_can_tell_a_change_in_every_metric() -> None:
    largest = max(sum(m.family == family for m in METRICS) for family in ("load", "recovery"))
    assert runs_needed(largest, Rules().alpha) <= 5


def test_the_document_survives_json() -> None:
    told = compared(side(1), side(2))
    assert Comparison.model_validate_json(told.model_dump_json()) == told


def test_the_smallest_p_is_that_of_full_separation() -> None:
    assert smallest_p(5, 5) == pytest.approx(p_value([1, 2, 3, 4, 5], [6, 7, 8, 9, 10]))


def test_equal_numbers_are_no_evidence() -> None:
    assert p_value([3, 3, 3], [3, 3, 3]) == 1


def test_the_correction_is_that_of_holm() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=5))
def test_the_correction_only_ever_raises_and_keeps_the_order(p_values: list[float]) -> None:
    corrected = holm(p_values)
    assert all(before <= after <= 1 for before, after in zip(p_values, corrected, strict=True))
    pairs = permutations(zip(p_values, corrected, strict=True), 2)
    assert all(a[1] <= b[1] for a, b in pairs if a[0] < b[0])


def test_the_interval_holds_the_ratio_of_like_samples() -> None:
    rng = np.random.default_rng(5)
    left, right = rng.lognormal(0, 0.1, 30).tolist(), rng.lognormal(0, 0.1, 30).tolist()
    low, high = ratio_interval(left, right, Rules(), rng)
    assert low < 1 < high


# -------------------------------------------------------------- directories of files with real histograms


RUNS = 5
SAMPLES = 4_000
RUN_TO_RUN = 0.02
"""Standard deviation of the logarithm of a run's level: how much quiet runs of one server differ."""


def counted(rng: np.random.Generator, median_ms: float, slower: float) -> Latency:
    """A long-tailed distribution, counted in a histogram as a run does it."""
    level = median_ms * slower * rng.lognormal(0, RUN_TO_RUN)
    found = Histogram()
    found.record_many((1_000 * level * rng.lognormal(0, 0.5, SAMPLES)).astype(np.int64))
    return found.latency()


def write_runs(directory: Path, seed: int, slower: float = 1.0, runs: int = RUNS) -> Path:
    """A directory of results of one scenario, run with seeds 1, 2, 3 ..."""
    rng = np.random.default_rng(seed)
    directory.mkdir()
    for number in range(1, runs + 1):
        result = Result.model_validate(
            {
                **COMMON,
                "scenario": {"name": "generated", "clients": 300},
                "seed": number,
                "latency_ms": {
                    "fanout": counted(rng, 4, slower),
                    "durable": counted(rng, 6, slower),
                    "http": counted(rng, 3, 1.0),
                },
                "server": {"managed": True, "cpu_us_per_delivery": 12 * rng.lognormal(0, RUN_TO_RUN)},
            }
        )
        write_json(result, str(directory / f"{number}.json"))
    return directory


def compared_files(tmp_path: Path, seed: int, slower: float) -> Comparison:
    before = write_runs(tmp_path / f"before-{seed}", seed)
    after = write_runs(tmp_path / f"after-{seed}", 10_000 + seed, slower)
    return compare(read_runs([before]), read_runs([after]), Rules(), np.random.default_rng(1))


def test_identical_servers_show_no_change_in_19_of_20_seeds(tmp_path: Path) -> None:
    told = [compared_files(tmp_path, seed, 1.0) for seed in range(20)]
    assert sum(not each.worse and not each.better for each in told) >= 19


def test_a_server_that_became_ten_percent_slower_is_found_in_19_of_20_seeds(tmp_path: Path) -> None:
    told = [compared_files(tmp_path, seed, 1.1) for seed in range(20)]
    assert sum("fanout_p50_ms" in each.worse and each.exit_code == 1 for each in told) >= 19


def test_runs_alike_need_no_warning(tmp_path: Path) -> None:
    assert compared_files(tmp_path, 1, 1.0).warnings == []


def test_a_directory_with_too_few_runs_is_told_how_many_are_missing(tmp_path: Path) -> None:
    before, after = write_runs(tmp_path / "before", 1), write_runs(tmp_path / "after", 2, runs=3)
    with pytest.raises(ScenarioError, match="add 2 more"):
        compare(read_runs([before]), read_runs([after]), Rules(), np.random.default_rng(1))
