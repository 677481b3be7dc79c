"""What the processes of a run say to each other over `pipe`: an order, questions, answers, words between.

Facts (`publisher.Fact`) travel beside the questions, in order. Called by `remote_shard` and `shard_process`.
"""

import asyncio
import pickle
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..scenario.models import Scenario
from ..scenario.schedule import Workload

# Messages between the processes of one run: length-prefixed pickles over a socket pair, within
# bounds.
#
# Only between a process and the children it started itself, over descriptors nobody else has: a
# pickle from
# anywhere else must never be read. Called by `remote_shard` and `shard_process`.

HEAD_BYTES = 4
MAX_MESSAGE_BYTES = 2**30
MAX_BACKLOG_BYTES = 64 * 2**20
"""What may wait for a process that does not read; beyond it, it is given up."""


class PipeError(Exception):
    """The other process is gone, or does not read, or a message is too large."""


class Pipe:
    """One end. Messages arrive whole and in order."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def over(cls, sock: socket.socket) -> "Pipe":
        """The end that this socket is."""
        return cls(*await asyncio.open_connection(sock=sock))

    def send(self, message: object) -> None:
        """Send a message without waiting. Raises PipeError when the other end is gone or far behind."""
        body = pickle.dumps(message, pickle.HIGHEST_PROTOCOL)
        if len(body) > MAX_MESSAGE_BYTES:
            raise PipeError(f"a message of {len(body)} bytes is too large")
        transport = self._writer.transport
        if transport.is_closing():
            raise PipeError("the other process is gone")
        if transport.get_write_buffer_size() > MAX_BACKLOG_BYTES:
            raise PipeError("the other process does not keep up with what it is told")
        self._writer.write(len(body).to_bytes(HEAD_BYTES, "big") + body)

    async def flush(self) -> None:
        """Wait until the other process took what was sent. Raises PipeError."""
        try:
            await self._writer.drain()
        except OSError as error:
            raise PipeError("the other process is gone") from error

    async def receive(self) -> Any:
        """The next message. Raises PipeError when there will be none."""
        try:
            size = int.from_bytes(await self._reader.readexactly(HEAD_BYTES), "big")
            if size > MAX_MESSAGE_BYTES:
                raise PipeError(f"a message of {size} bytes is too large")
            return pickle.loads(await self._reader.readexactly(size))  # noqa: S301 - see above
        except (OSError, asyncio.IncompleteReadError) as error:
            raise PipeError("the other process is gone") from error

    def close(self) -> None:
        """Close this end at once."""
        self._writer.transport.abort()


# How the clients of a run are shared out over processes: ranges, a user's sockets never apart. Pure.

CLIENTS_PER_PROCESS = 5_000
"""What one process holds with room to spare; `processes = 0` aims at it."""


@dataclass(frozen=True, slots=True)
class Slice:
    """Clients `first` ... `first + count - 1` of the run, and their users. of: how many slices there are."""

    number: int
    of: int
    first: int
    count: int
    users: range

    def __contains__(self, client: int) -> bool:
        return self.first <= client < self.first + self.count


def processes(scenario: Scenario, free_processors: int) -> int:
    """How many processes hold the clients; `scenario.processes` 0: as many as are needed and have a core."""
    asked = scenario.processes
    if asked == 0:
        asked = max(1, min(free_processors, -(-scenario.clients // CLIENTS_PER_PROCESS)))
    return min(asked, scenario.users)


def slices(scenario: Scenario, count: int) -> list[Slice]:
    """The clients in `count` ranges of nearly equal size."""
    tabs, users = scenario.sockets_per_user, scenario.users
    found: list[Slice] = []
    for number in range(count):
        mine = range(users * number // count, users * (number + 1) // count)
        first = mine.start * tabs
        found.append(Slice(number, count, first, min(mine.stop * tabs, scenario.clients) - first, mine))
    return found


@dataclass(frozen=True, slots=True)
class Order:
    """All a process must know to make its clients. url: of the server; entrance: where clients connect."""

    scenario: Scenario
    part: Slice
    url: str
    entrance: str
    path: str
    run_id: str
    tokens_file: Path | None
    workload: Workload
    brief: Any


@dataclass(frozen=True, slots=True)
class Question:
    """Call this method of the shard."""

    number: int
    name: str
    args: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of it; failure: a sentence, empty when it worked."""

    number: int
    value: Any = None
    failure: str = ""


@dataclass(frozen=True, slots=True)
class Progress:
    """So many of the clients have tried to connect."""

    number: int
    done: int


@dataclass(frozen=True, slots=True)
class Note:
    """A sentence for whoever watches."""

    text: str
