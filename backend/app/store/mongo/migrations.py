"""Opening a MongoDB: is it a replica set, is the schema ours and not newer, are all indexes there?

Refuses a standalone server: it has no transactions and loses acknowledged writes when killed.

Steps bring a database from one schema version to the next; each may run twice, and on several nodes. Nodes of
the version before go on working on a migrated database until they are replaced (a rolling deploy): so steps
only add, and readers bear what older nodes leave out.
"""

import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from pymongo import IndexModel
from pymongo.errors import OperationFailure, PyMongoError

from ...errors import SetupError, UnavailableError
from ..schema import MONGO_INDEXES, MONGO_VERSION, MongoIndex, Name
from .connection import MongoConnection, close_client, make_probe

Step = Callable[[MongoConnection], Awaitable[None]]


async def _to_version_2(connection: MongoConnection) -> None:
    """Users know up to where their notifications were forgotten; effects, when they were applied.

    For older effects that is not known: they count from now on.
    """
    await connection[Name.USERS].update_many(
        {"trimmed_seq": {"$exists": False}}, {"$set": {"trimmed_seq": 0}}
    )
    await connection[Name.EFFECTS].update_many(
        {"applied_at_us": {"$exists": False}}, {"$set": {"applied_at_us": time.time_ns() // 1_000}}
    )


STEPS: tuple[Step, ...] = (_to_version_2,)
"""The first leads from version 1 to 2; never edited once released, only appended."""


assert len(STEPS) == MONGO_VERSION - 1  # noqa: S101 - a version without its step must not be released


_PROBE_TIMEOUT_S = 1.0
_AUTHENTICATION_FAILED = 18
_UNAUTHORIZED = 13
_INDEX_OPTIONS_CONFLICT = 85
_INDEX_KEYS_CONFLICT = 86

_STANDALONE = (
    "MongoDB runs standalone, but Vouchstorm needs a replica set (one member is enough) for transactions and "
    "durable writes; start mongod with --replSet rs0 and run rs.initiate() once in mongosh."
)
_NOT_INITIATED = (
    "MongoDB was started with --replSet but its replica set was never initiated; "
    "run rs.initiate() once in mongosh."
)


async def open_connection(connection: MongoConnection) -> None:
    """Connect, check the server and the schema, create what is missing.

    Raises:
        SetupError: with what to do.
        UnavailableError: no primary answers.
    """
    connection.connect()
    try:
        await _prepare(connection)
    except BaseException:
        await connection.close()
        raise


async def _prepare(connection: MongoConnection) -> None:
    try:
        await connection.call(lambda: _check_topology(connection))
        await connection.call(lambda: _migrate(connection))
        for name in MONGO_INDEXES:
            await connection.call(partial(_create_indexes, connection, name))
    except UnavailableError as error:
        reason = _refused_by_server(error.__cause__) or await _reason_without_primary(connection)
        if reason is not None:
            raise SetupError(reason) from error
        raise UnavailableError("No primary of the MongoDB in VOUCHSTORM_STORE_URL answers.") from error


def _refused_by_server(error: BaseException | None) -> str | None:
    if isinstance(error, OperationFailure) and error.code in (_AUTHENTICATION_FAILED, _UNAUTHORIZED):
        return (
            "MongoDB refuses the user or password in VOUCHSTORM_STORE_URL, or the user may not create "
            "collections; check them, and authSource."
        )
    return None


async def _check_topology(connection: MongoConnection) -> None:
    reason = _reason_in(await connection.client.admin.command("hello"))
    if reason is not None:
        raise SetupError(reason)


def _reason_in(hello: dict[str, Any]) -> str | None:
    """Why a server that says this cannot be used; None for members of a replica set and for mongos."""
    if hello.get("msg") == "isdbgrid" or "setName" in hello:
        return None
    return _NOT_INITIATED if hello.get("isreplicaset") else _STANDALONE


async def _reason_without_primary(connection: MongoConnection) -> str | None:
    """What the first server of the URL says about itself, when asked alone."""
    probe = make_probe(connection.url, connection.driver, _PROBE_TIMEOUT_S)
    if probe is None:
        return None
    try:
        return _reason_in(await probe.admin.command("hello"))
    except PyMongoError:
        return None
    finally:
        await close_client(probe, connection.driver)


async def _migrate(connection: MongoConnection) -> None:
    meta = connection[Name.META]
    await meta.update_one({"_id": "schema"}, {"$setOnInsert": {"version": MONGO_VERSION}}, upsert=True)
    found = await meta.find_one({"_id": "schema"})
    version = found["version"]
    if version > MONGO_VERSION:
        raise SetupError(
            f"The MongoDB database has schema version {version}, but this program only knows "
            f"{MONGO_VERSION}; run the Vouchstorm version that wrote it, or a newer one."
        )
    for reached, step in enumerate(STEPS[version - 1 :], version + 1):
        await step(connection)
        await meta.update_one({"_id": "schema"}, {"$max": {"version": reached}})


async def _create_indexes(connection: MongoConnection, name: Name) -> None:
    """Create the indexes of a collection; equal ones are left alone, so that a second node costs nothing.

    Raises:
        SetupError: an index of one of their names exists and is another one.
    """
    try:
        await connection[name].create_indexes([_model(index) for index in MONGO_INDEXES[name]])
    except OperationFailure as error:
        if error.code not in (_INDEX_OPTIONS_CONFLICT, _INDEX_KEYS_CONFLICT):
            raise
        raise SetupError(
            f"The MongoDB collection {name.value} has other indexes than Vouchstorm needs; "
            "drop the differing ones, or use another database."
        ) from error


def _model(index: MongoIndex) -> IndexModel:
    options: dict[str, Any] = {"name": index.name, "unique": index.unique}
    if index.only is not None:
        options["partialFilterExpression"] = index.only
    if index.expires:
        options["expireAfterSeconds"] = 0
    return IndexModel(list(index.columns), **options)
