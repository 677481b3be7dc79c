"""Backup and restore of the embedded store: whole, also under writes; nothing is overwritten by chance."""

import os
import resource
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from backend.app.errors import SetupError
from backend.app.store.sqlite.connection import connect_writer
from backend.stack import backup as backup_module
from backend.stack.backup import backup, restore
from backend.stack.data_checks import examine_data
from tests.contract.store.store_files import older_store, opened, whole_store
from tests.contract.store.store_records import a_user, told

DEADLINE_S = 20.0


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return whole_store(tmp_path)


@pytest.fixture
def url(path: Path) -> str:
    return f"sqlite:///{path}"


def usernames(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as connection:
        return [name for (name,) in connection.execute("SELECT username FROM users ORDER BY 1")]


def names(directory: Path) -> list[str]:
    return [file.name for file in directory.iterdir()]


def rename_all(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE users SET username = 'renamed ' || username")
        connection.commit()


def outcome_of(call: Callable[[], object]) -> object:
    """What the call returned or raised; fails if it has not ended by the deadline."""
    said: list[object] = []

    def run() -> None:
        try:
            said.append(call())
        except Exception as error:  # noqa: BLE001 - handed to the test
            said.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(DEADLINE_S)
    assert said, "it does not end"
    return said[0]


def test_a_backup_restores_what_was_there(url: str, path: Path, tmp_path: Path) -> None:
    before = usernames(path)
    backup(url, tmp_path / "backup.db", force=False)
    rename_all(path)
    restore(url, tmp_path / "backup.db", force=True)
    assert usernames(path) == before


def test_a_backup_restores_to_an_empty_place(url: str, path: Path, tmp_path: Path) -> None:
    backup(url, tmp_path / "backup.db", force=False)
    elsewhere = tmp_path / "other" / "store.db"
    copied = restore(f"sqlite:///{elsewhere}", tmp_path / "backup.db", force=False)
    assert (usernames(elsewhere), copied.users) == (usernames(path), 6)


async def test_a_backup_under_writes_is_consistent(url: str, path: Path, tmp_path: Path) -> None:
    async with opened(path) as store:
        user = a_user("busy")
        await store.users.create_user(user, "hash")
        done: list[object] = []
        copying = threading.Thread(target=lambda: done.append(backup(url, tmp_path / "b.db", force=False)))
        copying.start()
        written = 0
        while copying.is_alive():
            await store.effects.apply_effects([told(f"k{written}", user)])
            written += 1
        copying.join()
    assert (len(done), written > 0) == (1, True)
    assert examine_data(f"sqlite:///{tmp_path / 'b.db'}").findings == []


async def test_what_is_committed_and_still_in_the_log_is_in_the_backup(
    url: str, path: Path, tmp_path: Path
) -> None:
    async with opened(path) as store:
        await store.users.create_user(a_user("late"), "hash")
        backup(url, tmp_path / "backup.db", force=False)
    assert "late" in usernames(tmp_path / "backup.db")


def test_a_backup_is_one_file(url: str, tmp_path: Path) -> None:
    backup(url, tmp_path / "made" / "backup.db", force=False)
    assert names(tmp_path / "made") == ["backup.db"]


def test_an_interruption_as_early_as_it_can_be_leaves_no_draft(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(file: int) -> None:
        os.fdopen(file).close()
        raise KeyboardInterrupt

    before = names(tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr(backup_module.os, "close", interrupted)
        with pytest.raises(KeyboardInterrupt):
            backup(url, tmp_path / "copy.db", force=False)
    assert names(tmp_path) == before


def test_a_backup_overwrites_nothing_unless_told(url: str, tmp_path: Path) -> None:
    target = tmp_path / "backup.db"
    target.write_text("precious")
    with pytest.raises(SetupError, match="--force"):
        backup(url, target, force=False)
    kept = target.read_text()
    backup(url, target, force=True)
    assert (kept, len(usernames(target))) == ("precious", 6)


def test_a_restore_overwrites_nothing_unless_told(url: str, path: Path, tmp_path: Path) -> None:
    backup(url, tmp_path / "backup.db", force=False)
    rename_all(path)
    with pytest.raises(SetupError, match="--force"):
        restore(url, tmp_path / "backup.db", force=False)
    assert usernames(path)[0].startswith("renamed")


async def test_a_restore_refuses_a_store_in_use(url: str, path: Path, tmp_path: Path) -> None:
    backup(url, tmp_path / "backup.db", force=False)
    async with opened(path) as store:
        with pytest.raises(SetupError, match="stop the node first"):
            restore(url, tmp_path / "backup.db", force=True)
        await store.ping()


def corrupt(path: Path) -> None:
    content = bytearray(path.read_bytes())
    page = 4096
    content[3 * page : 12 * page] = b"\xa5" * 9 * page
    path.write_bytes(content)


def test_a_restore_refuses_a_damaged_backup(url: str, path: Path, tmp_path: Path) -> None:
    before = usernames(path)
    backup(url, tmp_path / "backup.db", force=False)
    corrupt(tmp_path / "backup.db")
    with pytest.raises(SetupError, match="is damaged"):
        restore(url, tmp_path / "backup.db", force=True)
    assert usernames(path) == before


def test_a_restore_refuses_a_file_of_another_program(url: str, tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "theirs.db")) as connection:
        connection.execute("CREATE TABLE theirs (x)")
        connection.commit()
    with pytest.raises(SetupError, match="not a store of Vouchstorm"):
        restore(url, tmp_path / "theirs.db", force=True)


def test_a_restore_refuses_a_newer_backup(url: str, tmp_path: Path) -> None:
    backup(url, tmp_path / "backup.db", force=False)
    with closing(sqlite3.connect(tmp_path / "backup.db")) as connection:
        connection.execute("PRAGMA user_version = 99")
    with pytest.raises(SetupError, match="schema version 99"):
        restore(url, tmp_path / "backup.db", force=True)


def test_a_store_that_is_no_database_any_more_is_set_aside(url: str, path: Path, tmp_path: Path) -> None:
    backup(url, tmp_path / "backup.db", force=False)
    path.write_bytes(b"not a database at all, " * 500)
    restore(url, tmp_path / "backup.db", force=True)
    assert (len(usernames(path)), path.with_name("store.db.damaged").exists()) == (6, True)


def test_an_older_backup_is_restored_and_migrated_by_the_next_start(tmp_path: Path) -> None:
    older = older_store(tmp_path / "older.db")
    target = tmp_path / "store.db"
    restore(f"sqlite:///{target}", older, force=False)
    connect_writer(target, 1).close()
    assert examine_data(f"sqlite:///{target}").findings == []


def test_a_missing_store_is_said(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="There is no store"):
        backup(f"sqlite:///{tmp_path / 'none.db'}", tmp_path / "backup.db", force=False)


def test_other_stores_bring_their_own_tools(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="mongodump"):
        backup("mongodb://127.0.0.1/vouchstorm", tmp_path / "backup.db", force=False)


# ------------------------------------------------------------------ onto itself

OTHER_NAMES: dict[str, Callable[[Path], Path]] = {
    "its own name": lambda path: path,
    "its name by a detour": lambda path: path.parent / "detour" / ".." / path.name,
    "a symlink": lambda path: linked(path, Path.symlink_to),
    "a hard link": lambda path: linked(path, Path.hardlink_to),
}


def linked(path: Path, link: Callable[[Path, Path], None]) -> Path:
    other = path.with_name("linked.db")
    link(other, path)
    return other


@pytest.fixture(params=OTHER_NAMES)
def same(request: pytest.FixtureRequest, path: Path) -> Path:
    """The store, by another name."""
    (path.parent / "detour").mkdir()
    return OTHER_NAMES[request.param](path)


async def test_a_backup_onto_the_store_itself_is_refused_and_loses_no_write(
    url: str, path: Path, same: Path
) -> None:
    async with opened(path) as store:
        with pytest.raises(SetupError, match="is the store itself"):
            backup(url, same, force=True)
        await store.users.create_user(a_user("acknowledged"), "hash")
    assert "acknowledged" in usernames(path)


def test_a_restore_from_the_store_itself_is_refused(url: str, same: Path) -> None:
    refusal = outcome_of(lambda: restore(url, same, force=True))
    assert (type(refusal), "is the store itself" in str(refusal)) == (SetupError, True)


@pytest.mark.parametrize("end", ["-wal", "-shm", "-journal"])
async def test_a_backup_onto_the_log_of_the_store_is_refused(url: str, path: Path, end: str) -> None:
    async with opened(path):
        with pytest.raises(SetupError, match="belongs to the store"):
            backup(url, path.with_name(path.name + end), force=True)


# ------------------------------------------------------------------ others that read and write


def test_a_backup_ends_though_a_write_comes_between_any_two_of_its_steps(
    url: str, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backup_module, "PAGES_AT_ONCE", 4)
    steps: list[int] = []
    with closing(connect_writer(path, 1)) as writer:

        def commit(left: int, total: int) -> None:
            writer.execute("UPDATE users SET display_name = 'during the backup'")
            steps.append(left)
            assert len(steps) <= total, "it begins again and again"

        backup(url, tmp_path / "backup.db", force=False, heard=commit)
    with closing(sqlite3.connect(tmp_path / "backup.db")) as copy:
        late = copy.execute("SELECT count(*) FROM users WHERE display_name LIKE 'during%'").fetchone()
    assert (steps[-1], steps == sorted(steps, reverse=True), late) == (0, True, (0,))


def reading(path: Path) -> sqlite3.Connection:
    """In the midst of a read."""
    connection = sqlite3.connect(path, timeout=0, isolation_level=None)
    try:
        connection.execute("BEGIN")
        connection.execute("SELECT count(*) FROM users").fetchone()
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def test_nobody_comes_between_the_question_whether_the_store_is_open_and_the_restore(
    url: str, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = usernames(path)
    backup(url, tmp_path / "backup.db", force=False)
    rename_all(path)
    refuse_open: Callable[..., None] = backup_module._refuse_open
    said: list[str] = []

    def then_read(*args: Any) -> None:
        refuse_open(*args)
        with pytest.raises(sqlite3.OperationalError) as refusal:
            reading(path)
        said.append(str(refusal.value))

    monkeypatch.setattr(backup_module, "_refuse_open", then_read)
    outcome = outcome_of(lambda: restore(url, tmp_path / "backup.db", force=True))
    assert (said, isinstance(outcome, Exception)) == (["database is locked"], False)
    assert usernames(path) == before


def test_a_restore_over_a_store_that_is_being_read_ends_with_a_refusal(
    url: str, path: Path, tmp_path: Path
) -> None:
    backup(url, tmp_path / "backup.db", force=False)
    with closing(reading(path)):
        refusal = outcome_of(lambda: restore(url, tmp_path / "backup.db", force=True))
    assert (type(refusal), "stop the node first" in str(refusal)) == (SetupError, True)


async def test_a_backup_does_not_replace_the_store_of_another_node(
    url: str, path: Path, tmp_path: Path
) -> None:
    other = older_store(tmp_path / "other.db")
    async with opened(other) as store:
        refusal = outcome_of(lambda: backup(url, other, force=True))
        await store.users.create_user(a_user("acknowledged"), "hash")
    assert (type(refusal), "stop the node first" in str(refusal)) == (SetupError, True)
    assert "acknowledged" in usernames(other)


def test_the_log_of_what_a_backup_replaces_does_not_come_back(url: str, path: Path, tmp_path: Path) -> None:
    target = tmp_path / "targets" / "backup.db"
    target.parent.mkdir()
    with closing(connect_writer(path, 1)) as connection:
        connection.execute("UPDATE users SET username = 'in the log ' || id")
        for end in ("", "-wal"):  # as a killed node leaves it
            target.with_name(target.name + end).write_bytes(path.with_name(path.name + end).read_bytes())
    rename_all(path)
    backup(url, target, force=True)
    assert names(target.parent) == ["backup.db"]
    assert usernames(target) == usernames(path)


def test_the_log_beside_what_is_no_database_does_not_come_back(url: str, path: Path, tmp_path: Path) -> None:
    target = tmp_path / "targets" / "backup.db"
    target.parent.mkdir()
    target.write_text("precious")
    for end in ("-wal", "-shm", "-journal"):
        target.with_name(target.name + end).write_text("left over")
    backup(url, target, force=True)
    assert names(target.parent) == ["backup.db"]
    assert usernames(target) == usernames(path)


# ------------------------------------------------------------------ a full disk


@contextmanager
def room_for(n_bytes: int) -> Iterator[None]:
    """No file can grow beyond so many bytes, as on a disk that is full half way."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_backup_that_finds_no_room_leaves_nothing_behind(url: str, path: Path, tmp_path: Path) -> None:
    with room_for(path.stat().st_size // 2), pytest.raises(SetupError, match="Cannot write the backup"):
        backup(url, tmp_path / "made" / "backup.db", force=False)
    assert list((tmp_path / "made").iterdir()) == []


def test_a_backup_that_finds_no_room_leaves_the_one_before(url: str, path: Path, tmp_path: Path) -> None:
    target = tmp_path / "made" / "backup.db"
    backup(url, target, force=False)
    before = target.read_bytes()
    with room_for(path.stat().st_size // 2), pytest.raises(SetupError, match="Cannot write the backup"):
        backup(url, target, force=True)
    assert (names(target.parent), target.read_bytes()) == (["backup.db"], before)


def test_a_restore_that_finds_no_room_leaves_the_store_as_it_was(
    url: str, path: Path, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "small" / "store.db"
    elsewhere.parent.mkdir()
    elsewhere.write_bytes(path.read_bytes())
    rename_all(elsewhere)
    before = usernames(elsewhere)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("CREATE TABLE much AS SELECT zeroblob(400000)")
    backup(url, tmp_path / "backup.db", force=False)
    with room_for(elsewhere.stat().st_size + 8192), pytest.raises(SetupError, match="it is as it was"):
        restore(f"sqlite:///{elsewhere}", tmp_path / "backup.db", force=True)
    assert (names(elsewhere.parent), usernames(elsewhere)) == (["store.db"], before)


def test_a_restore_that_finds_no_room_makes_no_store(url: str, path: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "small" / "store.db"
    backup(url, tmp_path / "backup.db", force=False)
    with room_for(path.stat().st_size // 2), pytest.raises(SetupError, match="it is as it was"):
        restore(f"sqlite:///{elsewhere}", tmp_path / "backup.db", force=False)
    assert list(elsewhere.parent.iterdir()) == []


def test_two_backups_to_one_place_at_once_leave_a_whole_one(
    url: str, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backup_module, "PAGES_AT_ONCE", 4)
    target = tmp_path / "made" / "backup.db"
    inner: list[object] = []

    def second(left: int, total: int) -> None:
        if not inner:
            inner.append(backup(url, target, force=True))

    backup(url, target, force=True, heard=second)
    assert names(target.parent) == ["backup.db"]
    assert usernames(target) == usernames(path)


def test_a_backup_is_readable_by_whoever_reads_the_store(url: str, path: Path, tmp_path: Path) -> None:
    path.chmod(0o640)
    backup(url, tmp_path / "backup.db", force=False)
    assert os.stat(tmp_path / "backup.db").st_mode & 0o777 == 0o640
