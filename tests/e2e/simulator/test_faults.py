"""Faults of services in real runs: a full stack that is broken under traffic loses nothing, and says so."""

import sys
from pathlib import Path
from typing import Any

import pytest

from simulator.errors import SetupError
from simulator.profiles.registry import server_commands
from simulator.progress import Silent
from simulator.result import Result
from simulator.run.runner import RunOptions, run
from simulator.scenario.loader import build, load
from simulator.scenario.models import Scenario
from simulator.target.server import Commands
from tests.support.backend.node import QUICK, ROOT, environment, running_node
from tests.support.services import running_valkey_async
from tests.support.simulator.planted import GENEROUS

SLOW = 120_000
LOOSE = {"duplicate": 1_000_000, "duplicate_durable": 0}
"""Delivery is judged here, not the machine. Counters may be sent again when the bus comes back."""


def small(*faults: dict[str, Any], **changes: Any) -> Scenario:
    return build(
        {
            "name": "faults",
            "clients": 16,
            "duration_s": 4,
            "publish": {"rate_per_s": 6},
            "phases": {"warmup_s": 0.5, "drain_s": 3},
            "windows": {"late_ms": SLOW, "grace_ms": 4_000},
            "honesty": GENEROUS,
            "slo": LOOSE,
            "faults": list(faults),
            **changes,
        }
    )


def embedded() -> Commands:
    quick = {name: value for name, value in environment(QUICK).items() if name.startswith("VOUCHSTORM_")}
    found = server_commands([sys.executable, str(ROOT / "cli.py")])
    return Commands(found.serve, found.seed, env=quick)


def full() -> Commands:
    return server_commands([sys.executable, str(ROOT / "cli.py")], 2)


def told(result: Result) -> tuple[str, list[str], int]:
    return result.verdict, result.reasons, result.ledger.lost


# ---------------------------------------------------------------- a full stack


@pytest.mark.services
@pytest.mark.slow
@pytest.mark.timeout(200)
@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "kill", "target": "node-1", "at_s": 2},
        {"kind": "restart", "target": "redis", "at_s": 2},
        {"kind": "pause", "target": "mongodb", "at_s": 2, "for_s": 2},
    ],
    ids=lambda fault: f"{fault['kind']} {fault['target']}",
)
async def test_a_broken_service_of_a_full_stack_costs_no_message(fault: dict[str, Any]) -> None:
    wanted = small(fault, duration_s=8, phases={"warmup_s": 0.5, "drain_s": 8})
    result = await run(RunOptions(wanted, commands=full()), Silent())
    assert told(result) == ("PASS", [], 0)
    assert [(mark.kind, mark.note) for mark in result.faults] == [(fault["kind"], fault["target"])]


# ---------------------------------------------------------------- one node, nothing to kill


async def test_a_fault_that_needs_a_full_stack_is_refused_before_the_load() -> None:
    with pytest.raises(SetupError, match="needs a service 'node-1' to break; known here: server"):
        await run(RunOptions(load("node-kill"), commands=embedded()), Silent())


async def test_the_only_server_of_a_run_is_not_ended_for_good() -> None:
    fault = {"kind": "kill", "target": "server", "at_s": 1}
    with pytest.raises(SetupError, match="would end server for good"):
        await run(RunOptions(small(fault), commands=embedded()), Silent())


@pytest.mark.parametrize(
    "fault", [{"kind": "stall", "for_s": 1.5}, {"kind": "cut", "for_s": 1}, {"kind": "delay", "ms": 80}]
)
async def test_a_bad_line_to_the_server_costs_no_notification(fault: dict[str, Any]) -> None:
    wanted = small(fault | {"at_s": 1, "for_s": fault.get("for_s", 2)})
    result = await run(RunOptions(wanted, commands=embedded()), Silent())
    assert told(result) == ("PASS", [], 0)


async def test_strangers_do_not_disturb_honest_clients() -> None:
    hostile = {"kind": "hostile", "at_s": 0.5, "for_s": 3, "sockets": 6, "inputs_per_s": 150}
    wanted = small(hostile, slo={"server_errors": 0})
    result = await run(RunOptions(wanted, commands=embedded()), Silent())
    assert told(result) == ("PASS", [], 0)
    assert result.hostile.inputs > 50


# ---------------------------------------------------------------- a proxy where nothing may be killed


@pytest.mark.services
async def test_redis_behind_the_proxy_hangs_and_nothing_is_lost(tmp_path: Path, unused_tcp_port: int) -> None:
    """The node was told to find Redis on the proxy's port; nothing is signalled."""
    bus = f"redis://127.0.0.1:{unused_tcp_port}/0"
    async with running_valkey_async() as redis:
        with running_node(tmp_path, bus_url=bus) as node:
            services = {"redis": {"proxy_to": f"127.0.0.1:{redis.port}", "listen": unused_tcp_port}}
            stall = {"kind": "stall", "target": "redis", "at_s": 1, "for_s": 2}
            result = await run(RunOptions(small(stall, services=services), url=node.url), Silent())
    assert told(result) == ("PASS", [], 0)
