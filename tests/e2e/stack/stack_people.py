"""People for the end-to-end tests of the stack: accounts over REST, sockets by python-socketio's own client.

That client is not ours, so it judges what we send; its HTTP session keeps cookies as a browser does.
"""

import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import httpx
import socketio

from tests.support.waiting import until

PATH = "/ws/socket.io/"
DEADLINE_S = 30.0


@dataclass(frozen=True)
class Person:
    user_id: str
    token: str

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}


def register(url: str, name: str = "person") -> Person:
    """A new account under a name nobody has yet."""
    body = {"username": f"{name}-{uuid.uuid4().hex[:10]}", "password": "correct horse battery"}
    answer = httpx.post(f"{url}/api/auth/register", json=body, timeout=DEADLINE_S).raise_for_status().json()
    return Person(answer["user"]["id"], answer["token"])


def post_claim(url: str, owner: Person, quorum: int = 3) -> str:
    """A new claim's id."""
    body = {"title": "The bridge on Mill Road was closed", "quorum": quorum}
    answer = httpx.post(f"{url}/api/claims", json=body, headers=owner.headers, timeout=DEADLINE_S)
    claim_id: str = answer.raise_for_status().json()["id"]
    return claim_id


def vouch(url: str, person: Person, claim_id: str) -> None:
    httpx.post(
        f"{url}/api/claims/{claim_id}/validations",
        json={"action": "vouch"},
        headers=person.headers,
        timeout=DEADLINE_S,
    ).raise_for_status()


@dataclass
class Ear:
    """A connected socket and what it heard: (event, data) in order."""

    sio: Any
    heard: list[tuple[str, Any]] = field(default_factory=list)

    async def hears(self, event: str, matching: Callable[[Any], bool] = lambda _: True) -> Any:
        """The first such event, waited for."""
        await until(
            lambda: any(name == event and matching(data) for name, data in self.heard), event, DEADLINE_S
        )
        return next(data for name, data in self.heard if name == event and matching(data))

    async def connected_users(self) -> int:
        answer = len([name for name, _ in self.heard if name == "status"])
        await self.sio.emit("get_status", {})
        await until(lambda: len([name for name, _ in self.heard if name == "status"]) > answer)
        status: Any = [data for name, data in self.heard if name == "status"][-1]
        return int(status["connected_users"])


@asynccontextmanager
async def listening(
    url: str, person: Person, transports: tuple[str, ...] = ("websocket",), timeout_s: float = DEADLINE_S
) -> AsyncIterator[Ear]:
    """An authenticated socket."""
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as session:
        sio = socketio.AsyncClient(reconnection=False, http_session=session)
        ear = Ear(sio)
        sio.on("*", lambda event, data=None: ear.heard.append((event, data)))
        await sio.connect(
            url,
            socketio_path=PATH,
            transports=list(transports),
            auth={"token": person.token},
            wait_timeout=timeout_s,
        )
        websocket = sio.eio.ws
        try:
            await ear.hears("authenticated")
            yield ear
        finally:
            await sio.disconnect()
            if websocket is not None:
                # aiohttp leaves this open when the server was killed, and complains when it is collected.
                websocket._response.close()
