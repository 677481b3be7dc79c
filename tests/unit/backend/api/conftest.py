"""The REST room with two people in it. A module that needs other settings makes its own `world`."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.backend.rest_app import Person, World, rest_world


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with rest_world(tmp_path) as made:
        yield made


@pytest.fixture
async def anna(world: World) -> Person:
    return await world.person("anna")


@pytest.fixture
async def bert(world: World) -> Person:
    return await world.person("bert")
