"""MongoConnection: one client and its database; deadlines, transactions with retry, and the border of errors.

Every call of the store passes `call` exactly once: it sets the deadline for all commands inside and turns
driver errors into the project's own. Writes are acknowledged by the majority, on its journals; reads see only
such writes. Guarantees: ADR 0006.

Only this module knows that there are two drivers, motor and PyMongo's own asyncio client. What both share
(collections, cursors with `to_list`, sessions as keyword) is used directly: ADR 0001.
"""

import asyncio
import itertools
import logging
import random
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from functools import wraps
from typing import Any, Concatenate, Literal, ParamSpec, TypeVar

import pymongo
from bson.errors import BSONError
from motor.motor_asyncio import AsyncIOMotorClient
from pymongo import AsyncMongoClient, ReturnDocument
from pymongo.errors import (
    BulkWriteError,
    ConfigurationError,
    DocumentTooLarge,
    DuplicateKeyError,
    InvalidOperation,
    OperationFailure,
    PyMongoError,
)
from pymongo.read_concern import ReadConcern
from pymongo.uri_parser import parse_uri
from pymongo.write_concern import WriteConcern

from ...contracts.errors import Code
from ...errors import RefusedError, SetupError, UnavailableError
from ..rows import Document
from ..schema import DEFAULT_DATABASE, Name
from .batcher import Batcher, ServeBatch

_log = logging.getLogger(__name__)

MongoDriver = Literal["motor", "pymongo"]

Client = Any
Session = Any

APPLICATION = "vouchstorm"
"""How our connections introduce themselves to the server."""

_MAJORITY = WriteConcern("majority", j=True)
_FOREIGN_TO_PROBES = ("auth", "replicaset", "directconnection", "loadbalanced")
"""Beginnings of options that a probe must not have: it speaks to one server, without a user."""


def make_client(url: str, driver: MongoDriver, timeout_s: float, **options: Any) -> Client:
    """A client that connects at its first call. Our durability options win over those of the URL.

    Raises:
        SetupError: the URL is not one (its text is not repeated: it may hold a password).
    """
    timeout_ms = max(1, round(timeout_s * 1000))
    kind: Any = AsyncIOMotorClient if driver == "motor" else AsyncMongoClient
    try:
        return kind(
            url,
            **{
                "appname": APPLICATION,
                "w": "majority",
                "journal": True,
                "readConcernLevel": "majority",
                "readPreference": "primary",
                "retryWrites": True,
                "retryReads": True,
                "timeoutMS": timeout_ms,
                "serverSelectionTimeoutMS": timeout_ms,
                "connectTimeoutMS": timeout_ms,
                **options,
            },
        )
    except (ConfigurationError, ValueError, TypeError) as error:
        raise SetupError(
            f"VOUCHSTORM_STORE_URL is not a usable MongoDB URL ({type(error).__name__}); it looks like "
            "mongodb://user:password@host:27017/vouchstorm?replicaSet=rs0, with special characters escaped."
        ) from error


def make_probe(url: str, driver: MongoDriver, timeout_s: float) -> Client | None:
    """A client that asks the first server of the URL alone, member of a set or not; None for `+srv` URLs."""
    if not url.startswith("mongodb://"):
        return None
    parsed = parse_uri(url, validate=False, warn=False)
    options = {
        name: value
        for name, value in parsed["options"].items()
        if not name.lower().startswith(_FOREIGN_TO_PROBES)
    }
    host, port = parsed["nodelist"][0]
    return make_client(f"mongodb://{host}:{port}/", driver, timeout_s, **options, directConnection=True)


async def close_client(client: Client, driver: MongoDriver) -> None:
    """Close all connections."""
    closing = client.close()
    if driver == "pymongo":
        await closing


async def abort_orphans(client: Client, open_for_s: float) -> int:
    """End our idle transactions that have been open for longer than `open_for_s`; how many.

    A killed process leaves them behind. The server keeps them, with all they have locked, for a minute and
    longer. A live one of ours takes milliseconds and survives being aborted: it is tried again.
    """
    pipeline = [
        {"$currentOp": {"allUsers": False, "idleSessions": True}},
        {
            "$match": {
                "active": False,
                "appName": APPLICATION,
                "transaction.timeOpenMicros": {"$gt": round(open_for_s * 1_000_000)},
            }
        },
        {"$project": {"lsid": 1}},
    ]
    try:
        reply = await client.admin.command("aggregate", 1, pipeline=pipeline, cursor={})
        found = [{"id": item["lsid"]["id"]} for item in reply["cursor"]["firstBatch"]]
        if found:
            await client.admin.command("killSessions", found)
    except OperationFailure as error:
        # Not allowed here (a sharded cluster, a restricted user): the server's own limit ends them later.
        _log.warning("cannot end orphaned MongoDB transactions: %s", error.code)
        return 0
    if found:
        _log.warning("ended %d MongoDB transactions that a dead process had left open", len(found))
    return len(found)


T = TypeVar("T")
V = TypeVar("V")
Body = Callable[[Sequence[V], Session], Awaitable[Sequence[T | Exception]]]

_DUPLICATE_KEY = 11000
_FIRST_PAUSE_S = 0.002
_LONGEST_PAUSE_S = 0.25
_ORPHAN_AGE_S = 1.0
"""A transaction of ours that is open for longer belongs to a dead or stuck process."""

_BATCH = 128
_LOOKUP_BATCH = 512
_BATCHES_AT_ONCE = 4
_DEPTH = 20_000
_LOOKUP_DEPTH = 100_000
_TRIES_TOGETHER = 3


class MongoConnection:
    """One client and one database, from `connect` to `close`."""

    def __init__(self, url: str, driver: MongoDriver, timeout_s: float, rng: random.Random) -> None:
        """timeout_s: of each call. rng: spreads retries after write conflicts."""
        self.url = url
        self.driver: MongoDriver = driver
        self.timeout_s = timeout_s
        self._rng = rng
        self._orphan_age_s = min(_ORPHAN_AGE_S, timeout_s / 4)
        self._swept_at_s = -_ORPHAN_AGE_S
        self._client: Client | None = None
        self._database: Any = None
        self._batchers: list[Batcher[Any, Any]] = []

    def connect(self) -> None:
        """Make the client; it connects at its first call. Raises SetupError."""
        self._client = make_client(self.url, self.driver, self.timeout_s)
        self._database = self._client.get_default_database(DEFAULT_DATABASE)

    async def close(self) -> None:
        for batcher in self._batchers:
            await batcher.close()
        client, self._client, self._database = self._client, None, None
        if client is not None:
            await close_client(client, self.driver)

    @property
    def client(self) -> Client:
        if self._client is None:
            raise _not_open()
        return self._client

    def __getitem__(self, name: Name) -> Any:
        """The collection of this name."""
        if self._database is None:
            raise _not_open()
        return self._database[name.value]

    async def ping(self) -> None:
        await self.call(
            lambda: self[Name.META].update_one({"_id": "ping"}, {"$inc": {"value": 1}}, upsert=True)
        )

    # -------------------------------------------------------------- rows

    async def find(
        self,
        name: Name,
        wanted: Mapping[str, Any],
        columns: Mapping[str, int] | None = None,
        *,
        sort: Mapping[str, int] | None = None,
        limit: int = 0,
        session: Session = None,
    ) -> list[Document]:
        """Rows as `rows` reads them, besides their `_id`. columns: MongoDB's projection. limit: 0 for all."""
        order = list(sort.items()) if sort else None
        cursor = self[name].find(wanted, columns, sort=order, limit=limit, session=session)
        return [_loaded(name, document) for document in await cursor.to_list(length=None)]

    async def find_one(
        self, name: Name, wanted: Mapping[str, Any], session: Session = None
    ) -> Document | None:
        found = await self[name].find_one(wanted, session=session)
        return None if found is None else _loaded(name, found)

    async def update(
        self, name: Name, wanted: Mapping[str, Any], changes: Mapping[str, Any], session: Session
    ) -> Document | None:
        """Change one row; the row as it is then, None if there is no such row."""
        found = await self[name].find_one_and_update(
            wanted, changes, return_document=ReturnDocument.AFTER, session=session
        )
        return None if found is None else _loaded(name, found)

    async def insert(self, name: Name, documents: Sequence[Document], session: Session) -> None:
        if documents:
            await self[name].insert_many([stored(name, item) for item in documents], session=session)

    # -------------------------------------------------------------- calls and transactions

    async def call(self, work: Callable[[], Awaitable[T]]) -> T:
        """Run one call of the store within its timeout.

        Raises:
            RefusedError: the call contradicts a unique index, or cannot be stored in MongoDB at all.
            UnavailableError: everything else that went wrong on the way.
        """
        try:
            with pymongo.timeout(self.timeout_s):
                return await work()
        except (DuplicateKeyError, BulkWriteError) as error:
            if is_duplicate(error):
                raise RefusedError("That contradicts what is already stored.", Code.INVALID_INPUT) from error
            raise _unavailable(error) from error
        except (BSONError, DocumentTooLarge, OverflowError) as error:
            raise RefusedError("That is too large or not storable.", Code.INVALID_INPUT) from error
        except PyMongoError as error:
            raise _unavailable(error) from error

    async def transact(self, body: Callable[[Session], Awaitable[T]], tries: int | None = None) -> T:
        """Run `body` in a transaction until it is committed; whole again after each write conflict.

        Pauses between tries are random and grow up to a bound; the timeout ends them. What collides for long
        may collide with the remains of a dead process: those are cleared away.

        tries: give up after so many; None: only at the timeout.
        """
        started_s = time.monotonic()
        pause_s = _FIRST_PAUSE_S
        for tried in itertools.count(1):
            try:
                return await self._try_once(body)
            except PyMongoError as error:
                late = time.monotonic() - started_s + pause_s > self.timeout_s
                if late or tried == tries or not is_transient(error):
                    raise
            if time.monotonic() - started_s > self._orphan_age_s:
                await self._abort_orphans()
            await asyncio.sleep(pause_s * self._rng.random())
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
        raise AssertionError("the loop only ends by returning or raising")

    async def _abort_orphans(self) -> None:
        """At most once per `_orphan_age_s`, however many transactions collide."""
        now_s = time.monotonic()
        if now_s - self._swept_at_s > self._orphan_age_s:
            self._swept_at_s = now_s
            await abort_orphans(self.client, self._orphan_age_s)

    async def _try_once(self, body: Callable[[Session], Awaitable[T]]) -> T:
        motor = self.driver == "motor"
        session = await self.client.start_session() if motor else self.client.start_session()
        try:
            started = session.start_transaction(read_concern=ReadConcern("snapshot"), write_concern=_MAJORITY)
            if not motor:
                await started
            result = await body(session)
            await self._commit(session)
        finally:
            # Ends a transaction that is still open by aborting it.
            await session.end_session()
        return result

    async def _commit(self, session: Session) -> None:
        """Commit, asking again while the answer is unknown; the driver gives up at the deadline."""
        while True:
            try:
                await session.commit_transaction()
            except PyMongoError as error:
                if error.timeout or not error.has_error_label("UnknownTransactionCommitResult"):
                    raise
            else:
                return

    # -------------------------------------------------------------- batches

    def batcher(self, serve: ServeBatch[V, T], *, batch: int = _BATCH, depth: int = _DEPTH) -> Batcher[V, T]:
        """A batcher that is closed with the connection."""
        made = Batcher(serve, batch=batch, batches_at_once=_BATCHES_AT_ONCE, depth=depth)
        self._batchers.append(made)
        return made

    async def transact_together(
        self, values: Sequence[V], key_of: Callable[[V], str], body: Body[V, T]
    ) -> Sequence[T | Exception]:
        """One transaction for all values; the result or the error of each, in order.

        If that keeps colliding with another process: one transaction per key, so that only those wait who
        must. If a row contradicts a unique index, one per value: only its caller is refused.
        """
        return await self.call(lambda: self._together(values, key_of, body))

    async def _together(
        self, values: Sequence[V], key_of: Callable[[V], str], body: Body[V, T]
    ) -> Sequence[T | Exception]:
        several = len({key_of(value) for value in values}) > 1
        try:
            return await self.transact(
                lambda session: body(values, session), tries=_TRIES_TOGETHER if several else None
            )
        except PyMongoError as error:
            if len(values) == 1 or not (is_duplicate(error) or (several and is_transient(error))):
                raise
        groups: dict[str | int, list[int]] = {}
        for index, value in enumerate(values):
            groups.setdefault(key_of(value) if several else index, []).append(index)
        results: dict[int, T | Exception] = {}

        async def serve(group: list[int]) -> None:
            try:
                answers = await self.transact_together([values[index] for index in group], key_of, body)
            except Exception as error:  # noqa: BLE001 - handed to the callers of this group, never swallowed
                answers = [error for _ in group]
            results.update(zip(group, answers, strict=True))

        await asyncio.gather(*(serve(group) for group in groups.values()))
        return [results[index] for index in range(len(values))]


def is_duplicate(error: Exception) -> bool:
    """Did a unique index refuse the write?"""
    if isinstance(error, BulkWriteError):
        return any(item.get("code") == _DUPLICATE_KEY for item in error.details.get("writeErrors", []))
    return isinstance(error, DuplicateKeyError)


def duplicate_columns(error: Exception) -> set[str]:
    """Columns of the unique index that refused the write."""
    details = error.details if isinstance(error, OperationFailure) else None
    refused = [details or {}, *(details or {}).get("writeErrors", [])]
    return {column for item in refused for column in item.get("keyPattern", {})}


def is_transient(error: PyMongoError) -> bool:
    """Would the same transaction have a chance if tried again?"""
    return error.has_error_label("TransientTransactionError") and not error.timeout


def _not_open() -> UnavailableError:
    return UnavailableError("The store is not open.")


def _unavailable(error: PyMongoError) -> UnavailableError:
    if isinstance(error, InvalidOperation):
        return _not_open()
    # The driver's own text names hosts and topology: it stays in the chained error, for the log.
    return UnavailableError(f"The store could not answer ({type(error).__name__}).")


def _key(name: Name) -> str:
    """The column that is `_id` in MongoDB."""
    return "key" if name is Name.EFFECTS else "id"


def stored(name: Name, document: Document) -> Document:
    """A row as MongoDB keeps it."""
    key = _key(name)
    return {"_id": document[key], **{column: value for column, value in document.items() if column != key}}


def _loaded(name: Name, document: Document) -> Document:
    document[_key(name)] = document["_id"]
    return document


class Lookup:
    """Rows of one collection by id; reads that wait at the same time become one query.

    After a deploy thousands of clients come back at once, and each asks for its user, its counters and the
    claim on its screen. A read never joins a query that has begun before it: everyone sees what was written
    before they asked.
    """

    def __init__(
        self, connection: MongoConnection, name: Name, columns: Mapping[str, int] | None = None
    ) -> None:
        """columns: MongoDB's projection."""
        self._connection = connection
        self._name = name
        self._columns = columns
        self._batcher: Batcher[str, Document | None] = connection.batcher(
            self._find_together, batch=_LOOKUP_BATCH, depth=_LOOKUP_DEPTH
        )

    async def one(self, row_id: str) -> Document | None:
        """The row with this id, or None."""
        return await self._batcher.submit(row_id, row_id, self._connection.timeout_s)

    async def _find_together(self, ids: Sequence[str]) -> Sequence[Document | None]:
        wanted = {"_id": {"$in": list(set(ids))}}
        connection = self._connection
        rows = await connection.call(lambda: connection.find(self._name, wanted, self._columns))
        by_id = {row["_id"]: row for row in rows}
        return [by_id.get(row_id) for row_id in ids]


class Repository:
    """Some of the collections of a database."""

    def __init__(self, connection: MongoConnection) -> None:
        self.connection = connection


P = ParamSpec("P")
R = TypeVar("R", bound=Repository)


def one_call(
    method: Callable[Concatenate[R, P], Awaitable[T]],
) -> Callable[Concatenate[R, P], Coroutine[Any, Any, T]]:
    """Run the method as one call of the store: `MongoConnection.call`."""

    @wraps(method)
    async def call(self: R, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await self.connection.call(lambda: method(self, *args, **kwargs))

    return call
