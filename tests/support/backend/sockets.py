"""The official python-socketio client as a witness: it writes down every event in order."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import socketio

from tests.support.backend.rest import Account
from tests.support.waiting import DEADLINE_S, until

PATH = "/ws/socket.io/"
DURABLE = {
    "new_notification",
    "validation_received",
    "consensus_reached",
    "badge_earned",
    "trust_score_update",
}
SNAPSHOTS = {"validation_count_update", "consensus_update"}


class Witness:
    """One Socket.IO connection.

    events: (name, data) in the order of arrival. refused: the data of CONNECT_ERROR, if any.
    """

    def __init__(self) -> None:
        self.events: list[tuple[str, Any]] = []
        self.refused: list[Any] = []
        self.disconnects: list[str] = []
        self._http = aiohttp.ClientSession(trace_configs=[_reading_everything()])
        self.client = socketio.AsyncClient(reconnection=False, http_session=self._http)
        self.client.on("*", self._heard)
        self.client.on("connect_error", self.refused.append)
        self.client.on("disconnect", self.disconnects.append)

    async def _heard(self, name: str, data: Any = None) -> None:
        self.events.append((name, data))

    @property
    def gone(self) -> bool:
        """Is the transport closed?"""
        return bool(self.client.eio.state == "disconnected")

    @property
    def transport(self) -> str:
        name: str = self.client.transport()
        return name

    # -------------------------------------------------------------- what it heard

    def named(self, name: str) -> list[Any]:
        """The data of all events of that name."""
        return [data for heard, data in self.events if heard == name]

    @property
    def names(self) -> set[str]:
        return {name for name, _ in self.events}

    @property
    def durable(self) -> list[tuple[str, Any]]:
        return [(name, data) for name, data in self.events if name in DURABLE]

    @property
    def seqs(self) -> list[int]:
        """Seqs of the bell, in order of arrival."""
        return [data["seq"] for data in self.named("new_notification")]

    def versions(self, claim_id: str, name: str = "validation_count_update") -> list[int]:
        """Versions of one claim's live updates, in order of arrival."""
        return [data["version"] for data in self.named(name) if data["claim_id"] == claim_id]

    async def hear(self, name: str, count: int = 1) -> Any:
        """The count-th event of that name, as soon as it is there."""
        await until(lambda: len(self.named(name)) >= count, f"{count} x {name}; heard {self.names}")
        return self.named(name)[count - 1]

    # -------------------------------------------------------------- what it says

    async def connect(self, url: str, auth: Any, *, transports: list[str] | None) -> None:
        await self.client.connect(
            url, auth=auth, transports=transports, socketio_path=PATH, wait_timeout=DEADLINE_S
        )

    async def ask(self, event: str, data: Any = None) -> Any:
        """Send an event and return its ack."""
        return await self.client.call(event, {} if data is None else data, timeout=DEADLINE_S)

    async def settle(self) -> None:
        """Return when everything the server had posted to this socket before is here: one round trip."""
        await self.ask("ping")

    async def close(self) -> None:
        """Leave and let go of everything."""
        try:
            await self.client.disconnect()
            await until(lambda: self.gone, "the client lets go")
        finally:
            await self._http.close()


def _reading_everything() -> aiohttp.TraceConfig:
    """The library leaves refused answers unread, which keeps their connections open."""

    async def read(session: Any, context: Any, ended: aiohttp.TraceRequestEndParams) -> None:
        if ended.response.status != 101:
            await ended.response.read()

    config = aiohttp.TraceConfig()
    config.on_request_end.append(read)
    return config


def auth_of(
    who: Account | str | None, last_seq: int | None = None, live: str | None = None
) -> dict[str, Any]:
    """The CONNECT payload; only what is given."""
    token = who.token if isinstance(who, Account) else who
    given = {"token": token, "last_seq": last_seq, "live": live}
    return {name: value for name, value in given.items() if value is not None}


@asynccontextmanager
async def connected(
    url: str,
    who: Account | str | None = None,
    *,
    last_seq: int | None = None,
    live: str | None = None,
    transports: list[str] | None = None,
) -> AsyncIterator[Witness]:
    """A connected witness; with a token it has been authenticated. transports: default websocket only."""
    witness = Witness()
    try:
        await witness.connect(url, auth_of(who, last_seq, live), transports=transports or ["websocket"])
        if who is not None:
            await witness.hear("authenticated")
        yield witness
    finally:
        await asyncio.wait_for(witness.close(), DEADLINE_S)
