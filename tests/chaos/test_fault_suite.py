"""What the stack survives: every fault of the table under traffic, on its own full stack, once per seed.

Which seeds, and whether a run that was cut short is continued: `chaos_seeds`. No time is asserted.
"""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.chaos.faults import Fault
from tests.chaos.report import Report
from tests.chaos.run import Row, run_under
from tests.chaos.seeds import due, faults_of, resumes, seeds_of

pytestmark = [pytest.mark.chaos, pytest.mark.services, pytest.mark.timeout(300)]

RUNS = due(
    faults_of(os.environ), seeds_of(os.environ), Report.of_repository().rows() if resumes(os.environ) else []
)


@pytest.mark.parametrize(
    ("fault", "seed"), RUNS, ids=[f"{fault.name.replace(' ', '-')}-{seed}" for fault, seed in RUNS]
)
async def test_nothing_is_lost(fault: Fault, seed: int, take: Callable[[Row], None], tmp_path: Path) -> None:
    row = await run_under(fault, seed, tmp_path)
    take(row)
    assert row.breaches == []
