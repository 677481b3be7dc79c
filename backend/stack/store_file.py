"""The file of an embedded store, opened beside the nodes that use it: is it there, ours, whole?

Refuses, each in one sentence, what is not. Called by `backup` and `data_doctor`; the nodes themselves open it
by `app.store.sqlite_file`.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from ..app.errors import SetupError
from ..app.store.schema import APPLICATION_ID, MIGRATIONS

BUSY_S = 5.0
"""How long another's lock is waited for."""
LOCKED = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def path_of(store_url: str) -> Path:
    """The file of an embedded store. Raises SetupError for MongoDB."""
    if not store_url.startswith("sqlite:///"):
        raise SetupError(
            "This works on the embedded store; for MongoDB use mongodump and mongorestore, or snapshots of "
            "its volumes."
        )
    return Path(store_url.removeprefix("sqlite:///"))


def error_code(error: sqlite3.Error) -> int:
    """SQLite's result code without its extension; 0 for errors of the Python module."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


@contextmanager
def opened_file(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection to a file that exists. Raises SetupError."""
    if not path.is_file():
        raise SetupError(f"There is no store {path}; name it with --data-dir or --store-url.")
    with closing(sqlite3.connect(path, timeout=BUSY_S, isolation_level=None)) as connection:
        try:
            connection.execute("PRAGMA schema_version")
        except sqlite3.Error as error:
            if error_code(error) in LOCKED:
                raise SetupError(f"Another process holds {path}; try again.") from error
            raise SetupError(f"{path} is not an SQLite database, or a damaged one ({error}).") from error
        yield connection


def check_ours(connection: sqlite3.Connection, path: Path, *, exact: bool) -> None:
    """Raises SetupError for a file of another program or a newer version; exact: of an older one, too."""
    (application_id,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if application_id != APPLICATION_ID:
        raise SetupError(f"{path} is not a store of Vouchstorm.")
    if version > len(MIGRATIONS):
        raise SetupError(
            f"{path} has schema version {version}, but this program only knows {len(MIGRATIONS)}; "
            "use the Vouchstorm version that wrote it, or a newer one."
        )
    if exact and version < len(MIGRATIONS):
        raise SetupError(
            f"{path} has schema version {version}; start a node once, it migrates the store to "
            f"{len(MIGRATIONS)}."
        )


def check_whole(connection: sqlite3.Connection, path: Path) -> None:
    """Raises SetupError when pages, indexes or references are damaged."""
    try:
        said = [row[0] for row in connection.execute("PRAGMA integrity_check(1)")]
        broken = connection.execute("PRAGMA foreign_key_check").fetchone()
    except sqlite3.DatabaseError as error:
        said, broken = [str(error)], None
    if said != ["ok"] or broken is not None:
        reason = said[0] if said != ["ok"] else "rows refer to rows that do not exist"
        raise SetupError(f"{path} is damaged ({reason}); use another backup.")
