"""What the processes of a run say to each other, and how: a worker's order, calls, answers, words between.

A worker's process is a child of the first one and shares a socket pair with it that nobody else has: what
comes over it is unpickled, which must never be done with anything from elsewhere.
"""

import asyncio
import contextlib
import os
import pickle
import queue
import socket
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from ..scenario.models import Scenario
from ..scenario.schedule import Workload

MAX_BACKLOG_BYTES = 64 * 2**20
"""What may wait for a process that does not read; beyond it, it is given up."""
CLIENTS_PER_PROCESS = 5_000
"""What one process holds with room to spare; `processes = 0` aims at it."""


class ChannelError(Exception):
    """The other process is gone, or does not read."""


class Channel:
    """One end of a socket pair, for the running event loop: messages arrive whole and in order.

    heard: called on the loop with each message. ended: called there once, when there will be none any more,
    unless this end was closed before.
    """

    # Two threads, for `Connection` blocks, also on a process that stands still in the middle of a message.

    def __init__(self, sock: socket.socket, heard: Callable[[Any], None], ended: Callable[[], None]) -> None:
        self._socket = sock
        self._connection = Connection(os.dup(sock.fileno()))
        self._heard = heard
        self._ended = ended
        self._loop = asyncio.get_running_loop()
        self._outgoing: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._queued_bytes = self._sent_bytes = 0  # one writer each: the loop, and the sending thread
        self._closed = False
        self._threads = [threading.Thread(target=work, daemon=True) for work in (self._receive, self._write)]
        for thread in self._threads:
            thread.start()

    def send(self, message: object) -> None:
        """Send a message without waiting. Raises ChannelError when the other end is gone or far behind."""
        if self._closed:
            raise ChannelError("the other process is gone")
        if self._queued_bytes - self._sent_bytes > MAX_BACKLOG_BYTES:
            raise ChannelError("the other process does not keep up with what it is told")
        body = pickle.dumps(message, pickle.HIGHEST_PROTOCOL)
        self._queued_bytes += len(body)
        self._outgoing.put(body)

    def _write(self) -> None:
        with contextlib.suppress(OSError):
            while (body := self._outgoing.get()) is not None:
                self._connection.send_bytes(body)
                self._sent_bytes += len(body)

    def _receive(self) -> None:
        try:
            with contextlib.suppress(EOFError, OSError):
                while True:
                    self._tell(self._heard, self._connection.recv())
        finally:
            self._tell(self._over)

    def _tell(self, callback: Callable[..., None], *args: Any) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody listens any more
            self._loop.call_soon_threadsafe(callback, *args)

    def _over(self) -> None:
        if not self._closed:
            self._closed = True
            self._ended()

    def close(self) -> None:
        """Close this end at once, whatever still waits."""
        self._closed = True
        self._outgoing.put(None)
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)  # wakes both threads
        for thread in self._threads:
            thread.join()
        self._connection.close()
        self._socket.close()


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
    """The clients in `count` ranges of nearly equal size; the sockets of a user are never apart."""
    tabs, users = scenario.sockets_per_user, scenario.users
    found: list[Slice] = []
    for number in range(count):
        mine = range(users * number // count, users * (number + 1) // count)
        first = mine.start * tabs
        found.append(Slice(number, count, first, min(mine.stop * tabs, scenario.clients) - first, mine))
    return found


@dataclass(frozen=True, slots=True)
class WorkerOrder:
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
class Call:
    """Call this method of the worker. number: of the answer; 0: there is none."""

    number: int
    name: str
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of it; failure: a sentence, empty when it worked. Number 0: the worker is ready."""

    number: int
    value: Any = None
    failure: str = ""


@dataclass(frozen=True, slots=True)
class Progress:
    """So many of the worker's clients have tried to connect."""

    done: int


@dataclass(frozen=True, slots=True)
class Note:
    """A sentence for whoever watches."""

    text: str
