"""Rows of the fault suite are collected and written when the session ends."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from chaos_faults import FAULTS
from chaos_report import markdown, paste, write_json
from chaos_run import Row

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def rows() -> Iterator[list[Row]]:
    """Takes the rows. The page is written only by a run of the whole table, the JSON always."""
    taken: list[Row] = []
    yield taken
    write_json(ROOT / "reports" / "chaos.json", taken)
    if {row.fault for row in taken} == {fault.name for fault in FAULTS}:
        paste(ROOT / "docs" / "FAULTS.md", markdown(taken, datetime.now(UTC).date()))
