"""MongoLink: one open client and its database; deadlines, transactions with retry, and the border of errors.

Every call of the store passes `call` exactly once: it sets the deadline for all commands inside and turns
driver errors into the project's own. Called by `MongoStore` and the `mongo_*` modules.
"""

import asyncio
import itertools
import logging
import random
import time
from collections.abc import Awaitable, Callable
from typing import Any, Literal, TypeVar

import pymongo
from bson.errors import BSONError
from motor.motor_asyncio import AsyncIOMotorClient
from pymongo import AsyncMongoClient
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

# The only module that knows that there are two MongoDB drivers: motor, and PyMongo's own asyncio
# client.
#
# What both share (collections, cursors with `to_list`, sessions as keyword) is used directly by the
# other
# `mongo_*` modules; where they differ (making, starting a transaction, closing) they go through here:
# ADR 0001.

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


async def start_transaction(client: Client, driver: MongoDriver) -> Session:
    """A new session inside a new transaction: snapshot reads, majority commit."""
    session = await client.start_session() if driver == "motor" else client.start_session()
    started = session.start_transaction(read_concern=ReadConcern("snapshot"), write_concern=_MAJORITY)
    if driver == "pymongo":
        await started
    return session


async def close_client(client: Client, driver: MongoDriver) -> None:
    """Close all connections."""
    closing = client.close()
    if driver == "pymongo":
        await closing


# Transactions that a killed process left open in MongoDB.
#
# The server keeps them, with all they have locked, for `transactionLifetimeLimitSeconds` (a minute)
# and longer:
# until then each write to the same claim or user fails with a conflict. A live transaction of ours
# takes
# milliseconds and survives being aborted, as it is tried again: so those open for too long are ended
# here. Only
# idle transactions of clients with our application name and our user. Called by `MongoLink` when a
# transaction
# keeps colliding.

_log = logging.getLogger(__name__)


async def abort_orphans(client: Client, open_for_s: float) -> int:
    """End our transactions that have been open, and are idle, for longer than `open_for_s`; how many."""
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

_DUPLICATE_KEY = 11000
_FIRST_PAUSE_S = 0.002
_LONGEST_PAUSE_S = 0.25
_ORPHAN_AGE_S = 1.0
"""A transaction of ours that is open for longer belongs to a dead or stuck process."""


class MongoLink:
    """One client and one database for the life of an open store."""

    def __init__(self, client: Client, driver: MongoDriver, timeout_s: float, rng: random.Random) -> None:
        self.client = client
        self.driver = driver
        self._timeout_s = timeout_s
        self._rng = rng
        self._orphan_age_s = min(_ORPHAN_AGE_S, timeout_s / 4)
        self._swept_at_s = -_ORPHAN_AGE_S
        self._database = client.get_default_database(DEFAULT_DATABASE)

    def __getitem__(self, name: Name) -> Any:
        """The collection of this name."""
        return self._database[name.value]

    async def close(self) -> None:
        await close_client(self.client, self.driver)

    async def call(self, work: Callable[[], Awaitable[T]]) -> T:
        """Run one call of the store within its timeout.

        Raises:
            RefusedError: the call contradicts a unique index, or cannot be stored in MongoDB at all.
            UnavailableError: everything else that went wrong on the way.
        """
        try:
            with pymongo.timeout(self._timeout_s):
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
                late = time.monotonic() - started_s + pause_s > self._timeout_s
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
        session = await start_transaction(self.client, self.driver)
        try:
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


def _unavailable(error: PyMongoError) -> UnavailableError:
    if isinstance(error, InvalidOperation):
        return UnavailableError("The store is not open.")
    # The driver's own text names hosts and topology: it stays in the chained error, for the log.
    return UnavailableError(f"The store could not answer ({type(error).__name__}).")


def stored(document: Document, key: str = "id") -> Document:
    """A row as MongoDB keeps it: its key column is `_id`."""
    return {"_id": document[key], **{name: value for name, value in document.items() if name != key}}


def loaded(document: Document, key: str = "id") -> Document:
    """A row as `rows` reads it."""
    return {**document, key: document["_id"]}
