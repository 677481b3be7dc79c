"""The SQLite file: connections, the format check and migrations, rows in and out by column name.

Refuses files of another program, of a newer Vouchstorm, and places where no file can be. Called by
`SqliteStore` and the `sqlite_*` modules, always on a lane's thread.
"""

import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson

from ...errors import SetupError, UnavailableError
from ..rows import Document
from ..schema import APPLICATION_ID, MIGRATIONS, Table

Connection = sqlite3.Connection

_RETRY_PAUSE_S = 0.02


def connect_writer(path: Path, timeout_s: float) -> Connection:
    """A connection that creates or migrates the file where needed.

    Raises:
        SetupError: with the sentence that says what to change.
        UnavailableError: another process held the file for longer than the timeout.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SetupError(
            f"Cannot create the directory {path.parent} for the store ({error.strerror}); "
            "choose another with VOUCHSTORM_STORE_URL or VOUCHSTORM_DATA_DIR."
        ) from error
    with _opened(path, timeout_s) as connection:
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")
        migrate(connection, path)
        _use_wal(connection, timeout_s)
        return connection


def connect_reader(path: Path, timeout_s: float) -> Connection:
    """A connection that cannot write; the writer has opened the file before."""
    with _opened(path, timeout_s) as connection:
        connection.execute("PRAGMA query_only = ON")
        return connection


@contextmanager
def _opened(path: Path, timeout_s: float) -> Iterator[Connection]:
    """A connection to be set up: it stays open unless that fails."""
    try:
        connection = sqlite3.connect(path, timeout=timeout_s, isolation_level=None, cached_statements=256)
    except sqlite3.Error as error:
        raise _setup_failure(error, path) from error
    try:
        # The first read meets a file that is not a database here, and not in the middle of a request.
        connection.execute("PRAGMA schema_version")
        yield connection
    except BaseException as error:
        connection.close()
        if isinstance(error, sqlite3.Error):
            raise _setup_failure(error, path) from error
        raise


def _use_wal(connection: Connection, timeout_s: float) -> None:
    """Switch to write-ahead logging; SQLite itself does not wait while another process does the same."""
    deadline_s = time.monotonic() + timeout_s
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if not _is_busy(error) or time.monotonic() > deadline_s:
                raise
            time.sleep(_RETRY_PAUSE_S)


def _primary_code(error: sqlite3.Error) -> int | None:
    """SQLite's result code without its extension; None for errors of the Python module."""
    code = getattr(error, "sqlite_errorcode", None)
    return None if code is None else code & 0xFF


def _is_busy(error: sqlite3.Error) -> bool:
    return _primary_code(error) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def _setup_failure(error: sqlite3.Error, path: Path) -> SetupError | UnavailableError:
    if _is_busy(error):
        return UnavailableError(f"Another process holds the store {path}.")
    if _primary_code(error) == sqlite3.SQLITE_NOTADB:
        return SetupError(f"{path} is not an SQLite database; choose another file with VOUCHSTORM_STORE_URL.")
    return SetupError(
        f"Cannot open the store {path} ({error}); check the path, its permissions and free space, "
        "or choose another with VOUCHSTORM_STORE_URL."
    )


def migrate(connection: Connection, path: Path, migrations: Sequence[Sequence[str]] = MIGRATIONS) -> None:
    """Bring the file to the newest version, in one transaction; several processes may try at once.

    Raises:
        SetupError: the file belongs to another program or to a newer version.
    """
    connection.execute("BEGIN IMMEDIATE")
    try:
        version = _version_of(connection, path)
        if version > len(migrations):
            raise SetupError(
                f"The store {path} has schema version {version}, but this program only knows "
                f"{len(migrations)}; run the Vouchstorm version that wrote it, or a newer one."
            )
        for statements in migrations[version:]:
            for statement in statements:
                connection.execute(statement)
        if version < len(migrations):
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {len(migrations)}")
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def _version_of(connection: Connection, path: Path) -> int:
    (application_id,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    if application_id != APPLICATION_ID and (tables or version or application_id):
        raise SetupError(
            f"{path} is a database of another program; choose another file with VOUCHSTORM_STORE_URL."
        )
    return int(version)


# ------------------------------------------------------------------ rows


def insert(connection: Connection, table: Table, documents: Sequence[Document]) -> None:
    """Insert rows given by column name."""
    connection.executemany(table.insert_sql, [_encode(table, document) for document in documents])


def select(connection: Connection, table: Table, rest: str, values: Sequence[Any] = ()) -> list[Document]:
    """Rows as documents; `rest` is literal SQL after FROM."""
    return [_decode(table, row) for row in connection.execute(table.select_sql(rest), values)]


def select_one(connection: Connection, table: Table, rest: str, values: Sequence[Any]) -> Document | None:
    """The first row as a document, or None."""
    row = connection.execute(table.select_sql(rest), values).fetchone()
    return None if row is None else _decode(table, row)


def update(connection: Connection, table: Table, row_id: str, changes: Document) -> None:
    """Set columns of the row with this id."""
    settings = ", ".join(f"{column} = ?" for column in changes)
    values = [_cell(table, column, value) for column, value in changes.items()]
    connection.execute(" ".join(("UPDATE", table.name, "SET", settings, "WHERE id = ?")), [*values, row_id])


def json_list(values: Sequence[str]) -> str:
    """For `IN (SELECT value FROM json_each(?))`: any number of values in one parameter."""
    return orjson.dumps(values).decode()


def _encode(table: Table, document: Document) -> list[Any]:
    return [_cell(table, column, document[column]) for column in table.columns]


def _cell(table: Table, column: str, value: Any) -> Any:
    return orjson.dumps(value).decode() if column in table.json_columns else value


def _decode(table: Table, row: tuple[Any, ...]) -> Document:
    document = dict(zip(table.columns, row, strict=True))
    for column in table.json_columns:
        document[column] = orjson.loads(document[column])
    return document
