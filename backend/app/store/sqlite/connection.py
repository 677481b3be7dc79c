"""The SQLite file: connections, the format check and migrations, rows in and out by column name.

Refuses files of another program, of a newer Vouchstorm, and places where no file can be. Several processes
may share a file. Guarantees: ADR 0002.
"""

import sqlite3
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from functools import partial, wraps
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

import orjson

from ...errors import SetupError, UnavailableError
from ..rows import Document
from ..schema import APPLICATION_ID, MIGRATIONS, Table
from .executor import Executor, commit_together, read_together

Connection = sqlite3.Connection

_READERS = 2
_READ_BATCH_JOBS = 16
_WRITE_BATCH_JOBS = 256
_DEPTH_JOBS = 20_000

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


# ------------------------------------------------------------------ threads


class Database:
    """The threads of one file: one commits all writes that wait with one fsync, the others only read."""

    def __init__(self, path: Path, timeout_s: float) -> None:
        """timeout_s: of each call."""
        self.timeout_s = timeout_s
        self.writer = Executor(
            "store-writer",
            partial(connect_writer, path, timeout_s),
            commit_together,
            threads=1,
            batch_jobs=_WRITE_BATCH_JOBS,
            depth_jobs=_DEPTH_JOBS,
        )
        self.readers = Executor(
            "store-reader",
            partial(connect_reader, path, timeout_s),
            read_together,
            threads=_READERS,
            batch_jobs=_READ_BATCH_JOBS,
            depth_jobs=_DEPTH_JOBS,
        )

    async def open(self) -> None:
        await self.writer.start()
        try:
            await self.readers.start()
        except BaseException:
            await self.writer.stop()
            raise

    async def close(self) -> None:
        await self.writer.stop()
        await self.readers.stop()

    async def ping(self) -> None:
        await self.writer.call(_touch, self.timeout_s)
        await self.readers.call(_look, self.timeout_s)


def _touch(connection: Connection) -> None:
    connection.execute(
        """INSERT INTO meta (key, value) VALUES ('ping', '1')
        ON CONFLICT (key) DO UPDATE SET value = CAST(value AS INTEGER) + 1"""
    )


def _look(connection: Connection) -> None:
    connection.execute("SELECT value FROM meta WHERE key = 'ping'").fetchone()


class Repository:
    """Some of the tables of a database. Its methods are jobs: `reading` or `writing`."""

    def __init__(self, database: Database) -> None:
        self.database = database


P = ParamSpec("P")
T = TypeVar("T")
R = TypeVar("R", bound=Repository)


def reading(
    job: Callable[Concatenate[R, Connection, P], T],
) -> Callable[Concatenate[R, P], Coroutine[Any, Any, T]]:
    """Run the method on a reader thread, with a connection that sees one consistent view."""
    return _on(lambda database: database.readers, job)


def writing(
    job: Callable[Concatenate[R, Connection, P], T],
) -> Callable[Concatenate[R, P], Coroutine[Any, Any, T]]:
    """Run the method on the writer thread; what it did is durable when the call returns, or undone."""
    return _on(lambda database: database.writer, job)


def _on(
    threads: Callable[[Database], Executor], job: Callable[Concatenate[R, Connection, P], T]
) -> Callable[Concatenate[R, P], Coroutine[Any, Any, T]]:
    @wraps(job)
    async def call(self: R, /, *args: P.args, **kwargs: P.kwargs) -> T:
        def task(connection: Connection) -> T:
            return job(self, connection, *args, **kwargs)

        return await threads(self.database).call(task, self.database.timeout_s)

    return call
