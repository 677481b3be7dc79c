"""`serve --workers 2` for real: one address, one metrics page, rolls and deaths, with Valkey as the bus."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from backend.stack.processes import identity
from tests.e2e.stack.stack_people import eventually, listening, register
from tests.support.services import running_valkey

pytestmark = pytest.mark.services

ROOT = Path(__file__).parents[3]
DEADLINE_S = 60.0
POLL_S = 0.05
PROGRAM = """
import sys
from pathlib import Path
from backend.app.observability.logs import configure_logging
from backend.app.process.node import announce_ready
from backend.app.settings import load_settings
from backend.app.supervisor import run_workers

configure_logging("info", "pretty", "group")
settings = load_settings(data_dir=Path(sys.argv[1]), bus_url=sys.argv[2], drain_s=0.2)
run_workers(settings, "127.0.0.1", 0, 2, announce_ready)
"""


class Group:
    """A running group: its process, its address, its log."""

    def __init__(self, process: "subprocess.Popen[str]", log: Path) -> None:
        assert process.stdout is not None
        self.process = process
        self.log = log
        said: dict[str, Any] = json.loads(process.stdout.readline())
        self.url: str = said["url"]

    def page(self) -> str:
        """The metrics page. A connection may be given to a worker that is being killed: then try again."""
        end_s = time.monotonic() + DEADLINE_S
        while True:
            try:
                return httpx.get(f"{self.url}/metrics", timeout=30.0).text
            except httpx.TransportError:
                assert time.monotonic() < end_s, "the metrics page never answered"
            time.sleep(POLL_S)

    def workers(self) -> dict[str, str]:
        """Slot -> name of the node that serves there, as the metrics page says."""
        page = self.page()
        return dict(re.findall(r'^vouchstorm_build_info\{worker="(\d+)",node="([^"]+)"', page, re.MULTILINE))

    def restarts(self) -> int:
        sample = re.search(r"^supervisor_worker_restarts_total (\d+)$", self.page(), re.MULTILINE)
        assert sample is not None
        return int(sample[1])

    def children(self) -> list[int]:
        path = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return [int(pid) for pid in path.read_text().split()]


@pytest.fixture(scope="module")
def bus() -> Iterator[str]:
    with running_valkey() as valkey:
        yield valkey.url()


@contextmanager
def running(bus: str, directory: Path) -> Iterator[Group]:
    log = directory / "log"
    with (
        log.open("wb") as file,
        subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(directory / "data"), bus],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=file,
            text=True,
        ) as process,
    ):
        try:
            yield Group(process, log)
        finally:
            process.terminate()


@pytest.fixture(scope="module")
def group(bus: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Group]:
    """For tests that leave two serving workers behind."""
    with running(bus, tmp_path_factory.mktemp("group")) as group:
        yield group


@pytest.fixture
def doomed(bus: str, tmp_path: Path) -> Iterator[Group]:
    """For a test that ends it."""
    with running(bus, tmp_path) as group:
        yield group


def test_one_metrics_page_speaks_for_both_workers(group):
    assert sorted(group.workers()) == ["1", "2"]


def test_workers_share_the_secret(group):
    person = register(group.url)
    with_new_connections = [
        httpx.get(f"{group.url}/api/auth/me", headers=person.headers).status_code for _ in range(12)
    ]
    assert set(with_new_connections) == {200}


async def test_sockets_of_both_workers_are_counted_together(group):
    """Wherever the sockets land, each worker knows of all of them through the bus."""
    people = [register(group.url) for _ in range(3)]
    async with (
        listening(group.url, people[0]) as ear,
        listening(group.url, people[1]),
        listening(group.url, people[2]),
    ):

        async def all_three() -> bool:
            return await ear.connected_users() == 3

        await eventually(all_three)


def test_a_killed_worker_is_replaced_under_its_old_slot(group):
    before, restarts = group.workers(), group.restarts()
    os.kill(group.children()[0], signal.SIGKILL)
    wait_for(lambda: sorted(group.workers()) == ["1", "2"] and group.workers() != before)
    assert group.restarts() == restarts + 1


def test_sighup_replaces_both_workers_while_requests_are_answered(group):
    before, restarts = group.workers(), group.restarts()
    group.process.send_signal(signal.SIGHUP)

    def all_new() -> bool:
        assert httpx.get(f"{group.url}/healthz", timeout=30.0).status_code == 200
        return not set(before.values()) & set(group.workers().values())

    wait_for(all_new)
    assert group.restarts() == restarts


def test_sigterm_ends_the_group_in_order(doomed):
    children = doomed.children()
    doomed.process.terminate()
    assert doomed.process.wait(60) == 0
    assert all(identity(pid) is None for pid in children)


def test_workers_end_when_their_supervisor_is_killed(doomed):
    children = doomed.children()
    doomed.process.kill()
    wait_for(lambda: all(identity(pid) is None for pid in children))


def wait_for(condition: Callable[[], bool], deadline_s: float = DEADLINE_S) -> None:
    end_s = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < end_s, "the condition never came true"
        time.sleep(POLL_S)
