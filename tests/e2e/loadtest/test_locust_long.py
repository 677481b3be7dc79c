"""Load tests by Locust that take minutes or the whole machine: run with `-m slow`."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from simulator.processes import free_port
from simulator.report.files import read_result
from tests.support.locust_runs import (
    DEADLINE_S,
    PUSHED,
    ROOT,
    Backend,
    end,
    entries,
    page,
    running_backend,
    whole_run,
)
from tests.support.waiting import wait_until

pytestmark = pytest.mark.slow


@pytest.fixture
def backend(tmp_path: Path) -> Iterator[Backend]:
    home = tmp_path / "backend"
    home.mkdir()
    with running_backend(home) as running:
        yield running


def test_a_long_run_of_two_workers_loses_nothing(tmp_path: Path) -> None:
    run = whole_run(
        tmp_path,
        seen=lambda text: "locust_users 200.0" in text and PUSHED in text,
        users=200,
        duration_s=40,
        processes=2,
        drop_every_s=5,
    )
    ledger = run.result.ledger
    assert run.status == run.result.exit_code
    assert (ledger.lost, ledger.misrouted, ledger.balanced) == (0, 0, True)
    assert run.result.connections.established == 160
    assert run.result.reconnect.drops > 100


@pytest.mark.parametrize("shape", ["ramp", "spike", "storm", "soak"])
def test_every_shape_ends_with_nothing_lost(backend: Backend, tmp_path: Path, shape: str) -> None:
    process = backend.load(tmp_path, users=30, spawn_rate=30, shape=shape, duration_s=12, think_s=0.5)
    end(process)
    result = read_result(tmp_path / "result.json")
    assert (result.ledger.lost, result.ledger.misrouted, result.ledger.balanced) == (0, 0, True)
    assert result.connections.peak >= 20


def test_a_backend_that_dies_ends_neither_in_a_pass_nor_in_a_hang(backend: Backend, tmp_path: Path) -> None:
    port = free_port()
    process = backend.load(tmp_path, users=15, duration_s=7, think_s=0.5, metrics_port=port)
    wait_until(lambda: PUSHED in page(port), "pushes", DEADLINE_S)
    backend.process.kill()
    assert end(process) in (1, 4)
    assert int(entries(tmp_path / "run")["disconnect"]["Failure Count"]) > 0


def test_a_push_costs_a_fraction_of_locusts_own_user() -> None:
    """CPU time, not time on the wall; the aim is a fifth, the bound leaves room for a busy machine."""
    size = ["--sizes", "300", "--contestants", "locust_ours,locust_own", "--repetitions", "1"]
    done = subprocess.run(
        [sys.executable, "-m", "loadtest.bench", "--clients", *size, "--json", "-"],
        cwd=ROOT,
        capture_output=True,
        timeout=250,
        check=True,
    )
    found = json.loads(done.stdout)["details"]["generators_cpu@300"]
    assert found["locust_own"]["median"] / found["locust_ours"]["median"] > 3
