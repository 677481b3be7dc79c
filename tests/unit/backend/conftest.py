"""The REST room with two people in it, a clock, a virtual loop. Other settings: a `world` of its own."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.support.backend.rest_app import ManualClock, Person, World, rest_world
from tests.support.virtual_loop import VirtualLoop


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


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def loop() -> Iterator[VirtualLoop]:
    with VirtualLoop() as made:
        yield made
