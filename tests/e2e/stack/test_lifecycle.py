"""`up`, `status` and `down`: nothing is left behind, whoever dies, and trouble is one sentence."""

import json
import os
import random
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from pymongo import AsyncMongoClient

from backend.app.errors import SetupError
from backend.stack.plan import Kind, Ports, Programs, Role, StackOptions, StackPlan, plan_stack
from backend.stack.processes import StackProcesses
from backend.stack.programs import mongod_program
from backend.stack.state import started_s
from backend.stack.up import ready_facts, roll_stack, running_stack, stack_status, start_detached, stop_stack
from simulator.processes import Program, free_port
from tests.support.waiting import wait_until

ROOT = Path(__file__).parents[3]
DEADLINE_S = 60.0


@pytest.fixture
def options(tmp_path: Path) -> Iterator[StackOptions]:
    """A small stack on any free port; whatever the test leaves is ended."""
    yield StackOptions(Kind.EMBEDDED, nodes=1, port=0, data_dir=tmp_path / "stack")
    stop_stack(tmp_path / "stack")


def test_a_detached_stack_serves_until_it_is_taken_down(options):
    facts = start_detached(options)
    assert httpx.get(f"{facts['url']}/healthz").status_code == 200
    stop_stack(options.data_dir)
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{facts['url']}/healthz")


def test_down_names_what_it_ended(options):
    start_detached(options)
    assert stop_stack(options.data_dir) == ["node-1"]


def test_down_without_a_stack_does_nothing(options):
    assert stop_stack(options.data_dir) == []


def test_the_status_of_a_running_stack_names_its_services(options):
    facts = start_detached(options)
    status = stack_status(options.data_dir)
    assert (status["running"], status["ready"], status["url"]) == (True, True, facts["url"])
    assert [(each["name"], each["alive"]) for each in status["services"]] == [("node-1", True)]


def test_after_down_the_status_says_that_nothing_runs(options):
    start_detached(options)
    stop_stack(options.data_dir)
    assert stack_status(options.data_dir)["running"] is False


def test_a_second_stack_on_the_same_data_is_refused(options):
    start_detached(options)
    with pytest.raises(SetupError, match=r"running already.*vouchstorm down"):
        start_detached(options)


def test_a_port_in_use_is_the_keepers_one_sentence(options, tmp_path):
    first = start_detached(options)
    port = int(first["url"].rpartition(":")[2])
    with pytest.raises(SetupError, match=f"Port {port} .* cannot be used"):
        start_detached(StackOptions(Kind.EMBEDDED, 1, port, tmp_path / "other"))


def test_a_killed_keeper_leaves_no_children(options):
    facts = start_detached(options)
    os.kill(facts["pid"], signal.SIGKILL)
    wait_until(
        lambda: all(started_s(pid) is None for pid in facts["pids"].values()), "the end of all", DEADLINE_S
    )


def test_what_a_killed_keeper_left_is_ended_by_the_next_start(options):
    first = start_detached(options)
    os.kill(first["pids"]["node-1"], signal.SIGSTOP)
    os.kill(first["pid"], signal.SIGKILL)
    wait_until(lambda: started_s(first["pid"]) is None)
    start_detached(options)
    assert started_s(first["pids"]["node-1"]) is None


def test_the_secret_is_not_in_the_state_file(options):
    start_detached(options)
    secret = (options.data_dir / "jwt-secret").read_text()
    assert secret not in (options.data_dir / "stack.json").read_text()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_keeper_and_its_children(options, number):
    report = options.data_dir / "report.json"
    wishes = {"kind": "embedded", "nodes": 1, "port": 0, "data_dir": str(options.data_dir)}
    options.data_dir.mkdir()
    words = [sys.executable, "-m", "backend.stack", json.dumps(wishes), str(report)]
    with Program(words, cwd=ROOT, log=options.data_dir / "log").running() as keeper:
        wait_until(report.exists, "the report", DEADLINE_S)
        keeper.send(number)
        assert keeper.wait(DEADLINE_S) == (130 if number is signal.SIGINT else 0)
    pids = json.loads(report.read_text())["pids"].values()
    assert all(started_s(pid) is None for pid in pids)


def test_a_roll_replaces_the_node_of_an_embedded_stack(options):
    before = start_detached(options)
    said: list[str] = []
    roll_stack(options.data_dir, said.append)
    status = stack_status(options.data_dir)
    (node,) = status["services"]
    assert (status["pid"], status["ready"], node["alive"]) == (before["pid"], True, True)
    assert node["pid"] != before["pids"]["node-1"]
    assert said == [f"node-1 is replaced: pid {before['pids']['node-1']} -> {node['pid']}"]
    assert httpx.get(f"{before['url']}/readyz").status_code == 200


def test_a_roll_without_a_stack_is_one_sentence(options):
    with pytest.raises(SetupError, match=r"No stack is ready .* vouchstorm up"):
        roll_stack(options.data_dir, print)


def test_a_roll_without_a_keeper_is_one_sentence(options):
    first = start_detached(options)
    os.kill(first["pids"]["node-1"], signal.SIGSTOP)
    os.kill(first["pid"], signal.SIGKILL)
    wait_until(lambda: started_s(first["pid"]) is None, "the end of the keeper")
    with pytest.raises(SetupError, match="vouchstorm down"):
        roll_stack(options.data_dir, print)


async def test_a_stack_inside_a_program_ends_with_its_block(options):
    async with running_stack(options) as stack:
        facts = ready_facts(stack)
        async with httpx.AsyncClient() as client:
            assert (await client.get(f"{facts['url']}/readyz")).status_code == 200
    assert started_s(facts["pids"]["node-1"]) is None


def test_the_ready_facts_hold_what_serve_says_too(options):
    assert {"ready", "url", "pid", "node"} <= start_detached(options).keys()


@pytest.mark.services
async def test_the_data_of_mongodb_survive_a_move_to_another_port(tmp_path):
    """A replica set knows its member by address: the probe tells it the new one."""
    programs = Programs((), "none", mongod_program(), "none")
    for _ in range(2):
        ports = Ports(free_port(), (free_port(),), free_port(), free_port())
        plan = plan_stack(StackOptions(Kind.FULL, 1, 0, tmp_path), ports, programs, "s" * 32)
        (mongodb,) = plan.with_role(Role.MONGODB)
        alone = StackPlan(Kind.FULL, tmp_path, plan.url, (mongodb,))
        async with StackProcesses(alone, random.Random(1)):
            client: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(mongodb.url)
            await client.vouchstorm.visits.insert_one({})
            visits = await client.vouchstorm.visits.count_documents({})
            await client.close()
    assert visits == 2
