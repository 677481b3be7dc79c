"""The people and claims of a run against Vouchstorm: read from the seeding's files, or made over REST.

Called by the vouchstorm profile while it prepares.
"""

import asyncio
import base64
import json
import time
from array import array
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

import orjson

from ...errors import GeneratorLimitError, SetupError
from ...ledger.broadcasts import Kind, Room, RoomBook, Stream
from ...scenario.loader import Scenario
from ...scenario.schedule import stream
from ...target.http_client import Reply, RestClient, RestError
from ..base import Progress

# Files with one JSON object a line: the users and claims that a seeding wrote. Called by the
# profiles.


def read_lines(path: Path | None) -> list[dict[str, Any]]:
    """Objects of a file with one JSON object a line; nothing without a path. Raises SetupError."""
    if path is None:
        return []
    try:
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except OSError as error:
        raise SetupError(f"Cannot read {path}: {error.strerror}.") from error
    except ValueError as error:
        raise SetupError(f"{path} is not one JSON object a line: {error}.") from error


AT_ONCE = 16
TIMEOUT_S = 30.0
PASSWORD = "a password of no importance"  # noqa: S105 - of throw-away users
T = TypeVar("T")
U = TypeVar("U")


@dataclass(slots=True)
class Person:
    """A user. token: the newest; username, password: to get another one."""

    user_id: str
    token: str
    username: str = ""
    password: str = ""

    @property
    def bearer(self) -> dict[str, str]:
        """The header that says who asks."""
        return {"Authorization": f"Bearer {self.token}"}


@dataclass(slots=True)
class ClaimRow:
    """A claim in the books. base: its version when the run began; answered_version: newest one accepted."""

    claim_id: str
    owner: int
    room: Room
    stream: Stream
    base: int
    answered_version: int


@dataclass(slots=True)
class Share:
    """One `consensus_update`: version and, per client, the newest version it showed."""

    version: int
    held: "array[int]"
    said: str


async def people(
    rest: RestClient,
    count: int,
    tokens_file: Path | None,
    run_id: str,
    progress: Progress,
    password: str = "",
) -> list[Person]:
    """The users of a run, checked with the server. password: of those in the file. Raises SetupError."""
    if tokens_file is None:
        return await _register(rest, count, run_id, progress)
    rows = [row for row in read_lines(tokens_file) if "token" in row]
    if len(rows) < count:
        raise GeneratorLimitError(
            f"{tokens_file} holds {len(rows)} users with a token, the scenario needs {count}: seed more, or "
            "use fewer clients."
        )
    found = [
        Person(str(row.get("user_id", "")), str(row["token"]), str(row.get("username", "")), password)
        for row in rows[:count]
    ]
    reply = await ask(rest, "GET", "/api/auth/me", headers=found[0].bearer)
    if reply.status != 200:
        raise SetupError(
            f"The server does not accept the tokens of {tokens_file} ({said(reply)}): seed them against this "
            "server, with its own secret."
        )
    return found


async def _register(rest: RestClient, count: int, run_id: str, progress: Progress) -> list[Person]:
    async def register(number: int) -> Person:
        body = {"username": f"sim-{run_id}-{number}", "password": PASSWORD}
        reply = await ask(rest, "POST", "/api/auth/register", body=body)
        if reply.status != 201:
            raise SetupError(f"The server registers no users for the run ({said(reply)}); give --tokens.")
        session = reply.json()
        return Person(session["user"]["id"], session["token"], body["username"], PASSWORD)

    return await in_parallel(range(count), register, progress)


async def register_stranger(rest: RestClient, run_id: str) -> Person | None:
    """Somebody beside the users of the run; None where the server registers nobody. Raises SetupError."""
    body = {"username": f"stranger-{run_id}", "password": PASSWORD}
    reply = await ask(rest, "POST", "/api/auth/register", body=body)
    if reply.status != 201:
        return None
    session = reply.json()
    return Person(session["user"]["id"], session["token"])


async def claims(
    rest: RestClient,
    book: RoomBook,
    users: Sequence[Person],
    *,
    live: Room,
    count: int,
    quorum: int,
    claims_file: Path | None,
    run_id: str,
    progress: Progress,
) -> list[ClaimRow]:
    """The claims of a run: those of the file that are still open, the rest posted now. Raises SetupError."""
    owners = {person.user_id: number for number, person in enumerate(users)}
    known = [str(row["claim_id"]) for row in read_lines(claims_file) if "claim_id" in row][:count]

    async def look(claim_id: str) -> dict[str, Any] | None:
        reply = await ask(rest, "GET", f"/api/claims/{claim_id}")
        if reply.status != 200:
            raise SetupError(f"The server does not know the seeded claim {claim_id} ({said(reply)}).")
        body: dict[str, Any] = reply.json()
        return body if body["status"] == "open" else None

    async def post(number: int) -> dict[str, Any]:
        owner = users[number % len(users)]
        body = {"title": f"Simulated claim {number} of run {run_id}", "quorum": quorum}
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


async def ask(
    rest: RestClient, method: str, path: str, *, body: object = None, headers: dict[str, str] | None = None
) -> Reply:
    """A request of the set-up; no answer ends it. Raises SetupError."""
    try:
        return await rest.request(method, path, body=body, headers=headers, timeout_s=TIMEOUT_S)
    except RestError as error:
        raise SetupError(f"The server did not answer {method} {path}: {error}.") from error


def said(reply: Reply) -> str:
    """Status and reason of a refusal, for a message."""
    try:
        detail = json.loads(reply.body).get("detail", "")
    except (ValueError, AttributeError):
        detail = ""
    return f"status {reply.status}: {detail}" if detail else f"status {reply.status}"


async def in_parallel(
    items: Sequence[T], work: Callable[[T], Awaitable[U]], progress: Progress, at_once: int = AT_ONCE
) -> list[U]:
    """Results in the order of items, a bounded number under way at once; the first failure ends all."""
    results: dict[int, U] = {}
    queue = iter(enumerate(items))

    async def run() -> None:
        for number, item in queue:
            results[number] = await work(item)
            progress(len(results), len(items))

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(min(at_once, len(items))):
                group.create_task(run())
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from errors
    return [results[number] for number in range(len(items))]


# Tokens that expire: how each client renews its own, and new ones over REST.
#
# The three ways are the scenario's: `reauth` logs in when the server warns and prolongs its socket,
# `login`
# waits to be ended, `never` is ended and stays away. Called by the vouchstorm profile and its
# members.

Renewal = Literal["reauth", "login", "never"]
WAYS: tuple[Renewal, ...] = ("reauth", "login", "never")
SOON_S = 3.0


def way_of(scenario: Scenario, client: int) -> Renewal:
    """How a client of the run renews its token; the same for each seed, however many processes there are."""
    tokens = scenario.tokens
    shares = [tokens.reauth, tokens.login, tokens.never]
    if shares[1:] == [0, 0]:
        return "reauth"
    return stream(scenario.seed, f"tokens:{client}").choices(WAYS, shares)[0]


def expires_at_s(token: str) -> float:
    """When a token expires, seconds of the epoch; infinity when it does not say. Source: RFC 7519, 4.1.4."""
    try:
        payload = token.split(".")[1]
        claims = orjson.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        return float(claims["exp"])
    except (IndexError, ValueError, KeyError, TypeError):
        return float("inf")


class Keyring:
    """Renews tokens; of several that ask for one user's at the same time, one asks the server.

    renewed: new tokens so far.
    """

    def __init__(self, rest: RestClient) -> None:
        self.renewed = 0
        self._rest = rest
        self._under_way: dict[str, asyncio.Task[bool]] = {}

    async def fresh(self, person: Person, soon_s: float = SOON_S) -> None:
        """Renew a token that expires within `soon_s`; one that cannot be renewed is left as it is."""
        if expires_at_s(person.token) - time.time() < soon_s:
            await self.renew(person)

    async def renew(self, person: Person) -> bool:
        """Log in anew; False when the server gave no token."""
        task = self._under_way.get(person.user_id)
        if task is None:
            task = asyncio.get_running_loop().create_task(self._log_in(person))
            self._under_way[person.user_id] = task
            task.add_done_callback(lambda _: self._under_way.pop(person.user_id, None))
        return await asyncio.shield(task)

    async def _log_in(self, person: Person) -> bool:
        body = {"username": person.username, "password": person.password}
        try:
            reply = await self._rest.request("POST", "/api/auth/login", body=body, timeout_s=TIMEOUT_S)
            if reply.status != 200:
                return False
            person.token = str(reply.json()["token"])
        except (RestError, KeyError):
            return False
        self.renewed += 1
        return True

    async def close(self) -> None:
        """Cancel what is under way."""
        tasks = list(self._under_way.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
