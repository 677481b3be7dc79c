"""Clients that behave as people's machines do, against the real service; times are not asserted."""

from pathlib import Path
from typing import Any

import pytest

from simulator.profiles.vouchstorm.client import way_of
from simulator.progress import Silent
from simulator.result import Result
from simulator.run.runner import RunOptions, run
from simulator.scenario.loader import build
from tests.support.backend.node import running_node
from tests.support.simulator.planted import GENEROUS

MIX = {"websocket": 1, "polling": 1, "upgrade": 1}
HEARTBEATS = {"ping_interval_s": 0.5, "ping_timeout_s": 2.0}
"""Silence is noticed in seconds; a machine that stalls for one is not silent."""


async def behaved(tmp_path: Path, env: dict[str, float], **changes: Any) -> Result:
    """A run of a few seconds; every transport takes part unless said otherwise."""
    base: dict[str, Any] = {
        "clients": 18,
        "duration_s": 5,
        "publish": {"rate_per_s": 12},
        "phases": {"warmup_s": 0.3, "drain_s": 3},
        "transports": MIX,
        "windows": {"late_ms": 60_000},
        "honesty": GENEROUS,
    }
    with running_node(tmp_path, **env) as node:
        result = await run(RunOptions(build(base | changes), url=node.url), Silent())
    storm = result.reconnect
    ended = storm.recovery.full + storm.recovery.reloaded + storm.recovery.silent_hole
    assert ended + storm.censored == storm.drops
    assert result.ledger.balanced
    return result


@pytest.mark.parametrize("policy", ["default", "tuned", "none"])
async def test_every_back_off_brings_everybody_back(tmp_path: Path, policy: str) -> None:
    drop = {"kind": "drop", "at_s": 1.0}
    tuned = {"policy": policy, "delay_max_s": 3.0}
    result = await behaved(
        tmp_path, {}, faults=[drop], reconnect=tuned if policy == "tuned" else {"policy": policy}
    )
    assert (result.verdict, result.reasons) == ("PASS", [])
    assert (result.reconnect.drops, result.reconnect.reconnected) == (18, 18)


async def test_without_back_off_they_are_back_at_once(tmp_path: Path) -> None:
    drop = {"kind": "drop", "at_s": 1.0}
    eager = await behaved(tmp_path / "a", {}, faults=[drop], reconnect={"policy": "none"})
    slowly = {"policy": "default", "delay_s": 4.0, "delay_max_s": 6.0}
    patient = await behaved(tmp_path / "b", {}, faults=[drop], reconnect=slowly, duration_s=9)
    assert eager.reconnect.time_to_reconnect.p50 < patient.reconnect.time_to_reconnect.min


async def test_those_who_never_come_back_are_censored_not_lost(tmp_path: Path) -> None:
    drop = {"kind": "drop", "at_s": 1.0, "fraction": 0.5}
    away: dict[str, Any] = {"faults": [drop], "reconnect": {"policy": "never"}}
    result = await behaved(tmp_path, {}, **away, slo={"censored": 9})
    assert (result.reconnect.reconnected, result.reconnect.censored) == (0, 9)
    assert (result.verdict, result.ledger.lost) == ("PASS", 0)


async def test_a_laptop_that_sleeps_past_the_heartbeat_catches_up(tmp_path: Path) -> None:
    """The server gives the silent socket up long before the client is back on a new one."""
    nap = {"kind": "drop", "at_s": 0.5, "fraction": 0.3, "silent": True, "away_s": [4.0, 4.5]}
    narrow = {"scope": "watched", "watches": 2}
    result = await behaved(tmp_path, HEARTBEATS, faults=[nap], live=narrow, duration_s=7)
    assert (result.verdict, result.reasons) == ("PASS", [])
    assert result.reconnect.recovery.full == result.reconnect.drops == 5


async def test_several_tabs_of_a_user_each_get_everything(tmp_path: Path) -> None:
    drop = {"kind": "drop", "at_s": 1.0, "fraction": 0.5, "away_s": [0.5, 1.0]}
    result = await behaved(tmp_path, {}, sockets_per_user=3, faults=[drop])
    assert (result.verdict, result.reasons) == ("PASS", [])
    durable = result.ledger_by_kind["durable"]
    assert durable.expected % 3 == 0
    assert durable.live + durable.replayed == durable.expected


async def test_half_open_sockets_are_replaced(tmp_path: Path) -> None:
    half = {"kind": "half_open", "at_s": 0.5, "fraction": 0.5, "for_s": 5}
    result = await behaved(tmp_path, HEARTBEATS, faults=[half], duration_s=8)
    assert (result.verdict, result.reasons) == ("PASS", [])
    assert result.reconnect.recovery.full == 9


async def test_those_who_do_not_read_are_ended_by_the_server_and_caught_up(tmp_path: Path) -> None:
    env = {
        "slow_abort_s": 1.0,
        "socket_queue_bytes": 65_536,
        "snapshot_hz": 1000.0,
    }
    result = await behaved(
        tmp_path,
        env,
        clients=30,
        duration_s=12,
        transports={"websocket": 1},
        claims={"quorum": 1000},
        publish={"rate_per_s": 80},
        faults=[{"kind": "slow", "at_s": 0.5, "fraction": 0.1, "for_s": 10, "receive_buffer_bytes": 1024}],
    )
    assert (result.verdict, result.reasons) == ("PASS", [])
    assert result.reconnect.ended_by_server == result.reconnect.stopped_reading == 3


async def test_tokens_that_expire_are_renewed_or_the_socket_is_ended(tmp_path: Path) -> None:
    """A third prolongs its sockets, a third is ended and logs in anew, a third is ended and stays away."""
    result = await behaved(
        tmp_path,
        {"token_ttl_s": 12},
        duration_s=17,
        publish={"rate_per_s": 5},
        tokens={"reauth": 1, "login": 1, "never": 1},
    )
    assert (result.verdict, result.reasons) == ("PASS", [])
    never, login = (sum(way_of_(client) == way for client in range(18)) for way in ("never", "login"))
    assert result.connections.expired >= never + login > 0
    assert result.reconnect.drops == result.reconnect.recovery.full >= login
    assert result.connections.renewed_tokens >= 18 - never


def way_of_(client: int) -> str:
    """As the run of seed 1 drew it."""
    return way_of(build({"tokens": {"reauth": 1, "login": 1, "never": 1}}), client)
