"""Transactions that a killed process left open in MongoDB.

The server keeps them, with all they have locked, for `transactionLifetimeLimitSeconds` (a minute) and longer:
until then each write to the same claim or user fails with a conflict. A live transaction of ours takes
milliseconds and survives being aborted, as it is tried again: so those open for too long are ended here. Only
idle transactions of clients with our application name and our user. Called by `MongoLink` when a transaction
keeps colliding.
"""

import logging

from pymongo.errors import OperationFailure

from .mongo_driver import APPLICATION, Client

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
