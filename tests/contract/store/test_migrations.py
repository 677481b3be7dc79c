"""Stores that an older program left behind: migrated when they are opened, nothing lost."""

import sqlite3
import time
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient
from pymongo.database import Database

from backend.app.store import schema
from backend.app.store.sqlite.connection import connect_writer
from tests.contract.store.store_files import older_store, opened
from tests.contract.store.store_records import StubClock, a_claim, a_user, settled, told
from tests.support.services import Mongod, emptied

TABLES = (schema.USERS, schema.CLAIMS, schema.VALIDATIONS, schema.NOTIFICATIONS, schema.EFFECTS)
NEW_COLUMNS = {"trimmed_seq", "applied_at_us"}
MONGO = pytest.mark.services

Rows = list[tuple[object, ...]]


@pytest.fixture
def older(tmp_path: Path) -> Path:
    return older_store(tmp_path / "store.db")


def content(path: Path, table: schema.Table, columns: tuple[str, ...]) -> Rows:
    connection = sqlite3.connect(path)
    wanted = " ".join(("SELECT", ", ".join(columns), "FROM", table.name, "ORDER BY 1, 2"))
    found = connection.execute(wanted).fetchall()
    connection.close()
    return found


def in_columns_of_version_1(path: Path) -> dict[str, Rows]:
    return {
        table.name: content(path, table, tuple(name for name in table.columns if name not in NEW_COLUMNS))
        for table in TABLES
    }


# ------------------------------------------------------------------ SQLite


def test_a_file_of_version_1_keeps_every_row(older: Path) -> None:
    before = in_columns_of_version_1(older)
    connect_writer(older, 1).close()
    assert in_columns_of_version_1(older) == before
    assert {name: len(rows) for name, rows in before.items()} == {
        "users": 6,
        "claims": 4,
        "validations": 11,
        "notifications": 33,
        "effects": 30,
    }


def test_a_file_of_version_1_is_like_a_new_one_afterwards(older: Path, tmp_path: Path) -> None:
    found = []
    for file in (older, tmp_path / "new.db"):
        connection = connect_writer(file, 1)
        columns = "SELECT m.name, c.name FROM sqlite_schema m, pragma_table_info(m.name) c ORDER BY 1, c.cid"
        version = connection.execute("PRAGMA user_version").fetchall()
        found.append((version, connection.execute(columns).fetchall()))
        connection.close()
    assert found[0] == found[1]


async def test_a_file_of_version_1_works_on(older: Path) -> None:
    async with opened(older) as store:
        (user, *_) = (await store.users.leaderboard(1, None)).items
        made = await store.effects.apply_effects([told("k", user)])
        assert [row.seq for row in made] == [user.progress.last_seq + 1]


def test_effects_of_version_1_count_from_the_migration(older: Path) -> None:
    began_us = time.time_ns() // 1_000 - 1_000_000
    connect_writer(older, 1).close()
    assert min(row[0] for row in content(older, schema.EFFECTS, ("applied_at_us", "key"))) >= began_us  # type: ignore[type-var]


# ------------------------------------------------------------------ MongoDB


@pytest.fixture
async def older_mongo(mongod: Mongod, mongo_client: MongoClient[dict[str, Any]]) -> tuple[str, Database[Any]]:
    """A database with a user, two effects and four notifications, as version 1 wrote them."""
    name = emptied(mongo_client, "older")
    url = str(mongod.url(name))
    async with opened(url) as store:
        user = a_user("ann")
        await store.users.create_user(user, "hash")
        await store.effects.apply_effects([told("k", user), settled("s", user, a_claim(), None)])
    database = mongo_client[name]
    database.users.update_many({}, {"$unset": {"trimmed_seq": 1}})
    database.effects.update_many({}, {"$unset": {"applied_at_us": 1}})
    database.meta.update_one({"_id": "schema"}, {"$set": {"version": 1}})
    return url, database


@MONGO
async def test_a_database_of_version_1_gets_what_is_new(older_mongo: tuple[str, Database[Any]]) -> None:
    url, database = older_mongo
    async with opened(url):
        pass
    assert database.meta.find_one({"_id": "schema"}) == {"_id": "schema", "version": schema.MONGO_VERSION}
    assert [row["trimmed_seq"] for row in database.users.find()] == [0]
    assert all(row["applied_at_us"] > 0 for row in database.effects.find())


@MONGO
async def test_a_database_of_version_1_keeps_the_rest(older_mongo: tuple[str, Database[Any]]) -> None:
    url, database = older_mongo
    names = [table.name.value for table in TABLES]
    new = dict.fromkeys(NEW_COLUMNS, 0)
    before = {name: list(database[name].find({}, new)) for name in names}
    async with opened(url):
        pass
    assert {name: list(database[name].find({}, new)) for name in names} == before
    assert len(before["notifications"]) == 4


@MONGO
async def test_nodes_of_the_version_before_may_go_on_meanwhile(
    older_mongo: tuple[str, Database[Any]],
) -> None:
    """They leave the new columns out, also of rows written after the migration."""
    url, database = older_mongo
    async with opened(url) as store:
        database.users.update_many({}, {"$unset": {"trimmed_seq": 1}})
        database.effects.update_many({}, {"$unset": {"applied_at_us": 1}})
        late = StubClock().now().replace(year=2099)
        assert (await store.effects.trim_effects(late, None, 100)).removed == 0
        assert (await store.notifications.trim_notifications(late, None, 100)).removed == 4
