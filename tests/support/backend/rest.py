"""A small REST client for tests: accounts, claims, validations, the bell."""

import itertools
import json
import uuid
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import aiohttp

PASSWORD = "correct horse battery"
_numbers = itertools.count(1)


@dataclass(frozen=True)
class Account:
    """A registered user and the token that proves it."""

    id: str
    username: str
    token: str

    @property
    def auth(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}


@dataclass(frozen=True)
class Answer:
    """A whole HTTP response."""

    status_code: int
    content: bytes

    @property
    def text(self) -> str:
        return self.content.decode()

    def json(self) -> Any:
        return json.loads(self.content)


class Rest:
    """Speaks to one node. Methods that return plain data fail on anything but success.

    Raises aiohttp.ClientError when the node does not answer.
    """

    def __init__(self, url: str, *, connections: int = 100) -> None:
        self._http = aiohttp.ClientSession(
            url,
            connector=aiohttp.TCPConnector(limit=connections),
            timeout=aiohttp.ClientTimeout(total=30),
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.close()

    async def request(self, method: str, path: str, who: Account | None = None, **options: Any) -> Answer:
        """Any answer."""
        headers = options.pop("headers", {}) | (who.auth if who else {})
        async with self._http.request(method, path, headers=headers, **options) as response:
            return Answer(response.status, await response.read())

    async def get(self, path: str, who: Account | None = None, **params: Any) -> Any:
        """The JSON answer of a GET."""
        answer = await self.request("GET", path, who, params=params)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def post(self, path: str, who: Account | None = None, body: Any = None, **headers: str) -> Answer:
        """Any answer of a POST. headers: with underscores for hyphens."""
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.request("POST", path, who, json=body, headers=given)

    # -------------------------------------------------------------- nouns

    async def account(self, username: str | None = None) -> Account:
        """A new user; without a name one that nobody has."""
        name = username or f"user-{next(_numbers)}-{uuid.uuid4().hex[:8]}"
        answer = await self.post("/api/auth/register", body={"username": name, "password": PASSWORD})
        assert answer.status_code == 201, answer.text
        return Account(answer.json()["user"]["id"], name, answer.json()["token"])

    async def accounts(self, count: int) -> list[Account]:
        """New users, one after the other."""
        return [await self.account() for _ in range(count)]

    async def login(self, account: Account) -> Account:
        """The same user with a fresh token."""
        answer = await self.post("/api/auth/login", body={"username": account.username, "password": PASSWORD})
        assert answer.status_code == 200, answer.text
        return Account(account.id, account.username, answer.json()["token"])

    async def claim(self, owner: Account, *, quorum: int = 3, title: str = "The earth is round") -> str:
        """The id of a new claim."""
        answer = await self.post("/api/claims", owner, {"title": title, "quorum": quorum})
        assert answer.status_code == 201, answer.text
        claim_id: str = answer.json()["id"]
        return claim_id

    async def validate(self, who: Account, claim_id: str, action: str = "vouch", **headers: str) -> Answer:
        """Any answer to a validation."""
        return await self.post(f"/api/claims/{claim_id}/validations", who, {"action": action}, **headers)

    async def vouch(self, who: Account, claim_id: str, action: str = "vouch") -> dict[str, Any]:
        """An accepted validation and its claim."""
        answer = await self.validate(who, claim_id, action)
        assert answer.status_code == 201, answer.text
        stored: dict[str, Any] = answer.json()
        return stored

    async def claim_now(self, claim_id: str) -> dict[str, Any]:
        """The claim as it stands."""
        claim: dict[str, Any] = await self.get(f"/api/claims/{claim_id}")
        return claim

    async def bell(self, who: Account, after_seq: int = 0) -> list[dict[str, Any]]:
        """All of a user's notifications after a seq, ascending."""
        rows: list[dict[str, Any]] = []
        while True:
            page = await self.get("/api/notifications", who, after_seq=after_seq, limit=500)
            rows.extend(page["items"])
            if not page["more"]:
                return rows
            after_seq = rows[-1]["seq"]
