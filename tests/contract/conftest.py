"""The stores under contract: each test of the suite runs once per store."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from store_records import StubClock, a_claim, a_user

from backend.app.domain.records import Claim, User
from backend.app.domain.trust import TrustPolicy
from backend.app.ports import Store
from backend.app.store.open import build_store

STORES = ["sqlite"]
TIMEOUT_S = 20.0

BuildStore = Callable[[], Store]


@pytest.fixture
def clock() -> StubClock:
    return StubClock()


@pytest.fixture(params=STORES)
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A place of its own for each test, empty at first."""
    return f"sqlite:///{tmp_path / 'store.db'}"


@pytest.fixture
def build(store_url: str, clock: StubClock) -> BuildStore:
    """Makes stores, not open yet, that share one place."""
    return lambda: build_store(store_url, trust_policy=TrustPolicy(), clock=clock, timeout_s=TIMEOUT_S)


@pytest.fixture
async def store(build: BuildStore) -> AsyncIterator[Store]:
    built = build()
    await built.open()
    try:
        yield built
    finally:
        await built.close()


@pytest.fixture
async def users(store: Store) -> list[User]:
    """ann, ben, cid and the owner of claims, all stored."""
    made = [a_user(name) for name in ("ann", "ben", "cid", "owner")]
    await store.create_users(made, "hash")
    return made


@pytest.fixture
async def claim(store: Store) -> Claim:
    """A stored open claim of `owner`, quorum 3."""
    made, _ = await store.create_claim(a_claim())
    return made
