"""`vouchstorm doctor --data`: one consistent view of a store, checked, repaired where that needs no guess.

Reads and repairs behind the back of the `Store` port: it must see what no request may make. Works on a store
in use; each repair changes a row only if it still is as it was seen. Refuses stores of another version.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from ..app.errors import SetupError, UnavailableError
from ..app.store import schema
from ..app.store.schema import Name, Table
from ..app.store.sqlite.connection import select, update
from .data_checks_part import Finding, Repair, check
from .data_facts import TABLES, Facts, Row
from .store_file import check_ours, opened_file, path_of

_TABLES: dict[Name, Table] = {
    table.name: table
    for table in (schema.USERS, schema.CLAIMS, schema.VALIDATIONS, schema.NOTIFICATIONS, schema.EFFECTS)
}
_ROWS_AT_ONCE = 1_000
MOST_ROUNDS = 5


@dataclass(frozen=True)
class Examined:
    """rows: how many of each table were looked at. repaired: those findings that are put right now."""

    rows: dict[str, int]
    findings: list[Finding]
    repaired: list[Finding] = field(default_factory=list)

    @property
    def left(self) -> list[Finding]:
        """What is still wrong."""
        return [finding for finding in self.findings if finding not in self.repaired]


class View(Protocol):
    """One consistent view of a store, and the way to change rows."""

    def rows(self, name: Name) -> Iterator[Row]: ...

    def apply(self, repair: Repair) -> bool:
        """Whether the row still was as it was seen, and is changed."""
        ...


def examine_data(store_url: str, *, repair: bool) -> Examined:
    """Check the store, and repair what can be. Raises SetupError, UnavailableError.

    A repair may bring to light what follows from it: the store is looked at again until none is left to do.
    """
    examined = _examine_once(store_url, repair)
    repaired = examined.repaired
    for _ in range(MOST_ROUNDS if repaired else 0):
        examined = _examine_once(store_url, repair)
        repaired = [*repaired, *examined.repaired]
        if not examined.repaired:
            break
    left = [finding for finding in examined.findings if finding not in examined.repaired]
    return Examined(examined.rows, [*repaired, *left], repaired)


def _examine_once(store_url: str, repair: bool) -> Examined:
    if store_url.startswith("sqlite:///"):
        with _sqlite_view(path_of(store_url), repair) as view:
            return _examine(view, repair)
    with _mongo_view(store_url) as view:
        return _examine(view, repair)


def _examine(view: View, repair: bool) -> Examined:
    facts = Facts()
    counts: dict[str, int] = {}
    for name in TABLES:
        facts.add(name, _counted(view.rows(name), counts, name.value))
    findings = list(check(facts))
    repaired = [
        finding
        for finding in findings
        if repair and finding.repair is not None and view.apply(finding.repair)
    ]
    return Examined(counts, findings, repaired)


def _counted(rows: Iterator[Row], counts: dict[str, int], name: str) -> Iterator[Row]:
    counts[name] = 0
    for row in rows:
        counts[name] += 1
        yield row


# ------------------------------------------------------------------ SQLite


class _SqliteView:
    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def rows(self, name: Name) -> Iterator[Row]:
        key = _TABLES[name].columns[0]
        last = ""
        while rows := select(
            self._connection, _TABLES[name], f"WHERE {key} > ? ORDER BY {key} LIMIT ?", (last, _ROWS_AT_ONCE)
        ):
            yield from rows
            last = rows[-1][key]

    def apply(self, repair: Repair) -> bool:
        """Seen and changed in one transaction: nobody came in between."""
        update(self._connection, _TABLES[repair.table], repair.row_id, repair.changes)
        return True


@contextmanager
def _sqlite_view(path: Path, writes: bool) -> Iterator[View]:
    with opened_file(path) as connection:
        check_ours(connection, path, exact=True)
        try:
            connection.execute("BEGIN IMMEDIATE" if writes else "BEGIN")
            yield _SqliteView(connection)
            connection.execute("COMMIT")
        except sqlite3.DatabaseError as error:
            raise UnavailableError(f"The store {path} could not be read to its end: {error}.") from error


# ------------------------------------------------------------------ MongoDB


class _MongoView:
    def __init__(self, database: Any, session: Any) -> None:
        self._database = database
        self._session = session

    def rows(self, name: Name) -> Iterator[Row]:
        key = _TABLES[name].columns[0]
        for document in self._database[name.value].find({}, session=self._session):
            yield {**document, key: document["_id"]}

    def apply(self, repair: Repair) -> bool:
        wanted = {"_id": repair.row_id, **repair.seen}
        done = self._database[repair.table.value].update_one(wanted, {"$set": repair.changes})
        return bool(done.modified_count)


@contextmanager
def _mongo_view(url: str) -> Iterator[View]:
    from pymongo import MongoClient
    from pymongo.errors import PyMongoError

    try:
        with MongoClient[dict[str, Any]](url, serverSelectionTimeoutMS=5_000) as client:
            database = client.get_default_database(schema.DEFAULT_DATABASE)
            found = database[Name.META.value].find_one({"_id": "schema"})
            version = None if found is None else found["version"]
            if version != schema.MONGO_VERSION:
                raise SetupError(
                    f"The MongoDB database has schema version {version}, and this program checks "
                    f"{schema.MONGO_VERSION}; start a node once, it migrates older ones."
                )
            with client.start_session(snapshot=True) as session:
                yield _MongoView(database, session)
    except PyMongoError as error:
        raise UnavailableError(f"MongoDB does not answer ({type(error).__name__}).") from error


def sentences(examined: Examined) -> Sequence[str]:
    """What there is to say, line by line: what was looked at, each finding and what came of it."""
    looked = ", ".join(f"{count} {name}" for name, count in examined.rows.items())
    lines = [f"Checked {looked}."]
    for finding in examined.findings:
        if finding in examined.repaired:
            outcome = "repaired"
        elif finding.repair is not None:
            outcome = "can be repaired: --repair"
        else:
            outcome = "not repaired: that would be a guess"
        lines.append(f"{finding.law}: {finding.sentence} [{outcome}]")
    if not examined.findings:
        lines.append("Every law of conservation holds.")
    return lines
