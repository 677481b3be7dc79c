"""When is a service ready? One probe per role; each asks once and answers yes or no.

The probe of MongoDB also founds the replica set, since a `mongod` without one has no transactions and may
lose acknowledged writes.
"""

import asyncio
from contextlib import suppress
from http import HTTPStatus
from typing import Any

from simulator.socketio_client import Endpoint
from simulator.target.http_client import RestClient, RestError

from .plan import LOOPBACK, REPLICA_SET, Role, ServicePlan

PROBE_TIMEOUT_S = 3.0
_MONGO_TIMEOUT_MS = 2_000
NOT_YET_INITIALIZED = 94
"""Source: MongoDB error codes."""


async def is_ready(service: ServicePlan) -> bool:
    """Does the service do its work? Never raises for one that does not answer."""
    with suppress(OSError, RestError):  # a timeout is one, too
        async with asyncio.timeout(PROBE_TIMEOUT_S):
            match service.role:
                case Role.REDIS:
                    return await _pongs(service.port)
                case Role.MONGODB:
                    return await asyncio.to_thread(has_primary, service.port)
                case _:
                    return await _answers(service.port)
    return False


async def _pongs(port: int) -> bool:
    reader, writer = await asyncio.open_connection(LOOPBACK, port)
    try:
        writer.write(b"PING\r\n")
        return await reader.readline() == b"+PONG\r\n"
    finally:
        writer.close()


async def _answers(port: int) -> bool:
    client = RestClient(Endpoint.parse(f"http://{LOOPBACK}:{port}"))
    try:
        return (await client.request("GET", "/readyz", timeout_s=PROBE_TIMEOUT_S)).status == HTTPStatus.OK
    finally:
        await client.close()


def has_primary(port: int, *, replica_set: bool = True) -> bool:
    """Whether this `mongod` takes writes; if `replica_set`, it is made one of one member. Blocks."""
    from pymongo import MongoClient
    from pymongo.errors import OperationFailure, PyMongoError

    client: MongoClient[dict[str, Any]] = MongoClient(
        LOOPBACK,
        port,
        directConnection=True,
        serverSelectionTimeoutMS=_MONGO_TIMEOUT_MS,
        socketTimeoutMS=_MONGO_TIMEOUT_MS,
    )
    try:
        hello = client.admin.command("hello")
        if hello["isWritablePrimary"] and ("setName" in hello or not replica_set):
            return True
        _found_replica_set(client, f"{LOOPBACK}:{port}", OperationFailure)
    except PyMongoError:
        pass  # it starts, or it elects: the next probe tells
    finally:
        client.close()
    return False


def _found_replica_set(client: Any, address: str, failure: type[Any]) -> None:
    """Initiate the set, or tell an older one that its only member moved to another port."""
    member = {"_id": 0, "host": address}
    try:
        config = client.admin.command("replSetGetConfig")["config"]
    except failure as error:
        if error.code == NOT_YET_INITIALIZED:
            client.admin.command("replSetInitiate", {"_id": REPLICA_SET, "members": [member]})
        return
    if config["members"][0]["host"] != address:
        moved = {**config, "version": config["version"] + 1, "members": [{**config["members"][0], **member}]}
        client.admin.command("replSetReconfig", moved, force=True)
