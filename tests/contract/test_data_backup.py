"""Backup and restore of the embedded store: whole, also under writes; nothing is overwritten by chance."""

import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest
from store_files import older_store, whole_store
from store_records import StubClock, a_user, told

from backend.app.domain.trust import TrustPolicy
from backend.app.errors import SetupError
from backend.app.store.sqlite import SqliteStore
from backend.app.store.sqlite_file import connect_writer
from backend.stack.backup import backup, restore
from backend.stack.data_doctor import examine_data


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return whole_store(tmp_path)


@pytest.fixture
def url(path: Path) -> str:
    return f"sqlite:///{path}"


def usernames(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as connection:
        return [name for (name,) in connection.execute("SELECT username FROM users ORDER BY 1")]


def rename_all(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE users SET username = 'renamed ' || username")
        connection.commit()


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
    store = SqliteStore(path, TrustPolicy(), StubClock(), 20.0)
    await store.open()
    user = a_user("busy")
    await store.create_user(user, "hash")
    done: list[object] = []
    copying = threading.Thread(target=lambda: done.append(backup(url, tmp_path / "b.db", force=False)))
    copying.start()
    written = 0
    while copying.is_alive():
        await store.apply_effects([told(f"k{written}", user)])
        written += 1
    copying.join()
    await store.close()
    assert (len(done), written > 0) == (1, True)
    assert examine_data(f"sqlite:///{tmp_path / 'b.db'}", repair=False).findings == []


async def test_what_is_committed_and_still_in_the_log_is_in_the_backup(
    url: str, path: Path, tmp_path: Path
) -> None:
    store = SqliteStore(path, TrustPolicy(), StubClock(), 20.0)
    await store.open()
    await store.create_user(a_user("late"), "hash")
    backup(url, tmp_path / "backup.db", force=False)
    await store.close()
    assert "late" in usernames(tmp_path / "backup.db")


def test_a_backup_is_one_file(url: str, tmp_path: Path) -> None:
    backup(url, tmp_path / "made" / "backup.db", force=False)
    assert [file.name for file in (tmp_path / "made").iterdir()] == ["backup.db"]


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
    store = SqliteStore(path, TrustPolicy(), StubClock(), 20.0)
    await store.open()
    with pytest.raises(SetupError, match="stop the node first"):
        restore(url, tmp_path / "backup.db", force=True)
    await store.ping()
    await store.close()


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
    assert examine_data(f"sqlite:///{target}", repair=False).findings == []


def test_a_missing_store_is_said(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="There is no store"):
        backup(f"sqlite:///{tmp_path / 'none.db'}", tmp_path / "backup.db", force=False)


def test_other_stores_bring_their_own_tools(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="mongodump"):
        backup("mongodb://127.0.0.1/vouchstorm", tmp_path / "backup.db", force=False)
