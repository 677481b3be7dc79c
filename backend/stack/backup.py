"""Backup and restore of the embedded store, by SQLite's online backup: consistent while a node runs.

A backup is a whole SQLite file without a log beside it. A restore refuses what is not such a file, what a
newer program wrote, what is damaged, and a store that a process has open. MongoDB brings its own tools. The
signing secret is no part of it: where it is not set, it lies beside the store as `jwt-secret`.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from ..app.errors import SetupError
from ..app.store.schema import APPLICATION_ID, MIGRATIONS

PAGES_AT_ONCE = 512
PAUSE_S = 0.005
"""Between so many pages: a node that writes meanwhile is not held up."""
BUSY_S = 5.0


@dataclass(frozen=True, slots=True)
class Copied:
    """What a backup or restore brought over. version: of the schema."""

    path: Path
    n_bytes: int
    users: int
    version: int


def path_of(store_url: str) -> Path:
    """The file of an embedded store. Raises SetupError for MongoDB."""
    if not store_url.startswith("sqlite:///"):
        raise SetupError(
            "This works on the embedded store; for MongoDB use mongodump and mongorestore, or snapshots of "
            "its volumes."
        )
    return Path(store_url.removeprefix("sqlite:///"))


def backup(store_url: str, target: Path, *, force: bool) -> Copied:
    """Copy the store as it is at one moment to `target`; the file appears whole or not at all.

    Raises SetupError, UnavailableError.
    """
    source_path = path_of(store_url)
    _refuse_existing(target, force, "another backup")
    with opened_file(source_path) as source:
        check_ours(source, source_path, exact=False)
        draft = target.with_name(target.name + ".draft")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            draft.unlink(missing_ok=True)
            with closing(sqlite3.connect(draft, isolation_level=None)) as copy:
                source.backup(copy, pages=PAGES_AT_ONCE, sleep=PAUSE_S)
                copy.execute("PRAGMA journal_mode = DELETE")
                check_whole(copy, draft)
                copied = _described(copy, target, draft)
            draft.replace(target)
        except (OSError, sqlite3.Error) as error:
            raise SetupError(f"Cannot write the backup {target} ({error}).") from error
        finally:
            draft.unlink(missing_ok=True)
    return copied


def restore(store_url: str, source_path: Path, *, force: bool) -> Copied:
    """Make the store what the backup says, whole or not at all.

    force: also where there is a store already. Raises SetupError.
    """
    target = path_of(store_url)
    with opened_file(source_path) as source:
        check_ours(source, source_path, exact=False)
        check_whole(source, source_path)
        _refuse_existing(target, force, "what it holds")
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            _set_aside_if_unreadable(target)
            with closing(sqlite3.connect(target, timeout=0.5, isolation_level=None)) as store:
                _refuse_open(store, target)
                source.backup(store)
                return _described(store, source_path, target)
        except sqlite3.Error as error:
            raise SetupError(f"Cannot restore to {target} ({error}); it is as it was.") from error


def _refuse_existing(path: Path, force: bool, what: str) -> None:
    if path.exists() and not force:
        raise SetupError(f"{path} exists; choose another place, or overwrite {what} with --force.")


def _set_aside_if_unreadable(path: Path) -> None:
    """What is no database any more is kept as `NAME.damaged`, with its log."""
    if not path.exists():
        return
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        try:
            connection.execute("PRAGMA schema_version")
            return
        except sqlite3.OperationalError:
            return  # in use: found out below
        except sqlite3.DatabaseError:
            pass
    for end in ("", "-wal", "-shm"):
        with suppress(FileNotFoundError):
            path.with_name(path.name + end).replace(path.with_name(f"{path.name}.damaged{end}"))


def _refuse_open(store: sqlite3.Connection, path: Path) -> None:
    """Raises SetupError when another has the file open: only alone can it leave the write-ahead log."""
    try:
        store.execute("PRAGMA journal_mode = DELETE")
    except sqlite3.OperationalError as error:
        raise SetupError(f"A process has the store {path} open; stop the node first.") from error


@contextmanager
def opened_file(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection to a file that exists. Raises SetupError."""
    if not path.is_file():
        raise SetupError(f"There is no store {path}; name it with --data-dir or --store-url.")
    with closing(sqlite3.connect(path, timeout=BUSY_S, isolation_level=None)) as connection:
        try:
            connection.execute("PRAGMA schema_version")
        except sqlite3.Error as error:
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


def _described(connection: sqlite3.Connection, path: Path, file: Path) -> Copied:
    (users,) = connection.execute("SELECT count(*) FROM users").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    return Copied(path, file.stat().st_size, users, version)
