"""What the stack survives: every fault of the table under traffic, on its own full stack, once per seed.

`VOUCHSTORM_CHAOS_SEEDS` says how many seeds; 1 unless told. No time is asserted.
"""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from chaos_faults import FAULTS, Fault
from chaos_run import Row, run_under

SEEDS = range(1, 1 + int(os.environ.get("VOUCHSTORM_CHAOS_SEEDS", "1")))

pytestmark = [pytest.mark.chaos, pytest.mark.services, pytest.mark.timeout(300)]


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name.replace(" ", "-"))
async def test_nothing_is_lost(fault: Fault, seed: int, take: Callable[[Row], None], tmp_path: Path) -> None:
    row = await run_under(fault, seed, tmp_path)
    take(row)
    assert row.breaches == []
