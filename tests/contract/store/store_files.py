"""Embedded stores as files: six users, two settled and two open claims."""

import sqlite3
from contextlib import closing
from pathlib import Path

from backend.app.store.sqlite.connection import connect_writer

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
