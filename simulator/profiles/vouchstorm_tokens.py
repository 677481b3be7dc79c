"""Tokens that expire: how each client renews its own, and new ones over REST.

The three ways are the scenario's: `reauth` logs in when the server warns and prolongs its socket, `login`
waits to be ended, `never` is ended and stays away. Called by the vouchstorm profile and its members.
"""

import asyncio
import base64
import time
from typing import Literal

import orjson

from ..scenario.loader import Scenario
from ..scenario.schedule import stream
from ..target.http_client import RestClient, RestError
from .vouchstorm.fixtures import Person

Renewal = Literal["reauth", "login", "never"]
WAYS: tuple[Renewal, ...] = ("reauth", "login", "never")
SOON_S = 3.0
TIMEOUT_S = 30.0


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
