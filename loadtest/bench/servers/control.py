"""What every Python contestant shares: its command line, its socket, and its control channel.

Lines on standard input, answers on standard output; the Node peer speaks the same.

    emit                one event to the room, at once
    burst N             N events to the room, at once
    notify N            N notifications, each for one user who is connected nowhere
    metrics on|off      keep metrics or not (only the contestant that has some)
    members             -> number of sockets in the room
    collect             -> `ok` after a full garbage collection
    (end of input)      stop

The first line out is the ready line, a JSON object.
"""

import argparse
import asyncio
import gc
import json
import os
import socket
import sys
from collections.abc import Callable
from importlib.metadata import version
from typing import Protocol

from ..plan import FIRST_NUMBER, ServerOptions


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--users", type=int, default=0)
    parser.add_argument("--ping-interval-s", type=float, default=25.0)
    parser.add_argument("--ping-timeout-s", type=float, default=20.0)
    parser.add_argument("--bus-url", default=None)
    return parser


def server_options(arguments: argparse.Namespace) -> ServerOptions:
    return ServerOptions(
        arguments.port,
        arguments.users,
        arguments.ping_interval_s,
        arguments.ping_timeout_s,
        arguments.bus_url,
    )


def listen(port: int) -> socket.socket:
    """A bound loopback socket with a backlog for storms."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind(("127.0.0.1", port))
    sock.listen(4_096)
    return sock


class Contestant(Protocol):
    """What a server must be able to do."""

    def emit(self, numbers: range) -> None:
        """Send the events of these numbers to everybody in the room, at once, in order."""
        ...

    def notify(self, numbers: range) -> None:
        """Send a notification to each absent user of these numbers."""
        ...

    def keep_metrics(self, on: bool) -> None:
        """Switch the counting on or off; a contestant without metrics does nothing."""
        ...

    def members(self) -> int: ...


class Control:
    """Serves the channel on the running loop."""

    def __init__(self, contestant: Contestant, stop: Callable[[], None]) -> None:
        self._contestant = contestant
        self._stop = stop
        self._partial = b""
        self._next = FIRST_NUMBER

    def start(self, port: int, packages: list[str]) -> None:
        """Say that the server is ready and listen for commands."""
        loop = asyncio.get_running_loop()
        os.set_blocking(sys.stdin.fileno(), False)
        loop.add_reader(sys.stdin.fileno(), self._readable)
        versions = {name: version(name) for name in packages} | {"python": sys.version.split()[0]}
        self._say(json.dumps({"port": port, "pid": os.getpid(), "versions": versions}))

    def _readable(self) -> None:
        data = os.read(sys.stdin.fileno(), 65_536)
        if not data:
            asyncio.get_running_loop().remove_reader(sys.stdin.fileno())
            self._stop()
            return
        *lines, self._partial = (self._partial + data).split(b"\n")
        for line in lines:
            self._obey(line.decode().split())

    def _obey(self, words: list[str]) -> None:
        match words:
            case ["emit"]:
                self._emit(1)
            case ["burst", events]:
                self._emit(int(events))
            case ["notify", users]:
                self._contestant.notify(range(int(users)))
            case ["metrics", level]:
                self._contestant.keep_metrics(level == "on")
            case ["members"]:
                self._say(str(self._contestant.members()))
            case ["collect"]:
                gc.collect()
                self._say("ok")
            case _:
                raise ValueError(f"unknown command {words}")

    def _emit(self, events: int) -> None:
        numbers = range(self._next, self._next + events)
        self._next = numbers.stop
        self._contestant.emit(numbers)

    def _say(self, line: str) -> None:
        print(line, flush=True)
