"""Comparing directories of result files with real histograms, as `vouchstorm compare` reads them."""

from pathlib import Path

import numpy as np
import pytest

from simulator.compare import Comparison, Rules, compare
from simulator.errors import ScenarioError
from simulator.histogram import Histogram
from simulator.report.files import read_runs, write_json
from simulator.result import Latency, Result

RUNS = 5
SAMPLES = 4_000
RUN_TO_RUN = 0.02
"""Standard deviation of the logarithm of a run's level: how much quiet runs of one server differ."""


def latency(rng: np.random.Generator, median_ms: float, slower: float) -> Latency:
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
                "verdict": "PASS",
                "exit_code": 0,
                "scenario": {"name": "generated", "clients": 300},
                "seed": number,
                "target": "http://127.0.0.1:1",
                "versions": {"vouchstorm": "1"},
                "host": {"cpus": 2},
                "started_at": "2026-01-01T00:00:00Z",
                "latency_ms": {
                    "fanout": latency(rng, 4, slower),
                    "durable": latency(rng, 6, slower),
                    "http": latency(rng, 3, 1.0),
                },
                "server": {"managed": True, "cpu_us_per_delivery": 12 * rng.lognormal(0, RUN_TO_RUN)},
            }
        )
        write_json(result, str(directory / f"{number}.json"))
    return directory


def compared(tmp_path: Path, seed: int, slower: float) -> Comparison:
    before = write_runs(tmp_path / f"before-{seed}", seed)
    after = write_runs(tmp_path / f"after-{seed}", 10_000 + seed, slower)
    return compare(read_runs([before]), read_runs([after]), Rules(), np.random.default_rng(1))


def test_identical_servers_show_no_change_in_19_of_20_seeds(tmp_path: Path) -> None:
    told = [compared(tmp_path, seed, 1.0) for seed in range(20)]
    assert sum(not each.worse and not each.better for each in told) >= 19


def test_a_server_that_became_ten_percent_slower_is_found_in_19_of_20_seeds(tmp_path: Path) -> None:
    told = [compared(tmp_path, seed, 1.1) for seed in range(20)]
    assert sum("fanout_p50_ms" in each.worse and each.exit_code == 1 for each in told) >= 19


def test_runs_alike_need_no_warning(tmp_path: Path) -> None:
    assert compared(tmp_path, 1, 1.0).warnings == []


def test_a_directory_with_too_few_runs_is_told_how_many_are_missing(tmp_path: Path) -> None:
    before, after = write_runs(tmp_path / "before", 1), write_runs(tmp_path / "after", 2, runs=3)
    with pytest.raises(ScenarioError, match="add 2 more"):
        compare(read_runs([before]), read_runs([after]), Rules(), np.random.default_rng(1))
