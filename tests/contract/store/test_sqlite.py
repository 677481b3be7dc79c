"""What only the embedded store promises: several processes on one file, kill -9, full disks, clear errors."""

import asyncio
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from backend.app.errors import SetupError, UnavailableError
from backend.app.ports import Store
from backend.app.store import schema
from backend.app.store.sqlite.connection import connect_reader, connect_writer, migrate
from tests.contract.store.store_files import opened, unopened
from tests.contract.store.store_process import (
    acknowledged_to_all,
    acknowledged_until_killed,
    prepare,
    start_writer,
)
from tests.contract.store.store_records import a_claim, a_user, told


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


def holding(path: Path) -> sqlite3.Connection:
    """Another that is about to write."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    return connection


def writer_of(store: Store) -> Any:
    users: Any = store.users
    return users.database.writer


@pytest.fixture
async def prepared(path: Path) -> Path:
    """The file, with what the writers need."""
    async with opened(path) as store:
        await prepare(store)
    return path


# ------------------------------------------------------------------ processes


async def test_processes_that_share_a_file_lose_nothing(prepared: Path) -> None:
    path = prepared
    writers = [await start_writer(f"sqlite:///{path}", name, 150) for name in ("left", "right", "third")]
    acknowledged = await acknowledged_to_all(writers)
    async with opened(path) as store:
        rows = await store.claims.participants(a_claim().id)
        assert {row.id for row in rows} == acknowledged
        assert [row.version for row in rows] == list(range(1, 451))
        assert await store.notifications.last_seqs([a_user("owner").id]) == {a_user("owner").id: 450}


async def test_a_killed_process_loses_no_acknowledged_write(prepared: Path) -> None:
    path = prepared
    writer = await start_writer(f"sqlite:///{path}", "victim", 0)
    acknowledged = await acknowledged_until_killed(writer, 200)
    async with opened(path) as store:
        stored = {row.id for row in await store.claims.participants(a_claim().id)}
        assert acknowledged <= stored
        claim = await store.claims.claim(a_claim().id)
        assert claim is not None
        assert claim.version == claim.tally.total == len(stored)
        last_seq = (await store.notifications.last_seqs([a_user("owner").id]))[a_user("owner").id]
        assert len(
            await store.notifications.notifications(a_user("owner").id, after_seq=0, limit=1_000)
        ) == min(last_seq, 1_000)


async def test_processes_may_create_the_file_together(path: Path) -> None:
    stores = [unopened(path) for _ in range(6)]
    await asyncio.gather(*(store.open() for store in stores))
    await asyncio.gather(*(store.ping() for store in stores))
    await asyncio.gather(*(store.close() for store in stores))


# ------------------------------------------------------------------ trouble


async def test_a_file_locked_by_another_is_unavailable_and_heals(path: Path) -> None:
    async with opened(path, timeout_s=0.3) as store:
        blocker = holding(path)
        with pytest.raises(UnavailableError):
            await store.users.create_user(a_user("ann"), "hash")
        blocker.execute("ROLLBACK")
        blocker.close()
        await store.users.create_user(a_user("ben"), "hash")
        assert await store.users.user(a_user("ben").id) is not None


async def test_reads_go_on_while_another_holds_the_file(path: Path) -> None:
    async with opened(path, timeout_s=5) as store:
        await store.users.create_user(a_user("ann"), "hash")
        blocker = holding(path)
        assert await store.users.user(a_user("ann").id) is not None
        blocker.close()


async def test_the_event_loop_runs_while_the_store_waits(path: Path) -> None:
    async with opened(path, timeout_s=0.5) as store:
        blocker = holding(path)
        call = asyncio.create_task(store.users.create_user(a_user("ann"), "hash"))
        turns = 0
        while not call.done():
            await asyncio.sleep(0)
            turns += 1
        blocker.close()
        with pytest.raises(UnavailableError):
            await call
        assert turns > 100


async def test_a_full_disk_is_unavailable_and_nothing_is_half_written(path: Path) -> None:
    async with opened(path) as store:
        owner = a_user("owner")
        await store.users.create_user(owner, "hash")
        await writer_of(store).call(lambda connection: connection.execute("PRAGMA max_page_count = 60"), 5)
        calls = [store.effects.apply_effects([told(f"k{n}", owner, message="x" * 5_000)]) for n in range(200)]
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
        stored = [item[0].seq for item in outcomes if isinstance(item, list)]
        assert {type(item) for item in outcomes} <= {list, UnavailableError}
        assert any(isinstance(item, UnavailableError) for item in outcomes)
        assert await store.notifications.last_seqs([owner.id]) == {owner.id: len(stored)}
        assert len(await store.notifications.notifications(owner.id, limit=1_000)) == len(stored)


async def test_room_on_the_disk_again_heals_the_store(path: Path) -> None:
    async with opened(path) as store:
        writer = writer_of(store)
        await writer.call(lambda connection: connection.execute("PRAGMA max_page_count = 1"), 5)
        with pytest.raises(UnavailableError):
            await store.users.create_users([a_user(f"u{n}") for n in range(5_000)], "hash")
        await writer.call(lambda connection: connection.execute("PRAGMA max_page_count = 100000"), 5)
        await store.users.create_users([a_user(f"u{n}") for n in range(5_000)], "hash")
        assert await store.users.user(a_user("u4999").id) is not None


# ------------------------------------------------------------------ set-up


async def failure_of_opening(path: Path) -> str:
    with pytest.raises(SetupError) as failed:
        await unopened(path, 5.0).open()
    return str(failed.value)


def write_prose(path: Path) -> None:
    path.write_text("These are not the bytes of a database, and there are more than a hundred of them. " * 9)


def write_foreign_database(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE theirs (x)")
    connection.close()


async def test_missing_directories_are_made(tmp_path: Path) -> None:
    async with opened(tmp_path / "a" / "b" / "store.db") as store:
        await store.ping()


async def test_a_directory_that_cannot_be_made_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    message = await failure_of_opening(tmp_path / "file" / "store.db")
    assert "Cannot create the directory" in message
    assert "VOUCHSTORM_DATA_DIR" in message


async def test_a_directory_in_place_of_the_file_is_a_clear_error(tmp_path: Path) -> None:
    assert "Cannot open the store" in await failure_of_opening(tmp_path)


async def test_something_else_in_place_of_the_file_is_a_clear_error(path: Path) -> None:
    write_prose(path)
    assert "is not an SQLite database" in await failure_of_opening(path)


async def test_a_file_of_another_program_is_a_clear_error(path: Path) -> None:
    write_foreign_database(path)
    assert "another program" in await failure_of_opening(path)


async def test_a_file_of_another_program_is_left_alone(path: Path) -> None:
    write_foreign_database(path)
    before = await asyncio.to_thread(path.read_bytes)
    await failure_of_opening(path)
    assert await asyncio.to_thread(path.read_bytes) == before


async def test_a_newer_schema_is_a_clear_error(path: Path) -> None:
    async with opened(path):
        pass
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    assert "schema version 99" in await failure_of_opening(path)


async def test_a_failed_opening_leaves_no_thread(path: Path) -> None:
    write_foreign_database(path)
    await failure_of_opening(path)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("store-")]


def of_this_process(path: Path) -> list[str]:
    """Its file descriptors of this file."""
    return [entry.name for entry in Path("/proc/self/fd").iterdir() if entry.resolve() == path]


@pytest.mark.parametrize("connect", [connect_writer, connect_reader])
def test_a_failed_opening_leaves_no_connection(
    path: Path, connect: Callable[..., sqlite3.Connection]
) -> None:
    # Python 3.13 warns of connections that nobody closed.
    write_prose(path)
    with pytest.raises(SetupError) as failed:
        connect(path, 1)
    assert of_this_process(path) == [], failed  # as long as the error is held, its frames are


def test_a_refused_file_is_closed(path: Path) -> None:
    write_foreign_database(path)
    with pytest.raises(SetupError) as failed:
        connect_writer(path, 1)
    assert of_this_process(path) == [], failed


def test_an_older_file_is_migrated_forward(path: Path) -> None:
    connect_writer(path, 1).close()
    longer = (*schema.MIGRATIONS, ("ALTER TABLE users ADD COLUMN motto TEXT", "CREATE TABLE extra (x)"))
    connection = sqlite3.connect(path, isolation_level=None)
    migrate(connection, path, longer)
    assert connection.execute("PRAGMA user_version").fetchone() == (len(longer),)
    assert connection.execute("SELECT motto FROM users").fetchall() == []
    connection.close()


def test_a_failed_migration_changes_nothing(path: Path) -> None:
    connect_writer(path, 1).close()
    broken = (*schema.MIGRATIONS, ("CREATE TABLE extra (x)", "NO SQL AT ALL"))
    connection = sqlite3.connect(path, isolation_level=None)
    with pytest.raises(sqlite3.OperationalError):
        migrate(connection, path, broken)
    assert connection.execute("PRAGMA user_version").fetchone() == (len(schema.MIGRATIONS),)
    assert connection.execute("SELECT name FROM sqlite_schema WHERE name = 'extra'").fetchone() is None
    connection.close()


def test_every_table_has_the_columns_that_the_schema_names(path: Path) -> None:
    connection = connect_writer(path, 1)
    for table in (schema.USERS, schema.CLAIMS, schema.VALIDATIONS, schema.NOTIFICATIONS, schema.EFFECTS):
        found = connection.execute("SELECT name FROM pragma_table_info(?)", (table.name,)).fetchall()
        assert tuple(name for (name,) in found) == table.columns
    connection.close()


def test_commits_are_synchronous_and_logged_ahead(path: Path) -> None:
    connection = connect_writer(path, 1)
    found = [connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("synchronous", "journal_mode")]
    assert found == [2, "wal"]
    connection.close()
