"""Backup and restore of the embedded store, by SQLite's online backup: consistent while a node runs.

A backup is a whole SQLite file without a log beside it. A restore refuses what is not such a file, what a
newer program wrote, what is damaged, and a store that a process has open. Both refuse the store itself as the
other side, and replace nothing that a process has open. MongoDB brings its own tools. The signing secret is
no part of it: where it is not set, it lies beside the store as `jwt-secret`.
"""

import os
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from simulator import interrupts

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


PAGES_AT_ONCE = 512
"""Between so many pages an interrupt is heard, and progress told."""
PAUSE_S = 0.005
"""Before a step is tried again that met another's lock."""
ALONE_S = 0.5
"""How long to wait for others to let go of a file that is to be overwritten."""
_LOGS = ("-wal", "-shm", "-journal")
"""What SQLite keeps beside a file, and applies to it when it is opened next."""
_UNREADABLE = (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT)

Heard = Callable[[int, int], object]
"""Told after each step: pages left, pages in all."""


@dataclass(frozen=True, slots=True)
class Copied:
    """What a backup or restore brought over. version: of the schema."""

    path: Path
    n_bytes: int
    users: int
    version: int


def backup(store_url: str, target: Path, *, force: bool, heard: Heard | None = None) -> Copied:
    """Copy the store as it is at one moment to `target`; the file appears whole or not at all.

    Takes as long as the copy, however much is written meanwhile; until then the store's log only grows.

    Raises SetupError.
    """
    source_path = path_of(store_url)
    _refuse_same(source_path, target)
    _refuse_log(source_path, target)
    _refuse_existing(target, force, "another backup")
    with opened_file(source_path) as source:
        try:
            check_ours(source, source_path, exact=False)
            target.parent.mkdir(parents=True, exist_ok=True)
            with _held_if_database(target), _draft(target, source_path) as draft:
                with closing(sqlite3.connect(draft, isolation_level=None)) as copy:
                    with _one_moment(source):
                        _copy(source, copy, source_path, heard)
                    copy.execute("PRAGMA journal_mode = DELETE")
                    check_whole(copy, draft)
                    copied = _described(copy, target, draft)
                _remove_logs(target)
                draft.replace(target)
        except (OSError, sqlite3.Error) as error:
            raise SetupError(f"Cannot write the backup {target} ({error}).") from error
    return copied


def restore(store_url: str, source_path: Path, *, force: bool) -> Copied:
    """Make the store what the backup says, whole or not at all.

    force: also where there is a store already. Raises SetupError.
    """
    target = path_of(store_url)
    _refuse_same(target, source_path)
    with opened_file(source_path) as source:
        try:
            with _one_moment(source):
                check_ours(source, source_path, exact=False)
                check_whole(source, source_path)
                _refuse_existing(target, force, "what it holds")
                target.parent.mkdir(parents=True, exist_ok=True)
                with _damaged_set_aside(target), _opened_alone(target) as store:
                    _copy(source, store, target, None)
                    return _described(store, source_path, target)
        except (OSError, sqlite3.Error) as error:
            raise SetupError(f"Cannot restore to {target} ({error}); it is as it was.") from error


# ------------------------------------------------------------------ refusals


def _refuse_same(store: Path, other: Path) -> None:
    """By whatever name: to replace the file of a running node would lose all it acknowledges from then on."""
    if store.exists() and other.exists() and other.samefile(store):
        raise SetupError(f"{other} is the store itself; name another file.")


def _refuse_log(store: Path, target: Path) -> None:
    resolved = store.resolve()
    if target.resolve() in [resolved.with_name(resolved.name + end) for end in _LOGS]:
        raise SetupError(f"{target} belongs to the store {store}; name another file.")


def _refuse_existing(path: Path, force: bool, what: str) -> None:
    if path.exists() and not force:
        raise SetupError(f"{path} exists; choose another place, or overwrite {what} with --force.")


def _refuse_open(connection: sqlite3.Connection, path: Path) -> None:
    """Raises SetupError when another has the file open; if not, none can open it until this one is closed.

    Only alone can it leave the write-ahead log, which is gone afterwards.
    """
    try:
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        connection.execute("PRAGMA journal_mode = DELETE")
        connection.execute("BEGIN EXCLUSIVE")
        connection.execute("COMMIT")
    except sqlite3.OperationalError as error:
        if error_code(error) not in LOCKED:
            raise
        raise _in_use(path) from error


def _in_use(path: Path) -> SetupError:
    return SetupError(f"A process has {path} open; stop the node first.")


# ------------------------------------------------------------------ the copy


@contextmanager
def _one_moment(source: sqlite3.Connection) -> Iterator[None]:
    """One view of the source: else each commit of another makes the copy begin anew."""
    source.execute("BEGIN")
    source.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    yield
    source.execute("COMMIT")


def _copy(source: sqlite3.Connection, target: sqlite3.Connection, path: Path, heard: Heard | None) -> None:
    """Bounded: SQLite itself would try for ever where another holds a lock. path: the file that may be."""
    deadline_s = time.monotonic() + BUSY_S

    def step(status: int, left: int, total: int) -> None:
        nonlocal deadline_s
        if status & 0xFF not in LOCKED:
            deadline_s = time.monotonic() + BUSY_S
            if heard is not None:
                heard(left, total)
        elif time.monotonic() > deadline_s:
            raise _in_use(path)

    source.backup(target, pages=PAGES_AT_ONCE, progress=step, sleep=PAUSE_S)


# ------------------------------------------------------------------ the place to write to


@contextmanager
def _draft(target: Path, source_path: Path) -> Iterator[Path]:
    """A file of this backup's own beside the target, as readable as the store; gone afterwards."""
    with ExitStack() as stack:
        with interrupts.held():
            file, name = tempfile.mkstemp(prefix=f"{target.name}.", suffix=".draft", dir=target.parent)
            draft = Path(name)
            stack.callback(_remove_logs, draft)
            stack.callback(draft.unlink, missing_ok=True)
        os.close(file)
        shutil.copymode(source_path, draft)
        yield draft


def _remove_logs(path: Path) -> None:
    """SQLite would apply the log of the file that was here before to the one that takes its place."""
    for end in _LOGS:
        path.with_name(path.name + end).unlink(missing_ok=True)


@contextmanager
def _held_if_database(path: Path) -> Iterator[None]:
    """Keep others from opening what is to be replaced. Raises SetupError when one has it open.

    Where there is nothing, no database, or a symlink, there is nothing to hold: the link itself is replaced.
    """
    if path.is_symlink() or not path.is_file():
        yield
        return
    with closing(sqlite3.connect(path, timeout=ALONE_S, isolation_level=None)) as connection:
        try:
            _refuse_open(connection, path)
        except sqlite3.DatabaseError as error:
            if error_code(error) not in _UNREADABLE:
                raise
        yield


@contextmanager
def _opened_alone(path: Path) -> Iterator[sqlite3.Connection]:
    """The store, made if it is not there, and gone again in that case if what is done with it fails."""
    made = not path.exists()
    with closing(sqlite3.connect(path, timeout=ALONE_S, isolation_level=None)) as connection:
        _refuse_open(connection, path)
        try:
            yield connection
        except BaseException:
            if made:
                path.unlink(missing_ok=True)
            raise


@contextmanager
def _damaged_set_aside(path: Path) -> Iterator[None]:
    """What is no database any more is kept as `NAME.damaged`, with its log; put back if the rest fails."""
    unreadable = _is_unreadable(path)
    if unreadable:
        _move(path, "", ".damaged")
    try:
        yield
    except BaseException:
        if unreadable and not path.exists():
            _move(path, ".damaged", "")
        raise


def _is_unreadable(path: Path) -> bool:
    if not path.exists():
        return False
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        try:
            connection.execute("PRAGMA schema_version")
        except sqlite3.OperationalError:
            return False  # in use: found out below
        except sqlite3.DatabaseError:
            return True
    return False


def _move(path: Path, before: str, after: str) -> None:
    """The file and what is kept beside it, from one ending to another."""
    for end in ("", *_LOGS):
        with suppress(FileNotFoundError):
            old = path.with_name(f"{path.name}{before}{end}")
            old.replace(path.with_name(f"{path.name}{after}{end}"))


def _described(connection: sqlite3.Connection, path: Path, file: Path) -> Copied:
    (users,) = connection.execute("SELECT count(*) FROM users").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    return Copied(path, file.stat().st_size, users, version)
