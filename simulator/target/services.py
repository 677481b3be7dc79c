"""The services of a target that faults can name: where they run, where they answer, whether they are back.

A target that the run started tells of them in its ready line and by its status command; of any other one the
scenario's [services] name a process, an address, a proxy.
"""

import asyncio
import contextlib
import fnmatch
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

from ..errors import SetupError
from ..scenario.models import SERVER, NamedService
from ..socketio_client import Endpoint
from .http_client import RestClient, RestError
from .server import ManagedServer

POLL_S = 0.2
PROBE_TIMEOUT_S = 2.0
READY_PATH = "/readyz"


@dataclass(frozen=True, slots=True)
class Service:
    """pid: 0 while it does not run, or is not known. url: where it answers, empty when that is not known.

    restarts: whoever keeps it starts it again when it ends.
    """

    name: str
    pid: int = 0
    url: str = ""
    restarts: bool = False


class Services:
    """By name. `refresh` before a fault, for a service that was started again is another process."""

    def __init__(self, named: Mapping[str, NamedService], server: ManagedServer | None) -> None:
        self._named = {name: spec for name, spec in named.items() if spec.pid or spec.pid_file is not None}
        self._server = server
        self._known = {each.name: each for each in _announced(server)} if server is not None else {}

    @property
    def names(self) -> list[str]:
        """What there is to break, in alphabetical order."""
        return sorted({*self._known, *self._named})

    def matching(self, target: str) -> list[str]:
        """The names that a target means: one, or those that fit its pattern.

        A server that keeps others is not meant by a pattern.
        """
        hidden = {SERVER} if len(self.names) > 1 and target != SERVER else set()
        return [name for name in self.names if name not in hidden and fnmatch.fnmatchcase(name, target)]

    def find(self, name: str) -> Service:
        """What is known of a service now. Raises SetupError when nothing is."""
        spec = self._named.get(name)
        if spec is not None:
            return Service(name, _pid_of(name, spec), spec.url, spec.restarts)
        if name not in self._known:
            raise SetupError(f"There is no service {name} to break.")
        return self._known[name]

    async def refresh(self) -> None:
        """Ask the target what runs now, if it can tell. Raises SetupError."""
        if self._server is None or not self._server.tells_status:
            return
        rows = (await self._server.status()).get("services", [])
        alive = {str(row["name"]): row for row in rows if row.get("alive")}
        for name, service in self._known.items():
            if name == SERVER:
                continue  # it is who answers
            row = alive.get(name)
            self._known[name] = replace(service, pid=int(row["pid"]) if row else 0)

    async def until_back(self, name: str, old_pid: int, limit_s: float) -> bool:
        """Wait until another process of that name answers; False when it did not in time."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(limit_s):
                while not await self._is_back(name, old_pid):  # noqa: ASYNC110 - it tells nobody
                    await asyncio.sleep(POLL_S)
                return True
        return False

    async def _is_back(self, name: str, old_pid: int) -> bool:
        with contextlib.suppress(SetupError):
            service = self.find(name)
            if service.pid == old_pid and not self._is_static(name):
                await self.refresh()
                service = self.find(name)
            other = service.pid not in (0, old_pid) or self._is_static(name)
            return other and await answers(service.url)
        return False

    def _is_static(self, name: str) -> bool:
        """Nobody says when the process is another one: an answer must do."""
        spec = self._named.get(name)
        return spec is not None and spec.pid is not None


async def answers(url: str) -> bool:
    """Whether a service works: over HTTP it says so at /readyz or has no such page, else it takes a
    connection. A service without an address is taken to."""
    if not url:
        return True
    parts = urlsplit(url)
    try:
        if parts.scheme in ("http", "https"):
            return await _answers_http(url)
        async with asyncio.timeout(PROBE_TIMEOUT_S):
            _, writer = await asyncio.open_connection(parts.hostname, parts.port)
    except (OSError, TimeoutError, ValueError):
        return False
    writer.transport.abort()
    return True


async def _answers_http(url: str) -> bool:
    client = RestClient(Endpoint.parse(url))
    try:
        reply = await client.request("GET", READY_PATH, timeout_s=PROBE_TIMEOUT_S)
    except RestError:
        return False
    finally:
        await client.close()
    return reply.status < 500


def check_signals(service: Service) -> None:
    """Raises SetupError when the process cannot be sent signals."""
    if service.pid <= 1 or service.pid in (os.getpid(), os.getppid()):
        raise SetupError(f"{service.name} has no process that a fault may break (pid {service.pid}).")
    try:
        os.kill(service.pid, 0)
    except ProcessLookupError as error:
        raise SetupError(f"{service.name}: there is no process {service.pid}.") from error
    except PermissionError as error:
        raise SetupError(f"{service.name}: process {service.pid} belongs to somebody else.") from error


def _announced(server: ManagedServer) -> Iterable[Service]:
    facts = server.ready
    yield Service(SERVER, server.pid, server.url)
    pids = facts.get("pids")
    if not isinstance(pids, dict):
        return
    urls = {str(node["name"]): str(node["url"]) for node in facts.get("nodes", [])}
    urls |= {name: str(facts[name]) for name in ("redis", "mongodb") if facts.get(name)}
    for name, pid in pids.items():
        yield Service(str(name), int(pid or 0), urls.get(str(name), ""), server.tells_status)


def _pid_of(name: str, spec: NamedService) -> int:
    if spec.pid is not None:
        return spec.pid
    try:
        return int(Path(spec.pid_file or "").read_text(encoding="utf-8").split()[0])
    except (OSError, ValueError, IndexError) as error:
        raise SetupError(f"{name}: {spec.pid_file} holds no process number.") from error
