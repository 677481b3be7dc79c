"""The REST room on a real SQLite store in a temporary directory, with a clock that tests move by hand.

No sockets: pushes are recorded. `rest_world` is the composition; tests speak to it through `world.client`.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx

from backend.app.api.router import Api, install, new_api
from backend.app.clock import SortableIds
from backend.app.observability.metrics import Metrics
from backend.app.ports import Push
from backend.app.services.accounts import Accounts
from backend.app.services.claims import Claims
from backend.app.services.consensus_engine import ConsensusEngine
from backend.app.services.container import Services
from backend.app.services.health import Health
from backend.app.services.notification_service import NotificationService
from backend.app.services.passwords import Passwords
from backend.app.services.tokens import Tokens
from backend.app.services.websocket_service import WebSocketService
from backend.app.settings import Settings
from backend.app.store.metered import metered
from backend.app.store.open import sqlite_store
from backend.app.store.sqlite.connection import Database

SECRET = "a-secret-for-tests-of-at-least-32-characters"
PASSWORD = "correct horse battery"


class ManualClock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self._now = datetime(2031, 5, 4, 3, 2, 1, tzinfo=UTC)

    def now(self) -> datetime:
        return self._now

    def advance(self, seconds: float) -> None:
        self._now += timedelta(seconds=seconds)


@dataclass
class RecordingEmitter:
    """Keeps what would have gone to the sockets."""

    pushes: list[Push] = field(default_factory=list)

    def push(self, pushes: Sequence[Push]) -> None:
        self.pushes.extend(pushes)


@dataclass(frozen=True)
class Person:
    """A registered user and the headers that prove it."""

    id: str
    token: str

    @property
    def auth(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}


@dataclass(frozen=True)
class World:
    app: Api
    client: httpx.AsyncClient
    services: Services
    clock: ManualClock
    emitter: RecordingEmitter

    async def person(self, username: str) -> Person:
        """Register a user over REST."""
        answer = await self.client.post(
            "/api/auth/register", json={"username": username, "password": PASSWORD}
        )
        assert answer.status_code == 201, answer.text
        return Person(answer.json()["user"]["id"], answer.json()["token"])

    async def claim(self, owner: Person, **fields: Any) -> str:
        """Post a claim over REST; its id."""
        answer = await self.client.post(
            "/api/claims", json={"title": "The earth is round"} | fields, headers=owner.auth
        )
        assert answer.status_code == 201, answer.text
        claim_id: str = answer.json()["id"]
        return claim_id

    async def validate(self, who: Person, claim_id: str, action: str = "vouch") -> httpx.Response:
        """Post a validation over REST."""
        return await self.client.post(
            f"/api/claims/{claim_id}/validations", json={"action": action}, headers=who.auth
        )


@asynccontextmanager
async def rest_world(directory: Path, **overrides: Any) -> AsyncIterator[World]:
    """A running REST room."""
    settings = Settings(data_dir=directory, node="node-1", jwt_secret=SECRET, **overrides)
    clock, emitter, metrics = ManualClock(), RecordingEmitter(), Metrics("0", "node-1")
    ids = SortableIds(clock)
    inner = sqlite_store(
        Database(directory / "test.db", settings.store_timeout_s), settings.trust_policy, clock
    )
    await inner.open()
    try:
        store = metered(inner, metrics)
        websocket = WebSocketService(emitter)
        tokens = Tokens(SECRET, settings.token_ttl_s, clock)
        passwords = Passwords(time_cost=1, memory_kib=8)
        services = Services(
            settings=settings,
            node="node-1",
            store=store,
            clock=clock,
            ids=ids,
            metrics=metrics,
            health=Health(timeout_s=5),
            tokens=tokens,
            accounts=Accounts(store, tokens, passwords, clock, ids),
            claims=Claims(store, clock, ids, default_quorum=settings.default_quorum),
            engine=ConsensusEngine(store, websocket, clock, ids, settings.consensus_policy),
            notifications=NotificationService(store, websocket, ids),
            websocket=websocket,
        )
        app = new_api()
        install(app, services)
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            yield World(app, client, services, clock, emitter)
    finally:
        await inner.close()
