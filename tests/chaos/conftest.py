"""Rows of the fault suite are written as they come, so that a run that is cut short leaves what it has."""

import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.chaos.report import Report
from tests.chaos.run import Row
from tests.chaos.seeds import resumes

PAGE = Path(__file__).parents[2] / "docs" / "FAULTS.md"


@pytest.fixture
def take(testrun_uid: str) -> Callable[[Row], None]:
    """Takes a row: into the JSON, and into the page as soon as every fault has one."""
    report = Report.of_repository()

    def one(row: Row) -> None:
        report.add(row, None if resumes(os.environ) else testrun_uid)
        report.paste_if_whole(PAGE, datetime.now(UTC).date())

    return one
