"""Real servers for tests and local runs: a one-node MongoDB replica set, a Valkey.

They listen on loopback, live in a temporary directory and are ended by the handle that started them.
Importable without pytest. Handles block; coroutines use `to_thread` or the `*_async` variants.
"""

import asyncio
import signal
import socket
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    asynccontextmanager,
    contextmanager,
)
from pathlib import Path
from typing import Any, Self

from pymongo import MongoClient

from backend.stack.programs import mongod_program, valkey_program
from backend.stack.readiness import has_primary
from simulator.processes import Child, ProcessError, Program, free_port

LOOPBACK = "127.0.0.1"
START_DEADLINE_S = 30.0
_START_TRIES = 3


class LocalService:
    """One child process with a port and a directory that outlive its restarts."""

    name = "service"

    def __init__(self, directory: Path, port: int | None = None) -> None:
        self.directory = directory
        self.port = port or free_port()
        self._child: Child | None = None

    def command(self) -> list[str]:
        """The program and its arguments."""
        raise NotImplementedError

    def answers(self) -> bool:
        """Does the server serve requests?"""
        raise NotImplementedError

    @property
    def child(self) -> Child:
        assert self._child is not None, f"{self.name} is not running"
        return self._child

    @property
    def pid(self) -> int:
        return self.child.pid

    def start(self) -> Self:
        """Start the process and wait until it answers. Raises ProcessError."""
        self._child = Program(self.command(), log=self.directory / "log").start()
        try:
            self._child.until(self.answers, START_DEADLINE_S)
        except ProcessError:
            self.kill()
            raise
        return self

    def stop(self) -> None:
        """Ask the process to end, then insist. Idempotent."""
        child, self._child = self._child, None
        if child is not None:
            child.end()

    def kill(self) -> None:
        """SIGKILL, as a crash would. Idempotent."""
        child, self._child = self._child, None
        if child is not None:
            child.kill()

    def restart(self) -> Self:
        """End if running, then start on the same port and data."""
        self.stop()
        return self.start()

    def pause(self) -> None:
        """SIGSTOP: connections stay open and nothing answers."""
        self.child.send(signal.SIGSTOP)

    def resume(self) -> None:
        self.child.send(signal.SIGCONT)


class Mongod(LocalService):
    """`mongod` as the only member of replica set `rs0`, or standalone."""

    name = "mongod"

    def __init__(self, directory: Path, port: int | None = None, *, replica_set: bool = True) -> None:
        super().__init__(directory, port)
        self._replica_set = replica_set

    def url(self, database: str = "") -> str:
        options = "?replicaSet=rs0" if self._replica_set else ""
        return f"mongodb://{LOOPBACK}:{self.port}/{database}{options}"

    def command(self) -> list[str]:
        data = self.directory / "data"
        data.mkdir(exist_ok=True)
        members = ["--replSet", "rs0"] if self._replica_set else []
        return [
            *(mongod_program(), "--dbpath", str(data), "--port", str(self.port), "--bind_ip", LOOPBACK),
            *("--wiredTigerCacheSizeGB", "0.25", "--networkMessageCompressors", "disabled"),
            *("--nounixsocket", "--quiet", "--setParameter", "ttlMonitorSleepSecs=1"),
            *("--setParameter", "diagnosticDataCollectionEnabled=false", *members),
        ]

    def answers(self) -> bool:
        """Also founds the replica set at the first call that gets through; True once it takes writes."""
        return has_primary(self.port, replica_set=self._replica_set)


def emptied(client: MongoClient[dict[str, Any]], database: str) -> str:
    """The database's name, its documents gone; indexes stay, which makes opening it again fast."""
    for name in client[database].list_collection_names():
        client[database][name].delete_many({})
    return database


class Valkey(LocalService):
    """A Valkey (or Redis) server that keeps nothing on disk."""

    name = "valkey"

    def url(self, database: int = 0) -> str:
        return f"redis://{LOOPBACK}:{self.port}/{database}"

    def command(self) -> list[str]:
        return [
            *(valkey_program(), "--port", str(self.port), "--bind", LOOPBACK, "--dir", str(self.directory)),
            *("--save", "", "--appendonly", "no", "--daemonize", "no"),
        ]

    def answers(self) -> bool:
        try:
            with socket.create_connection((LOOPBACK, self.port), timeout=0.5) as link:
                link.sendall(b"PING\r\n")
                return link.recv(16).startswith(b"+PONG")
        except OSError:
            return False


@contextmanager
def running_mongod(*, replica_set: bool = True) -> Iterator[Mongod]:
    """A started mongod (with a primary); ended and cleaned up on leaving."""
    with _started(Mongod, replica_set=replica_set) as service:
        yield service


@contextmanager
def running_valkey() -> Iterator[Valkey]:
    """A started Valkey; ended and cleaned up on leaving."""
    with _started(Valkey) as service:
        yield service


@contextmanager
def _started(kind: "type[Any]", **options: Any) -> Iterator[Any]:
    """Start on a free port; another process may take the port first, so try again on a new one."""
    prefix = f"vouchstorm-{kind.name}-"
    with tempfile.TemporaryDirectory(prefix=prefix, ignore_cleanup_errors=True) as directory:
        for last in (*[False] * (_START_TRIES - 1), True):
            service = kind(Path(directory), **options)
            try:
                service.start()
            except ProcessError:
                if last:
                    raise
                continue
            break
        try:
            yield service
        finally:
            service.stop()


@asynccontextmanager
async def _in_thread(context: AbstractContextManager[Any]) -> AsyncIterator[Any]:
    """The event loop is not blocked."""
    service = await asyncio.to_thread(context.__enter__)
    try:
        yield service
    finally:
        await asyncio.to_thread(context.__exit__, None, None, None)


def running_valkey_async() -> AbstractAsyncContextManager[Valkey]:
    """`running_valkey` for a coroutine."""
    return _in_thread(running_valkey())
