"""Load tests by Locust in processes of their own: Locust patches what it lives in."""

import csv
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from simulator.report.files import read_result
from simulator.result import Result

ROOT = Path(__file__).resolve().parents[2]
DEADLINE_S = 60.0
PUSHED = 'name="push:new_notification"'
RUN = """
import json, sys
from pathlib import Path
from loadtest.run import LoadtestOptions, run
given = json.loads(sys.argv[1])
for name in ("tokens", "html"):
    if name in given:
        given[name] = Path(given[name])
sys.exit(run(LoadtestOptions(**given)))
"""


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def until(condition: Callable[[], bool], what: str, deadline_s: float = DEADLINE_S) -> None:
    end = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < end, f"not within {deadline_s} s: {what}"
        time.sleep(0.05)


def read(url: str, data: bytes | None = None, timeout_s: float = 5.0) -> str:
    """What is there; empty while nobody answers."""
    try:
        with urllib.request.urlopen(url, data, timeout=timeout_s) as answer:  # noqa: S310 - our own URL
            return str(answer.read().decode())
    except (OSError, urllib.error.URLError):
        return ""


def page(port: int) -> str:
    return read(f"http://127.0.0.1:{port}/metrics")


def start(log: Path, **options: object) -> "subprocess.Popen[bytes]":
    """A load test; what it says goes to `log`."""
    given = {"extra": ["--only-summary"], **options}
    with log.open("wb") as output:
        return subprocess.Popen(
            [sys.executable, "-c", RUN, json.dumps(given)],
            cwd=ROOT,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )


def end(process: "subprocess.Popen[bytes]", log: Path, deadline_s: float = DEADLINE_S) -> int:
    try:
        return process.wait(deadline_s)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGTERM)
        process.wait(20)
        pytest.fail(f"the load test did not end:\n{log.read_text()[-4000:]}")


def entries(prefix: Path) -> dict[str, dict[str, str]]:
    """Locust's CSV of statistics, by name of the entry."""
    with prefix.with_name(prefix.name + "_stats.csv").open() as file:
        return {row["Name"]: row for row in csv.DictReader(file)}


@dataclass(frozen=True)
class Run:
    """A load test that is over. page: the last of its metrics page."""

    status: int
    result: Result
    entries: dict[str, dict[str, str]]
    page: str
    home: Path

    @property
    def html(self) -> Path:
        return self.home / "run.html"

    @property
    def log(self) -> str:
        return (self.home / "log").read_text()


def whole_run(home: Path, *, seen: Callable[[str], bool], **options: object) -> Run:
    """A load test from beginning to end, with all files. seen: what its metrics page must show meanwhile."""
    port, pages = free_port(), [""]
    files = {"json": str(home / "result.json"), "csv": str(home / "run"), "html": str(home / "run.html")}
    process = start(home / "log", metrics_port=port, **files, **options)

    def watched() -> bool:
        pages[0] = page(port) or pages[0]
        return process.poll() is not None or seen(pages[0])

    until(watched, "what was to be seen on the metrics page")
    status = end(process, home / "log")
    assert (home / "result.json").exists(), (home / "log").read_text()[-4000:]
    return Run(status, read_result(home / "result.json"), entries(home / "run"), pages[0], home)


@dataclass(frozen=True)
class Backend:
    url: str
    tokens: Path
    process: "subprocess.Popen[str]"


@contextmanager
def running_backend(home: Path) -> Iterator[Backend]:
    """A seeded service in a process of its own."""
    tokens = home / "tokens.jsonl"
    base = [sys.executable, "cli.py"]
    place = ["--data-dir", str(home / "data")]
    seed = [*base, "seed", "--users", "40", "--claims", "0", "--tokens", str(tokens), *place]
    subprocess.run(seed, cwd=ROOT, check=True, capture_output=True, timeout=60)
    process = subprocess.Popen(
        [*base, "serve", "--port", "0", "--log-level", "error", *place],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        yield Backend(json.loads(process.stdout.readline())["url"], tokens, process)
    finally:
        process.kill()
        process.communicate()
