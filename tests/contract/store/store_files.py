"""Stores that are open for a block; embedded ones as files: six users, two settled and two open claims."""

import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

from backend.app.domain.trust import TrustPolicy
from backend.app.ports import Store
from backend.app.store.open import build_store
from backend.app.store.sqlite.connection import connect_writer
from tests.contract.store.store_records import StubClock

_VERSION_1 = Path(__file__).parent / "fixtures" / "store-version-1.sql"


def older_store(path: Path) -> Path:
    """As the program of schema version 1 left it."""
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(_VERSION_1.read_text(encoding="utf-8"))
    return path


def whole_store(directory: Path) -> Path:
    """The same, brought to this version."""
    path = older_store(directory / "store.db")
    connect_writer(path, 1).close()
    return path


def unopened(where: Path | str, timeout_s: float = 20.0) -> Store:
    """The store of this file or URL."""
    url = f"sqlite:///{where}" if isinstance(where, Path) else where
    return build_store(url, trust_policy=TrustPolicy(), clock=StubClock(), timeout_s=timeout_s)


@asynccontextmanager
async def opened(store: Store | Path | str, timeout_s: float = 20.0) -> AsyncIterator[Store]:
    """This store, or that of this file or URL; closed when the block ends."""
    held = store if isinstance(store, Store) else unopened(store, timeout_s)
    await held.open()
    try:
        yield held
    finally:
        await held.close()
