"""Readiness: checks, deadlines, draining."""

import asyncio

import pytest

from backend.app.errors import UnavailableError
from backend.app.services.health import Health


async def well() -> None:
    return


async def store_down() -> None:
    raise UnavailableError("The store does not answer.")


async def broken() -> None:
    raise LookupError("a bug with secrets in it")


async def stuck() -> None:
    await asyncio.Event().wait()


async def test_a_node_without_checks_is_ready() -> None:
    assert (await Health().readiness()).ready


async def test_a_node_is_ready_while_all_checks_pass() -> None:
    health = Health()
    health.register("store", well)
    assert (await health.readiness()).checks == {"store": "ok", "draining": "ok"}


async def test_one_failing_check_is_enough() -> None:
    health = Health()
    health.register("store", store_down)
    health.register("bus", well)
    assert not (await health.readiness()).ready


async def test_a_failing_check_says_why() -> None:
    health = Health()
    health.register("store", store_down)
    assert (await health.readiness()).checks["store"] == "The store does not answer."


async def test_a_bug_in_a_check_is_not_told_to_the_prober() -> None:
    health = Health()
    health.register("bus", broken)
    assert (await health.readiness()).checks["bus"] == "failed; see the log of this node"


async def test_a_stuck_check_fails_at_its_deadline() -> None:
    health = Health(timeout_s=0.01)
    health.register("bus", stuck)
    assert (await health.readiness()).checks["bus"] == "did not answer within 0.01 s"


async def test_a_draining_node_is_not_ready() -> None:
    health = Health()
    health.register("store", well)
    health.drain()
    assert not (await health.readiness()).ready


async def test_a_draining_node_says_so() -> None:
    health = Health()
    health.drain()
    assert health.draining


@pytest.mark.parametrize("name", ["store", "draining"])
def test_a_name_is_registered_once(name: str) -> None:
    health = Health()
    health.register("store", well)
    with pytest.raises(ValueError, match="exists already"):
        health.register(name, well)
