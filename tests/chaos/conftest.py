"""Rows of the fault suite are collected and written as they come; the page when the whole table ran."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from chaos_faults import FAULTS
from chaos_report import markdown, paste, write_json
from chaos_run import Row

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def take() -> Iterator[Callable[[Row], None]]:
    """Takes a row. The JSON holds what came so far, so that a run that is cut short leaves it."""
    taken: list[Row] = []

    def one(row: Row) -> None:
        taken.append(row)
        write_json(ROOT / "reports" / "chaos.json", taken)

    yield one
    if {row.fault for row in taken} == {fault.name for fault in FAULTS}:
        paste(ROOT / "docs" / "FAULTS.md", markdown(taken, datetime.now(UTC).date()))
