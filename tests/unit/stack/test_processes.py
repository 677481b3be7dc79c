"""Keeping, breaking and ending processes, with small children instead of real services."""

import random
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from backend.app.errors import SetupError
from backend.stack.plan import Kind, Role, ServicePlan, StackOptions, StackPlan
from backend.stack.processes import Backoff, StackProcesses
from backend.stack.state import send, started_s
from backend.stack.up import choose_ports
from simulator.processes import Program
from tests.support.waiting import until

SLEEPS = "import signal; signal.pause()"
STUBBORN = (
    "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True);"
    "[signal.pause() for _ in iter(int, 1)]"
)
COMPLAINS = "raise SystemExit('The disk is full.')"


def service(tmp_path: Path, name: str, role: Role, script: str, grace_s: float = 20.0) -> ServicePlan:
    command = (sys.executable, "-I", "-c", script)
    return ServicePlan(name, role, command, 0, tmp_path / "logs" / f"{name}.log", grace_s)


def plan_of(tmp_path: Path, *services: ServicePlan) -> StackPlan:
    return StackPlan(Kind.FULL, tmp_path, "http://127.0.0.1:0", services)


async def always(_: ServicePlan) -> bool:
    return True


async def never(_: ServicePlan) -> bool:
    return False


@asynccontextmanager
async def running(plan: StackPlan, **options) -> AsyncIterator[StackProcesses]:
    given = {"probe": always, "first_backoff_s": 0.01, **options}
    async with StackProcesses(plan, random.Random(1), **given) as processes:
        yield processes


@pytest.fixture
def three(tmp_path) -> StackPlan:
    """A node, its database and its load balancer, named in no useful order."""
    roles = {"balancer": Role.BALANCER, "node-1": Role.NODE, "redis": Role.REDIS}
    return plan_of(tmp_path, *(service(tmp_path, name, role, SLEEPS) for name, role in roles.items()))


async def test_all_services_run_inside_the_block(three):
    async with running(three) as processes:
        assert all(is_running(processes.pid(name)) for name in ("redis", "node-1", "balancer"))


async def test_no_service_runs_after_the_block(three):
    async with running(three) as processes:
        pids = [processes.pid(name) for name in ("redis", "node-1", "balancer")]
    assert not any(is_running(pid) for pid in pids)


async def test_a_stage_starts_when_the_one_before_is_ready(three):
    asked: list[str] = []

    async def probe(plan: ServicePlan) -> bool:
        asked.append(plan.name)
        return True

    async with running(three, probe=probe):
        assert asked == ["redis", "node-1", "balancer"]


async def test_a_service_that_ends_at_once_is_named_with_its_last_words(tmp_path):
    plan = plan_of(tmp_path, service(tmp_path, "redis", Role.REDIS, COMPLAINS))
    with pytest.raises(SetupError, match=r"redis ended at once.*The disk is full\."):
        async with running(plan, probe=never):
            pass


async def test_a_service_that_is_never_ready_ends_the_start(three):
    with pytest.raises(SetupError, match="not ready within"):
        async with running(three, probe=never, ready_timeout_s=0.2):
            pass


async def test_a_failed_start_leaves_nothing_running(tmp_path):
    plan = plan_of(
        tmp_path,
        service(tmp_path, "redis", Role.REDIS, SLEEPS),
        service(tmp_path, "node-1", Role.NODE, COMPLAINS),
    )

    async def probe(asked: ServicePlan) -> bool:
        return asked.name == "redis"

    processes = StackProcesses(plan, random.Random(1), probe=probe)
    with pytest.raises(SetupError):
        async with processes:
            pass
    assert processes.children["redis"].pid is None


async def test_a_killed_service_is_started_again(three):
    async with running(three) as processes:
        before = processes.pid("node-1")
        processes.kill("node-1")
        await until(lambda: processes.children["node-1"].pid not in (None, before))
        assert processes.children["node-1"].restarts == 1


async def test_a_stopped_service_stays_away_until_it_is_started(three):
    async with running(three) as processes:
        await processes.stop_service("redis")
        assert processes.children["redis"].pid is None
        await processes.start_service("redis")
        assert is_running(processes.pid("redis"))


async def test_stopping_on_purpose_is_no_restart(three):
    async with running(three) as processes:
        await processes.restart("redis")
        assert processes.children["redis"].restarts == 0


async def test_a_paused_service_ends_with_the_others(three):
    async with running(three) as processes:
        processes.pause("redis")
        pid = processes.pid("redis")
    assert not is_running(pid)


async def test_a_service_that_does_not_run_cannot_be_killed(three):
    async with running(three) as processes:
        await processes.stop_service("redis")
        with pytest.raises(SetupError, match="redis does not run"):
            processes.kill("redis")


@pytest.mark.parametrize("hurried", [False, True])
async def test_what_ignores_the_end_is_killed_and_in_a_hurry_nobody_waits(tmp_path, hurried):
    grace_s = 3600.0 if hurried else 0.1
    plan = plan_of(tmp_path, service(tmp_path, "node-1", Role.NODE, STUBBORN, grace_s=grace_s))
    async with running(plan) as processes:
        await until(lambda: processes.children["node-1"].last_words() == "deaf")
        if hurried:
            processes.hurry()
        pid = processes.pid("node-1")
    assert not is_running(pid)


async def test_changes_are_announced(three):
    changes: list[int] = []
    async with running(three, on_change=lambda: changes.append(1)) as processes:
        before = len(changes)
        processes.kill("redis")
        await until(lambda: len(changes) >= before + 2)


async def test_the_log_of_the_last_run_is_kept_apart(tmp_path):
    plan = plan_of(tmp_path, service(tmp_path, "redis", Role.REDIS, f"print('hello', flush=True); {SLEEPS}"))
    for _ in range(2):
        async with running(plan) as processes:
            await until(lambda: processes.children["redis"].last_words() == "hello")
    assert (tmp_path / "logs" / "redis.log").read_text() == "hello\n"
    assert (tmp_path / "logs" / "redis.log.1").read_text() == "hello\n"


async def test_nodes_are_replaced_one_by_one(tmp_path):
    names = ("node-1", "node-2", "node-3")
    plan = plan_of(tmp_path, *(service(tmp_path, name, Role.NODE, SLEEPS) for name in names))
    running_at: list[int] = []
    async with running(plan) as processes:

        async def probe(_: ServicePlan) -> bool:
            running_at.append(sum(child.pid is not None for child in processes.children.values()))
            return True

        processes._probe = probe
        before = [processes.pid(name) for name in names]
        await processes.roll()
        after = [processes.pid(name) for name in names]
    assert set(before).isdisjoint(after)
    assert (processes.rolls, running_at) == (1, [3, 3, 3])


async def test_a_node_that_does_not_come_back_ends_the_roll(tmp_path):
    plan = plan_of(tmp_path, *(service(tmp_path, name, Role.NODE, SLEEPS) for name in ("node-1", "node-2")))
    async with running(plan, ready_timeout_s=0.2) as processes:
        kept = processes.pid("node-2")
        processes._probe = never
        await processes.roll()
        assert (processes.rolls, processes.pid("node-2")) == (0, kept)
    assert "node-1 was not ready" in processes.roll_trouble


def test_waits_double_up_to_the_longest():
    backoff = Backoff(random.Random(1), first_s=1, longest_s=4, jitter=0)
    assert [backoff.next_s() for _ in range(4)] == [1, 2, 4, 4]
    backoff.reset()
    assert backoff.next_s() == 1


def test_no_signal_reaches_a_process_that_started_at_another_moment():
    with Program([sys.executable, "-I", "-c", SLEEPS]).running() as stranger:
        known_s = started_s(stranger.pid)
        assert known_s is not None
        assert not send(stranger.pid, known_s - 1, signal.SIGKILL)
        assert stranger.returncode is None
        assert send(stranger.pid, known_s, signal.SIGKILL)


def test_a_process_that_is_gone_started_at_no_moment():
    with Program([sys.executable, "-I", "-c", ""]).running() as brief:
        brief.wait()
    assert started_s(brief.pid) is None


def test_a_port_in_use_is_named_with_its_purpose():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        options = StackOptions(Kind.EMBEDDED, 1, port)
        with pytest.raises(SetupError, match=f"Port {port} on 127.0.0.1, for node-1, cannot be used"):
            choose_ports(options)


def test_the_system_chooses_different_ports():
    ports = [number for _, number in choose_ports(StackOptions(Kind.FULL, 5, 0)).named()]
    assert len(set(ports)) == 8


def is_running(pid: int) -> bool:
    return started_s(pid) is not None
