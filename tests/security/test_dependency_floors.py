"""No locked dependency has a fault that we know of; the judge of that is no yes-man."""

import pytest
from packaging.version import Version

from tests.security.dependency_audit import Floor, Locked, below, floors, locked

LOCKED = locked()


@pytest.mark.parametrize("floor", floors(), ids=lambda floor: floor.name)
def test_no_locked_version_is_below_its_floor(floor: Floor) -> None:
    assert below(floor, LOCKED) == []


@pytest.mark.parametrize("floor", floors(), ids=lambda floor: floor.name)
def test_every_floor_concerns_something_that_is_locked(floor: Floor) -> None:
    assert [item for item in LOCKED if (item.ecosystem, item.name) == (floor.ecosystem, floor.name)]


def test_an_old_version_is_found() -> None:
    floor = Floor("python", "h11", Version("0.16.0"), "")
    old = Locked("python", "h11", Version("0.14.0"), "a file")
    assert below(floor, [*LOCKED, old]) == [old]


@pytest.mark.parametrize("ecosystem", ["python", "javascript"])
def test_the_lock_files_were_read(ecosystem: str) -> None:
    assert len([item for item in LOCKED if item.ecosystem == ecosystem]) > 30


def test_both_python_locks_were_read() -> None:
    assert {item.file for item in LOCKED} >= {"requirements/run.txt", "requirements/dev.txt"}
