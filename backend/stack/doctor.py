"""`vouchstorm doctor`: what this machine has, what is missing, and how to get it. Changes nothing."""

import os
import resource
import shutil
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from ..app.errors import SetupError
from .programs import caddy_program, installed_version, mongod_program, node_trouble, valkey_program

ENOUGH_FILES = 10_000
ENOUGH_MEMORY_BYTES = 2 * 2**30
NODE_BUILDS = "building and testing the web UI"


class Level(StrEnum):
    OK = "ok"
    WARN = "warn"
    MISSING = "missing"


@dataclass(frozen=True, slots=True)
class Finding:
    """`fact`: what was found, or what to do. `needed_for`: what does not work without."""

    name: str
    level: Level
    fact: str
    needed_for: str


def examine(port: int, data_dir: Path) -> list[Finding]:
    """Look at the machine: limits, programs, the port and the data directory of a default node."""
    return [
        *_limits(),
        _port(port),
        _writable(data_dir),
        *_services(),
        _node(),
        *_tools(),
    ]


def _limits() -> Iterator[Finding]:
    found = ".".join(map(str, sys.version_info[:3]))
    yield Finding("Python", Level.OK, found, "everything")
    cores = len(os.sched_getaffinity(0))
    if cores >= 2:
        yield Finding(
            "cores", Level.OK, f"{cores}", "honest figures: server and generator on different cores"
        )
    else:
        yield Finding("cores", Level.WARN, "1: server and generator share it, figures mean little", "figures")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    reach = max(soft, hard) if hard != resource.RLIM_INFINITY else 2**30
    if reach >= ENOUGH_FILES:
        yield Finding("open files", Level.OK, f"{soft} (may be raised to {hard})", "many sockets")
    else:
        yield Finding(
            "open files", Level.WARN, f"at most {hard}; raise it with: ulimit -Hn 65536", "many sockets"
        )
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    level = Level.OK if memory >= ENOUGH_MEMORY_BYTES else Level.WARN
    yield Finding("memory", level, f"{memory / 2**30:.1f} GiB", "the full stack")


def _port(port: int) -> Finding:
    with closing(socket.socket()) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return Finding(
                f"port {port}", Level.WARN, "in use; choose another with --port", "serve with its default"
            )
    return Finding(f"port {port}", Level.OK, "free", "serve with its default")


def _writable(data_dir: Path) -> Finding:
    nearest = next(path for path in (data_dir.resolve(), *data_dir.resolve().parents) if path.exists())
    if os.access(nearest, os.W_OK):
        return Finding("data directory", Level.OK, str(data_dir), "the embedded store")
    return Finding(
        "data directory",
        Level.MISSING,
        f"{data_dir} cannot be written; choose another with --data-dir",
        "serve",
    )


def _services() -> Iterator[Finding]:
    programs: tuple[tuple[str, Callable[[], str]], ...] = (
        ("Redis / Valkey", valkey_program),
        ("MongoDB", mongod_program),
        ("Caddy", caddy_program),
    )
    for name, find in programs:
        try:
            yield Finding(name, Level.OK, find(), "--stack full")
        except SetupError as error:
            yield Finding(name, Level.MISSING, str(error), "--stack full")


def _node() -> Finding:
    trouble = node_trouble()
    if trouble is None:
        return Finding("Node.js", Level.OK, f"{installed_version()} at {shutil.which('node')}", NODE_BUILDS)
    return Finding("Node.js", Level.MISSING, trouble, NODE_BUILDS)


def _tools() -> Iterator[Finding]:
    tools = (
        ("Chromium", ("chromium", "chromium-browser"), "apt-get install chromium", "browser tests"),
        ("Prometheus", ("prometheus",), "apt-get install prometheus", "make observe, dashboards check"),
    )
    for name, programs, install, needed_for in tools:
        found = next(filter(None, map(shutil.which, programs)), None)
        if found:
            yield Finding(name, Level.OK, found, needed_for)
        else:
            yield Finding(name, Level.MISSING, f"not found; get it with: {install}", needed_for)
