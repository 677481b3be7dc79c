"""A MongoDB replica set of three members, in place of the stack's set of one.

Founds the set at the first probe at which all members answer. Elections are called after two seconds without
a primary instead of ten, so that a run sees the whole of one. Called by `chaos_scene` and `chaos_faults`.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pymongo import MongoClient
from pymongo.errors import OperationFailure, PyMongoError

from backend.stack.plan import DATABASE, LOOPBACK, REPLICA_SET, Role, ServicePlan, StackPlan
from backend.stack.readiness import NOT_YET_INITIALIZED
from simulator.processes import free_port

MEMBERS = 3
ELECTION_TIMEOUT_MS = 2_000
WHOLE = {"PRIMARY", "SECONDARY"}


def add_members(plan: StackPlan) -> tuple[StackPlan, list[int], str]:
    """The plan with two more members, all ports, and the URL of the set."""
    (first,) = plan.with_role(Role.MONGODB)
    members = [first, *(_member(first, number) for number in range(2, MEMBERS + 1))]
    others = [service for service in plan.services if service is not first]
    ports = [member.port for member in members]
    hosts = ",".join(f"{LOOPBACK}:{port}" for port in ports)
    url = f"mongodb://{hosts}/{DATABASE}?replicaSet={REPLICA_SET}"
    return replace(plan, services=(*members, *others)), ports, url


def _member(first: ServicePlan, number: int) -> ServicePlan:
    home = Path(f"{first.directories[0]}-{number}")
    port = free_port()
    changed = {str(first.directories[0]): str(home), str(first.port): str(port)}
    return replace(
        first,
        name=f"mongodb-{number}",
        command=tuple(changed.get(word, word) for word in first.command),
        port=port,
        log=first.log.with_name(f"mongodb-{number}.log"),
        directories=(home,),
    )


def member_is_ready(port: int, ports: Sequence[int]) -> bool:
    """Is this member, and is there a primary beside it? Blocks."""
    try:
        with _asked_alone(port) as client:
            states = _states(client, ports)
    except PyMongoError:
        return False
    me = states.get(f"{LOOPBACK}:{port}")
    return me in WHOLE and "PRIMARY" in states.values()


def primary_port(port: int) -> int:
    """Of the member that takes writes, as the member at `port` sees it. Blocks. Raises PyMongoError."""
    with _asked_alone(port) as client:
        states = _states(client, ())
    address = next(name for name, state in states.items() if state == "PRIMARY")
    return int(address.rpartition(":")[2])


def _states(client: "MongoClient[dict[str, Any]]", ports: Sequence[int]) -> dict[str, str]:
    try:
        status = client.admin.command("replSetGetStatus")
    except OperationFailure as error:
        if error.code == NOT_YET_INITIALIZED and ports and client.address == (LOOPBACK, ports[0]):
            _found(client, ports)
        raise
    return {member["name"]: member["stateStr"] for member in status["members"]}


def _found(client: "MongoClient[dict[str, Any]]", ports: Sequence[int]) -> None:
    members = [{"_id": place, "host": f"{LOOPBACK}:{port}"} for place, port in enumerate(ports)]
    settings = {"electionTimeoutMillis": ELECTION_TIMEOUT_MS}
    client.admin.command("replSetInitiate", {"_id": REPLICA_SET, "members": members, "settings": settings})


def _asked_alone(port: int) -> "MongoClient[dict[str, Any]]":
    return MongoClient(
        LOOPBACK, port, directConnection=True, serverSelectionTimeoutMS=2_000, socketTimeoutMS=5_000
    )
