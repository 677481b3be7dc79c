"""What the browser tests run against: the built web client, a real server process, people over REST.

No test doubles here. Called by `conftest.py` and by the tests of this folder.
"""

import asyncio
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from simulator.processes import PIPE, AsyncChild, Program

ROOT = Path(__file__).resolve().parents[2]
FRONTEND = ROOT / "frontend"
DIST = FRONTEND / "dist"
READY_S = 30.0
STOP_S = 15.0
CHEAP_PASSWORDS = {"VOUCHSTORM_PASSWORD_TIME_COST": "1", "VOUCHSTORM_PASSWORD_MEMORY_KIB": "8"}
PASSWORD = "correct horse battery"


class MissingError(Exception):
    """Something of this machine that the tests need is not there; the message says what to do."""


# ---------------------------------------------------------------- the built client


def build_web_client() -> None:
    """Build `frontend/dist` unless it is newer than all its sources. Raises MissingError without Node.js."""
    if not _stale():
        return
    npm = shutil.which("npm")
    if npm is None:
        raise MissingError("The web client is not built and there is no npm: install Node.js 20.19 or newer.")
    if not (FRONTEND / "node_modules" / "vite").is_dir():
        _run(npm, "ci", "--no-audit", "--no-fund")
    _run(npm, "run", "build")
    (DIST / ".built").touch()


def _stale() -> bool:
    index = DIST / "index.html"
    if not index.is_file():
        return True
    places = [FRONTEND / "src", FRONTEND / "public"]
    sources = [path for place in places for path in place.rglob("*") if path.is_file()]
    sources += [FRONTEND / name for name in ("index.html", "package-lock.json", "vite.config.js")]
    return max(path.stat().st_mtime for path in sources) > index.stat().st_mtime


def _run(*command: str) -> None:
    done = subprocess.run(command, cwd=FRONTEND, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command[1:])} failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")


def axe_source() -> str:
    """The accessibility checker, from the client's own locked dependencies."""
    path = FRONTEND / "node_modules" / "axe-core" / "axe.min.js"
    if not path.is_file():
        npm = shutil.which("npm")
        if npm is None:
            raise MissingError("axe-core is not installed: run `npm ci` in frontend/.")
        _run(npm, "ci", "--no-audit", "--no-fund")
    return path.read_text(encoding="utf-8")


# ---------------------------------------------------------------- the server


class Server:
    """One node as its own process, on a port that stays the same over restarts."""

    def __init__(self, data_dir: Path, settings: Mapping[str, str] | None = None) -> None:
        self._data_dir = data_dir
        self._settings = {**CHEAP_PASSWORDS, **(settings or {})}
        self._child: AsyncChild | None = None
        self._port = 0
        self.url = ""

    async def start(self) -> None:
        """Start and wait until it says that it is ready."""
        self._data_dir.mkdir(parents=True, exist_ok=True)
        words = [
            sys.executable,
            "cli.py",
            "serve",
            "--port",
            str(self._port),
            "--data-dir",
            str(self._data_dir),
        ]
        ours: dict[str, str | None] = {name: None for name in os.environ if name.startswith("VOUCHSTORM_")}
        log = self._data_dir / "server.log"
        self._child = await Program(
            words, cwd=ROOT, env={**ours, **self._settings}, log=log, stdout=PIPE
        ).spawn()
        self.url = (await self._child.facts(READY_S))["url"]
        self._port = int(self.url.rsplit(":", 1)[1])

    async def stop(self) -> None:
        """Stop it as an operator would, and wait until it is gone."""
        child, self._child = self._child, None
        if child is not None and await child.end(STOP_S):
            raise TimeoutError("the server had to be killed")


class NoWebSockets:
    """A proxy in front of a server that lets everything through but websockets, as some networks do."""

    def __init__(self, target_url: str) -> None:
        self._target_port = int(target_url.rsplit(":", 1)[1])
        self._connections: set[asyncio.Task[None]] = set()
        self.refused = 0
        self.url = ""

    async def __aenter__(self) -> "NoWebSockets":
        self._listener = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._listener.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._listener.close()
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)
        await self._listener.wait_closed()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._serve(reader, writer))
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", self._target_port)
        answers = asyncio.create_task(self._pump(there, writer))
        try:
            while chunk := await reader.read(65_536):
                if b"upgrade: websocket" in chunk.lower():
                    self.refused += 1
                    writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                    await writer.drain()
                    break
                back.write(chunk)
                await back.drain()
        except OSError:
            pass
        finally:
            answers.cancel()
            back.close()
            writer.close()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while chunk := await reader.read(65_536):
                writer.write(chunk)
                await writer.drain()
        except OSError:
            pass
        writer.close()


# ---------------------------------------------------------------- people


@dataclass(frozen=True, slots=True)
class Person:
    """A registered user with a valid token."""

    id: str
    username: str
    token: str
    user: dict[str, Any]

    def storage(self, url: str) -> dict[str, Any]:
        """The browser storage of somebody who signed in before."""
        entries = {"vouchstorm.token": self.token, "vouchstorm.user": json.dumps(self.user)}
        return {
            "cookies": [],
            "origins": [
                {"origin": url, "localStorage": [{"name": k, "value": v} for k, v in entries.items()]}
            ],
        }


class Community:
    """People who act over REST, and the ledger: what the server says that somebody was told."""

    def __init__(self, url: str) -> None:
        self._http = httpx.AsyncClient(base_url=url, timeout=15)
        self._registered = 0

    async def aclose(self) -> None:
        await self._http.aclose()

    async def register(self, name: str) -> Person:
        """A new user whose username starts with `name`."""
        self._registered += 1
        username = f"{name.lower()}{self._registered}-{os.urandom(3).hex()}"
        body = {"username": username, "password": PASSWORD, "display_name": name}
        session = await self._post(None, "/api/auth/register", body)
        return Person(session["user"]["id"], username, session["token"], session["user"])

    async def several(self, count: int) -> list[Person]:
        return [await self.register(f"Voter{number}") for number in range(count)]

    async def post_claim(self, owner: Person, title: str, quorum: int = 3) -> str:
        claim = await self._post(
            owner, "/api/claims", {"title": title, "quorum": quorum, "body": "Look at it."}
        )
        return str(claim["id"])

    async def vote(self, voter: Person, claim_id: str, action: str = "vouch") -> None:
        await self._post(voter, f"/api/claims/{claim_id}/validations", {"action": action})

    async def status(self, claim_id: str) -> str:
        return str((await self._get(None, f"/api/claims/{claim_id}"))["status"])

    async def logout(self, person: Person) -> None:
        await self._post(person, "/api/auth/logout", None)

    async def ledger(self, person: Person) -> list[dict[str, Any]]:
        """All notifications of a user, ascending."""
        rows: list[dict[str, Any]] = []
        while True:
            after = rows[-1]["seq"] if rows else 0
            page = await self._get(person, f"/api/notifications?after_seq={after}&limit=200")
            rows += page["items"]
            if not page["more"]:
                return rows

    async def unread(self, person: Person) -> int:
        return sum(not row["read"] for row in await self.ledger(person))

    async def _get(self, person: Person | None, path: str) -> Any:
        answer = await self._http.get(path, headers=_bearer(person))
        answer.raise_for_status()
        return answer.json()

    async def _post(self, person: Person | None, path: str, body: Any) -> Any:
        answer = await self._http.post(path, json=body, headers=_bearer(person))
        answer.raise_for_status()
        return answer.json() if answer.content else None


def _bearer(person: Person | None) -> dict[str, str]:
    return {} if person is None else {"Authorization": f"Bearer {person.token}"}


async def until(condition: Callable[[], Awaitable[bool]], what: str, within_s: float = 20.0) -> None:
    """Wait for a condition until a deadline. Raises AssertionError naming `what`."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + within_s
    while not await condition():
        assert loop.time() < deadline, f"not within {within_s} s: {what}"
        await asyncio.sleep(0.05)
