"""The stores under contract: each test of the suite runs once per store."""

import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient

from backend.app.domain.records import Claim, User
from backend.app.domain.trust import TrustPolicy
from backend.app.errors import SetupError
from backend.app.ports import Store
from backend.app.store.open import build_store
from tests.contract.store.store_files import opened
from tests.contract.store.store_records import BuildStore, StubClock, a_claim, a_user
from tests.support.services import Mongod, emptied, running_mongod

STORES = [
    "sqlite",
    pytest.param("motor", marks=pytest.mark.services),
    pytest.param("pymongo", marks=pytest.mark.services),
]
TIMEOUT_S = 20.0


@pytest.fixture
def clock() -> StubClock:
    return StubClock()


@pytest.fixture(scope="session")
def mongod() -> Iterator[Mongod]:
    """One real server for the session; without its program the tests skip, in CI they fail."""
    try:
        with running_mongod() as server:
            yield server
    except SetupError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def mongo_client(mongod: Mongod) -> Iterator[MongoClient[dict[str, Any]]]:
    """An independent client, to prepare and to look behind the store's back."""
    with MongoClient(mongod.url()) as client:
        yield client


@pytest.fixture(params=STORES)
def backend(request: pytest.FixtureRequest) -> str:
    """Which store: the embedded one, or MongoDB by one of its two drivers."""
    name: str = request.param
    return name


@pytest.fixture
def store_url(backend: str, tmp_path: Path, request: pytest.FixtureRequest) -> str:
    """An empty place for each test."""
    if backend == "sqlite":
        return f"sqlite:///{tmp_path / 'store.db'}"
    client = request.getfixturevalue("mongo_client")
    server = request.getfixturevalue("mongod")
    return str(server.url(emptied(client, f"contract_{backend}")))


@pytest.fixture
def build(backend: str, store_url: str, clock: StubClock) -> BuildStore:
    """Makes stores, not open yet, that share one place."""
    driver: Any = "motor" if backend == "sqlite" else backend
    return lambda: build_store(
        store_url, trust_policy=TrustPolicy(), clock=clock, timeout_s=TIMEOUT_S, mongo_driver=driver
    )


@pytest.fixture
async def store(build: BuildStore) -> AsyncIterator[Store]:
    async with opened(build()) as built:
        yield built


@pytest.fixture
async def users(store: Store) -> list[User]:
    """ann, ben, cid and the owner of claims, all stored."""
    made = [a_user(name) for name in ("ann", "ben", "cid", "owner")]
    await store.users.create_users(made, "hash")
    return made


@pytest.fixture
async def claim(store: Store) -> Claim:
    """A stored open claim of `owner`, quorum 3."""
    made, _ = await store.claims.create_claim(a_claim())
    return made
