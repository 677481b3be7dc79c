"""Vouchstorm over REST: who asks, new tokens, and the truth at the end of a run."""

import asyncio
import base64
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import orjson

from ...errors import SetupError
from ...target.http_client import Reply, RestClient, RestError
from ..base import Progress
from .invariants import ClaimFact, NoteFact, UserFact, ValidationFact
from .personas import ACTIONS

AT_ONCE = 16
TIMEOUT_S = 30.0
PAGE = 500
CLAIM_PAGE = 100
SOON_S = 3.0
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


async def ask(
    rest: RestClient, method: str, path: str, *, body: object = None, headers: dict[str, str] | None = None
) -> Reply:
    """A request of the set-up; no answer ends it. Raises SetupError."""
    try:
        return await rest.request(method, path, body=body, headers=headers, timeout_s=TIMEOUT_S)
    except RestError as error:
        raise SetupError(f"The server did not answer {method} {path}: {error}.") from error


def word(reply: Reply, name: str) -> str:
    """A word of an answer; empty where it has none."""
    try:
        return str(reply.json().get(name, ""))
    except (RestError, AttributeError):
        return ""


def said(reply: Reply) -> str:
    """Status and reason of a refusal, for a message."""
    detail = word(reply, "detail")
    return f"status {reply.status}: {detail}" if detail else f"status {reply.status}"


async def in_parallel(items: Sequence[T], work: Callable[[T], Awaitable[U]], progress: Progress) -> list[U]:
    """Results in the order of items, a bounded number under way at once; the first failure ends all."""
    results: dict[int, U] = {}
    queue = iter(enumerate(items))

    async def run() -> None:
        for number, item in queue:
            results[number] = await work(item)
            progress(len(results), len(items))

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(min(AT_ONCE, len(items))):
                group.create_task(run())
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from errors
    return [results[number] for number in range(len(items))]


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


async def read_users(rest: RestClient, users: Sequence[Person], progress: Progress) -> list[UserFact]:
    """Everything the server tells each user about itself. Raises RestError."""

    async def read(person: Person) -> UserFact:
        me = await _get(rest, "/api/auth/me", person.bearer)
        notes = await notifications(rest, person, 0)
        return UserFact(
            id=person.user_id,
            trust_score=me["trust_score"],
            badges=[badge["badge_id"] for badge in me["badges"]],
            last_seq=me["last_seq"],
            notes=[NoteFact(row["seq"], row["id"], row["type"], row["data"]) for row in notes],
        )

    return await in_parallel(users, read, progress)


async def read_claims(rest: RestClient, claim_ids: Sequence[str], progress: Progress) -> list[ClaimFact]:
    """The claims as they stand, with all their validations. Raises RestError."""

    async def read(claim_id: str) -> ClaimFact:
        rows = await _validations(rest, claim_id)
        body = await _get(rest, f"/api/claims/{claim_id}")
        tally, percent = body["tally"], body["percentages"]
        return ClaimFact(
            id=claim_id,
            owner=body["owner_id"],
            status=body["status"],
            version=body["version"],
            total=tally["total"],
            tally={action: tally[action] for action in ACTIONS},
            percent=percent,
            validations=[
                ValidationFact(row["id"], row["user_id"], row["action"], row["version"]) for row in rows
            ],
        )

    return await in_parallel(claim_ids, read, progress)


async def notifications(rest: RestClient, person: Person, after_seq: int) -> list[Any]:
    """All notifications of a user above a seq, ascending. Raises RestError."""
    found: list[Any] = []
    while True:
        page = await _get(rest, f"/api/notifications?after_seq={after_seq}&limit={PAGE}", person.bearer)
        found += page["items"]
        if not page["more"] or not page["items"]:
            return found
        after_seq = page["items"][-1]["seq"]


async def _validations(rest: RestClient, claim_id: str) -> list[Any]:
    found: list[Any] = []
    cursor = ""
    while True:
        page = await _get(rest, f"/api/claims/{claim_id}/validations?limit={CLAIM_PAGE}{cursor}")
        found += page["items"]
        if not page["next_cursor"]:
            return found
        cursor = f"&cursor={page['next_cursor']}"


async def _get(rest: RestClient, path: str, headers: dict[str, str] | None = None) -> Any:
    reply = await rest.request("GET", path, headers=headers, timeout_s=TIMEOUT_S)
    if reply.status != 200:
        raise RestError(f"GET {path} answered with status {reply.status}")
    return reply.json()
