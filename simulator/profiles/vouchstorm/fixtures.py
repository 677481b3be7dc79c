"""The people and claims of a run against Vouchstorm: read from the seeding's files, or made over REST."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ...errors import GeneratorLimitError, SetupError
from ...ledger.broadcasts import Kind, Room, RoomBook, Stream
from ...target.http_client import RestClient
from ..base import Progress, Stage, read_lines
from .api import Person, ask, in_parallel, said

PASSWORD = "a password of no importance"  # noqa: S105 - of throw-away users


@dataclass(slots=True)
class ClaimRow:
    """A claim in the books. base: its version when the run began; answered_version: newest one accepted."""

    claim_id: str
    owner: int
    room: Room
    stream: Stream
    base: int
    answered_version: int


async def people(stage: Stage, progress: Progress) -> list[Person]:
    """The users of a run, checked with the server. Raises SetupError."""
    rest, count, path = stage.rest, stage.scenario.users, stage.tokens_file
    if path is None:

        async def register(number: int) -> Person:
            return await register_user(rest, f"sim-{stage.run_id}-{number}")

        return await in_parallel(range(count), register, progress)
    rows = [row for row in read_lines(path) if "token" in row]
    if len(rows) < count:
        raise GeneratorLimitError(
            f"{path} holds {len(rows)} users with a token, the scenario needs {count}: seed more, or "
            "use fewer clients."
        )
    password = stage.scenario.tokens.password
    found = [
        Person(str(row.get("user_id", "")), str(row["token"]), str(row.get("username", "")), password)
        for row in rows[:count]
    ]
    reply = await ask(rest, "GET", "/api/auth/me", headers=found[0].bearer)
    if reply.status != 200:
        raise SetupError(
            f"The server does not accept the tokens of {path} ({said(reply)}): seed them against this "
            "server, with its own secret."
        )
    return found


async def register_user(rest: RestClient, username: str) -> Person:
    """A new user. Raises SetupError, also where the server registers nobody."""
    reply = await ask(rest, "POST", "/api/auth/register", body={"username": username, "password": PASSWORD})
    if reply.status != 201:
        raise SetupError(f"The server registers no users for the run ({said(reply)}); give --tokens.")
    session = reply.json()
    return Person(session["user"]["id"], session["token"], username, PASSWORD)


async def claims(
    stage: Stage, users: Sequence[Person], live: Room, count: int, quorum: int, progress: Progress
) -> list[ClaimRow]:
    """The claims of a run: those of the file that are still open, the rest posted now. Raises SetupError."""
    rest, book = stage.rest, stage.ledger.rooms
    owners = {person.user_id: number for number, person in enumerate(users)}
    known = [str(row["claim_id"]) for row in read_lines(stage.rooms_file) if "claim_id" in row][:count]

    async def look(claim_id: str) -> dict[str, Any] | None:
        reply = await ask(rest, "GET", f"/api/claims/{claim_id}")
        if reply.status != 200:
            raise SetupError(f"The server does not know the seeded claim {claim_id} ({said(reply)}).")
        body: dict[str, Any] = reply.json()
        return body if body["status"] == "open" else None

    async def post(number: int) -> dict[str, Any]:
        owner = users[number % len(users)]
        body = {"title": f"Simulated claim {number} of run {stage.run_id}", "quorum": quorum}
        reply = await ask(rest, "POST", "/api/claims", body=body, headers=owner.bearer)
        if reply.status != 201:
            raise SetupError(f"The server takes no claims for the run ({said(reply)}).")
        made: dict[str, Any] = reply.json()
        return made

    bodies = [body for body in await in_parallel(known, look, progress) if body is not None]
    bodies += await in_parallel(range(len(bodies), count), post, progress)
    return [claim_row(book, live, body, owners.get(body["owner_id"], -1)) for body in bodies]


def claim_row(book: RoomBook, live: Room, body: dict[str, Any], owner: int) -> ClaimRow:
    """A claim entered in the books at the version it stands at."""
    room = book.room(f"claim:{body['id']}")
    base = int(body["version"])
    stream = book.stream(f"claim {body['id']}", Kind.SNAPSHOT, (live, room), base=base)
    return ClaimRow(body["id"], owner, room, stream, base, base)
