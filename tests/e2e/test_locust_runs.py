"""Load tests by Locust against a real backend, in processes of their own: Locust patches what it lives in."""

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
from dataclasses import dataclass
from pathlib import Path

import pytest

from simulator.report.files import read_result
from simulator.result import Result

# A minute of Locust; run with: python -m pytest -m slow tests/e2e/test_locust_runs.py
pytestmark = pytest.mark.slow

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
FORGETFUL = """
import loadtest.locustfile as ours

ValidatorUser, WatcherUser = ours.ValidatorUser, ours.WatcherUser

class ForgetfulBell(ours.BellUser):
    \"\"\"A bell that throws a third of its notifications away, and what it asks for as well.\"\"\"

    def heard(self, name, args, at_ns):
        if name != "new_notification" or self.rng.random() > 0.3:
            super().heard(name, args, at_ns)

    def _fill(self, seq, row_id):
        pass
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


def page(port: int) -> str:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
            return str(answer.read().decode())
    except (OSError, urllib.error.URLError):
        return ""


def start(log: Path, **options: object) -> "subprocess.Popen[bytes]":
    """A load test in a process of its own; what it says goes to `log`."""
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
    status: int
    result: Result
    entries: dict[str, dict[str, str]]
    page: str
    html: Path


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Two workers and a master, the embedded backend, bells that drop and come back."""
    home = tmp_path_factory.mktemp("locust")
    port, pages = free_port(), [""]
    process = start(
        home / "log",
        users=30,
        duration_s=8,
        processes=2,
        think_s=0.7,
        drop_every_s=4,
        json=str(home / "result.json"),
        csv=str(home / "run"),
        html=str(home / "run.html"),
        metrics_port=port,
    )

    def watched() -> bool:
        text = page(port)
        pages[0] = text or pages[0]
        return process.poll() is not None or ("locust_users 30.0" in text and PUSHED in text)

    until(watched, "all users and pushes on the metrics page")
    status = end(process, home / "log")
    assert (home / "result.json").exists(), (home / "log").read_text()[-4000:]
    result = read_result(home / "result.json")
    return Run(status, result, entries(home / "run"), pages[0], home / "run.html")


def test_the_exit_code_is_that_of_the_verdict(run: Run) -> None:
    assert run.status == run.result.exit_code
    assert run.result.verdict in ("PASS", "INVALID")  # a machine too busy to measure is no failure


def test_nothing_was_lost_across_drops(run: Run) -> None:
    ledger = run.result.ledger
    assert run.result.reconnect.drops > 0
    assert (ledger.lost, ledger.misrouted, ledger.balanced) == (0, 0, True)


@pytest.mark.parametrize(
    "name",
    [
        "connect",
        "authenticate",
        "replay",
        "ack:watch_claim",
        "push:new_notification",
        "push:validation_count_update",
        "POST /api/claims/[id]/validations",
    ],
)
def test_each_thing_has_its_entry(run: Run, name: str) -> None:
    assert int(run.entries[name]["Request Count"]) > 0


@pytest.mark.parametrize("name", ["push:new_notification", "push:validation_count_update"])
def test_a_push_takes_time_in_locusts_table(run: Run, name: str) -> None:
    assert float(run.entries[name]["Min Response Time"]) > 0
    assert float(run.entries[name]["95%"]) > 0


def test_pushes_between_workers_are_measured(run: Run) -> None:
    pushes = int(run.entries["push:validation_count_update"]["Request Count"])
    assert pushes == run.result.ledger_by_kind["snapshot"].received
    assert run.result.notes == []  # none was received whose stamp never came


def test_a_push_takes_longer_than_the_request_that_caused_it_began(run: Run) -> None:
    assert run.result.latency_ms["snapshot"].min > 0
    assert run.result.latency_ms["durable"].p50 >= run.result.latency_ms["snapshot"].min


def test_the_figures_are_those_of_both_workers(run: Run) -> None:
    assert run.result.generator.processes == 2
    assert run.result.connections.established == 24  # of 30 users, one in five is a validator
    posts = int(run.entries["POST /api/claims/[id]/validations"]["Request Count"])
    assert posts == run.result.publishes.sent


def test_the_metrics_page_shows_the_run(run: Run) -> None:
    assert "locust_users 30.0" in run.page
    assert "locust_workers 2.0" in run.page
    assert 'locust_response_seconds_bucket{le="+Inf",name="push:new_notification",type="PUSH"}' in run.page


def test_locusts_own_report_is_written(run: Run) -> None:
    assert run.html.stat().st_size > 10_000


# -------------------------------------------------------------- trouble


@dataclass(frozen=True)
class Backend:
    url: str
    tokens: Path
    process: "subprocess.Popen[str]"


@pytest.fixture(scope="module")
def backend(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Backend]:
    home = tmp_path_factory.mktemp("backend")
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


def test_a_client_that_loses_messages_fails_the_run(backend: Backend, tmp_path: Path) -> None:
    """The planted bug: the ledger must see it, name it in Locust's table and fail the run."""
    locustfile = tmp_path / "forgetful.py"
    locustfile.write_text(FORGETFUL)
    process = start(
        tmp_path / "log",
        host=backend.url,
        tokens=str(backend.tokens),
        users=20,
        duration_s=5,
        think_s=0.5,
        json=str(tmp_path / "result.json"),
        csv=str(tmp_path / "run"),
        extra=["-f", str(locustfile), "--only-summary"],
    )
    status = end(process, tmp_path / "log")
    result = read_result(tmp_path / "result.json")
    assert status != 0
    assert result.ledger.lost > 0
    assert int(entries(tmp_path / "run")["lost"]["Failure Count"]) == result.ledger.lost


def test_a_backend_that_dies_ends_neither_in_a_pass_nor_in_a_hang(backend: Backend, tmp_path: Path) -> None:
    """Last in this module: nothing can use the backend afterwards."""
    port = free_port()
    process = start(
        tmp_path / "log",
        host=backend.url,
        tokens=str(backend.tokens),
        users=15,
        duration_s=7,
        think_s=0.5,
        json=str(tmp_path / "result.json"),
        csv=str(tmp_path / "run"),
        metrics_port=port,
    )
    until(lambda: PUSHED in page(port), "pushes")
    backend.process.kill()
    assert end(process, tmp_path / "log") in (1, 4)
    assert int(entries(tmp_path / "run")["disconnect"]["Failure Count"]) > 0


@pytest.mark.slow
def test_a_push_costs_a_fraction_of_locusts_own_user() -> None:
    """CPU time, not time on the wall; the aim is a fifth, the bound leaves room for a busy machine."""
    size = ["--clients", "100", "--seconds", "3", "--rate", "10", "--repetitions", "1"]
    done = subprocess.run(
        [sys.executable, "-m", "loadtest.push_cost", *size],
        cwd=ROOT,
        capture_output=True,
        timeout=90,
        check=True,
    )
    assert json.loads(done.stdout)["ratio"] > 3
