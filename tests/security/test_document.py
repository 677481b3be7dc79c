"""docs/SECURITY.md names files, tests and settings: all of them exist."""

import re
from pathlib import Path

import pytest

from backend.app.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs" / "SECURITY.md").read_text()
MADE_AT_RUN_TIME = {"data/jwt-secret"}
NAMED = sorted(set(re.findall(r"`([a-z]+/[\w/.-]+(?:::\w+)?)`", TEXT)) - MADE_AT_RUN_TIME)
SETTINGS = sorted(set(re.findall(r"`(?:VOUCHSTORM_)?([A-Z][A-Z0-9_]{5,})(?:=\d+)?`", TEXT)))
OUR_OWN = {"FLOOD_ROUNDS", "FUZZ_FACTOR", "CLIENT_RULES", "SERVER_RULES", "ROOM_RULES", "INCRBY"}


@pytest.mark.parametrize("name", NAMED)
def test_what_is_named_exists(name: str) -> None:
    path, _, test = name.partition("::")
    found = [place for place in (ROOT / path, ROOT / "backend" / "app" / path) if place.exists()]
    assert found
    assert f"def {test}(" in found[0].read_text() if test else True


@pytest.mark.parametrize("name", [name for name in SETTINGS if name not in OUR_OWN])
def test_settings_that_are_named_exist(name: str) -> None:
    assert name.lower() in Settings.model_fields


def test_enough_is_named() -> None:
    assert len(NAMED) > 40
