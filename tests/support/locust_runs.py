"""Load tests by Locust in processes of their own: Locust patches what it lives in."""

import csv
import json
import signal
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from simulator.processes import PIPE, Child, ProcessError, Program, free_port
from simulator.report.files import read_result
from simulator.result import Result
from tests.support.waiting import wait_until

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


def read(url: str, data: bytes | None = None, timeout_s: float = 5.0) -> str:
    """What is there; empty while nobody answers."""
    try:
        with urllib.request.urlopen(url, data, timeout=timeout_s) as answer:  # noqa: S310 - our own URL
            return str(answer.read().decode())
    except (OSError, urllib.error.URLError):
        return ""


def page(port: int) -> str:
    return read(f"http://127.0.0.1:{port}/metrics")


def start(log: Path, **options: object) -> Child:
    """A load test; what it says goes to `log`."""
    given = {"extra": ["--only-summary"], **options}
    words = [sys.executable, "-c", RUN, json.dumps(given)]
    return Program(words, cwd=ROOT, env={"PYTHONPATH": str(ROOT)}, log=log).start()


def end(child: Child, deadline_s: float = DEADLINE_S) -> int:
    """Its exit code, waited for."""
    try:
        return child.wait(deadline_s)
    except ProcessError as error:
        child.send(signal.SIGTERM)
        child.end(20)
        pytest.fail(f"the load test did not end: {error}")


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
    child = start(home / "log", metrics_port=port, **files, **options)

    def watched() -> bool:
        pages[0] = page(port) or pages[0]
        return child.returncode is not None or seen(pages[0])

    wait_until(watched, "what was to be seen on the metrics page", DEADLINE_S)
    status = end(child)
    assert (home / "result.json").exists(), (home / "log").read_text()[-4000:]
    return Run(status, read_result(home / "result.json"), entries(home / "run"), pages[0], home)


@dataclass(frozen=True)
class Backend:
    url: str
    tokens: Path
    process: Child

    def load(self, home: Path, **options: object) -> Child:
        """A load test on it; its files (`log`, `result.json`, `run_stats.csv`) are in `home`."""
        files = {"json": str(home / "result.json"), "csv": str(home / "run")}
        return start(home / "log", host=self.url, tokens=str(self.tokens), **{**files, **options})


@contextmanager
def running_backend(home: Path) -> Iterator[Backend]:
    """A seeded service in a process of its own."""
    tokens = home / "tokens.jsonl"
    base = [sys.executable, "cli.py"]
    place = ["--data-dir", str(home / "data")]
    seed = [*base, "seed", "--users", "40", "--claims", "0", "--tokens", str(tokens), *place]
    with Program(seed, cwd=ROOT, log=home / "seed.log").running() as seeding:
        assert seeding.wait(DEADLINE_S) == 0, seeding.last_words()
    words = [*base, "serve", "--port", "0", "--log-level", "error", *place]
    with Program(words, cwd=ROOT, stdout=PIPE).running(grace_s=0) as child:
        yield Backend(child.facts()["url"], tokens, child)
