"""Churn: clients come, watch, leave, are cut off and come back, with tokens that expire; facts meanwhile.

Bounded in clients, in publishes per second and in time. Called by the soak and by the tests of planted leaks;
what the samples mean is decided in `soak_judge`.
"""

import asyncio
import json
import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from backend.app.clock import SystemClock
from backend.app.contracts.types import UserId
from backend.app.main import seed_store
from backend.app.seeding import SeedSize
from backend.app.services.tokens import Tokens
from backend.app.settings import load_settings
from simulator.socketio_client import (
    CallTimeoutError,
    ConnectFailedError,
    Endpoint,
    HeartbeatSweep,
    LeanClient,
    NotConnectedError,
    ReconnectPolicy,
)
from simulator.target.http_client import RestClient, RestError
from tests.support.backend.node import SECRET, Node
from tests.support.waiting import until

USERS, CLAIMS = 60, 30
QUORUM = 100_000
SHORT_LIFE_S = 3
PUBLISHES_PER_S = 8.0
CALL_TIMEOUT_S = 10.0
COMES_BACK = ReconnectPolicy(delay_s=0.05, delay_max_s=0.2)
LIMITS: dict[str, object] = {
    "max_sockets_per_user": 0,
    "max_sockets_per_address": 0,
    "max_unauthenticated_per_address": 0,
    "requests_per_user_per_min": 0,
    "requests_per_address_per_min": 0,
    "auth_deadline_s": 2,
    "ping_interval_s": 2,
    "ping_timeout_s": 2,
    "drain_s": 0.2,
    "log_level": "error",
    "retention_days": 1,
}
"""One address plays many people; deadlines are short so that each of them is met."""


@dataclass(frozen=True)
class People:
    """Who takes part: user ids with lasting tokens, claims, and a way to tokens that do not last."""

    tokens: dict[str, str]
    claims: list[str]
    brief: Tokens


@dataclass
class Tally:
    """What the churn did, to know that it did something. trouble: sentences, at most a handful."""

    connects: int = 0
    failures: int = 0
    drops: int = 0
    expiries: int = 0
    silent: int = 0
    watches: int = 0
    publishes: int = 0
    trouble: list[str] = field(default_factory=list)


async def seed(data_dir: Path) -> People:
    """Fill the node's store before it starts. data_dir: exists."""
    settings = load_settings(
        data_dir=data_dir, jwt_secret=SECRET, password_time_cost=1, password_memory_kib=8
    )
    files = data_dir / "tokens.jsonl", data_dir / "claims.jsonl"
    await seed_store(settings, SeedSize(USERS, CLAIMS, quorum=QUORUM), 1, *files, lambda *_: None)
    tokens, claims = ([json.loads(line) for line in file.read_text().splitlines()] for file in files)
    return People(
        {row["user_id"]: row["token"] for row in tokens},
        [row["claim_id"] for row in claims],
        Tokens(SECRET, SHORT_LIFE_S, SystemClock()),
    )


class Quiet:
    """A handler that listens to nothing: what arrives is judged elsewhere, here it only has to be sent."""

    def on_connect(self, client: LeanClient, sid: str, at_ns: int) -> None: ...

    def on_event(self, client: LeanClient, name: str, args: bytes, at_ns: int) -> None: ...

    def on_refused(self, client: LeanClient, body: bytes, at_ns: int) -> None: ...

    def on_disconnect(self, client: LeanClient, reason: str, at_ns: int) -> None: ...


class Churn:
    """`places` clients at any moment, each for a moment only."""

    def __init__(self, url: str, people: People, seed_number: int, places: int) -> None:
        self.tally = Tally()
        self._endpoint = Endpoint.parse(url, "/ws/socket.io/")
        self._people = people
        self._rng = random.Random(seed_number)
        self._places = places
        self._sweep = HeartbeatSweep()
        self._handler = Quiet()

    async def run(self, for_s: float) -> None:
        """Come and go for so long, then leave for good."""
        end_s = time.monotonic() + for_s
        async with asyncio.TaskGroup() as group:
            group.create_task(self._publish(end_s))
            for _ in range(self._places):
                group.create_task(self._place(end_s))

    async def _place(self, end_s: float) -> None:
        visits = (self._visit, self._visit, self._visit, self._cut_off, self._expire, self._say_nothing)
        while time.monotonic() < end_s:
            try:
                await self._rng.choice(visits)()
            except (ConnectFailedError, NotConnectedError, CallTimeoutError) as error:
                self.tally.failures += 1
                if len(self.tally.trouble) < 5:
                    self.tally.trouble.append(f"{type(error).__name__}: {error}")

    @asynccontextmanager
    async def _client(self, auth: Callable[[], dict[str, object] | None]) -> AsyncIterator[LeanClient]:
        transport: Any = "polling" if self._rng.random() < 0.2 else "websocket"
        client = LeanClient(
            self._endpoint,
            self._handler,
            transport=transport,
            auth=auth,
            rng=self._rng,
            policy=COMES_BACK,
            sweep=self._sweep,
        )
        client.start()
        try:
            await client.wait_connected(CALL_TIMEOUT_S)
            self.tally.connects += 1
            yield client
        finally:
            await client.stop()

    def _somebody(self) -> str:
        return self._rng.choice(list(self._people.tokens.values()))

    async def _visit(self) -> None:
        """Watch some claims, look around, leave in good order."""
        token = self._somebody()
        async with self._client(lambda: {"token": token, "live": "watched"}) as client:
            watched = self._rng.sample(self._people.claims, self._rng.randint(1, 6))
            for claim_id in watched:
                await client.call("watch_claim", {"claim_id": claim_id}, timeout_s=CALL_TIMEOUT_S)
            self.tally.watches += len(watched)
            for claim_id in watched[::2]:
                await client.call("unwatch_claim", {"claim_id": claim_id}, timeout_s=CALL_TIMEOUT_S)
            client.emit("sync", {"after_seq": 0})
            await self._linger()

    async def _cut_off(self) -> None:
        """The line goes, and the client comes back by itself with what it had."""
        token = self._somebody()
        async with self._client(lambda: {"token": token, "last_seq": 0}) as client:
            await client.call("watch_claim", {"claim_id": self._people.claims[0]}, timeout_s=CALL_TIMEOUT_S)
            client.drop()
            self.tally.drops += 1
            await client.wait_connected(CALL_TIMEOUT_S)
            await self._linger()

    async def _expire(self) -> None:
        """Stay until the token is no longer valid and the node ends it."""
        user_id = self._rng.choice(list(self._people.tokens))
        token = self._people.brief.issue(UserId(user_id)).token
        async with self._client(lambda: {"token": token}) as client:
            before = client.counters.disconnects
            with suppress(AssertionError):  # counted by what it did
                await until(lambda: client.counters.disconnects > before, timeout_s=SHORT_LIFE_S + 2)
            self.tally.expiries += client.counters.disconnects > before

    async def _say_nothing(self) -> None:
        """Connect without a token, now and then long enough for the deadline."""
        async with self._client(lambda: None):
            self.tally.silent += 1
            await self._linger()

    async def _linger(self) -> None:
        await asyncio.sleep(self._rng.expovariate(4.0) if self._rng.random() > 0.05 else 2.5)

    async def _publish(self, end_s: float) -> None:
        """Each user has one answer to each claim; afterwards only refusals are left, which are work, too."""
        rest = RestClient(self._endpoint)
        pairs = [(token, claim) for token in self._people.tokens.values() for claim in self._people.claims]
        self._rng.shuffle(pairs)
        try:
            while time.monotonic() < end_s:
                token, claim_id = pairs[self.tally.publishes % len(pairs)]
                self.tally.publishes += 1
                with_token = {"Authorization": f"Bearer {token}"}
                path = f"/api/claims/{claim_id}/validations"
                try:
                    await rest.request("POST", path, body={"action": "vouch"}, headers=with_token)
                except RestError as error:
                    self.tally.trouble.append(str(error))
                await asyncio.sleep(1 / PUBLISHES_PER_S)
        finally:
            await rest.close()


async def sample(node: Node, http: httpx.AsyncClient) -> dict[str, float]:
    """The node's metrics now, and its open descriptors, by name."""
    text = (await http.get(f"{node.url}/metrics")).text
    lines = (line.rpartition(" ") for line in text.splitlines() if line and line[0] != "#")
    return {name: float(value) for name, _, value in lines}
