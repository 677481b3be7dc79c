"""Readiness: checks, deadlines, draining."""

import asyncio

import pytest

from backend.app.errors import UnavailableError
from backend.app.services.health import Check, Health


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


@pytest.mark.parametrize(
    ("check", "said"),
    [
        (well, "ok"),
        (store_down, "The store does not answer."),
        (broken, "failed; see the log of this node"),
        (stuck, "did not answer within 0.01 s"),
    ],
)
async def test_a_node_is_ready_while_all_checks_pass_and_says_what_does_not(check: Check, said: str) -> None:
    health = Health(timeout_s=0.01 if check is stuck else 10)
    health.register("bus", well)
    health.register("store", check)
    readiness = await health.readiness()
    assert readiness.checks == {"bus": "ok", "store": said, "draining": "ok"}
    assert readiness.ready == (check is well)


async def test_a_draining_node_says_so_and_is_not_ready() -> None:
    health = Health()
    health.register("store", well)
    health.drain()
    assert (health.draining, (await health.readiness()).ready) == (True, False)


@pytest.mark.parametrize("name", ["store", "draining"])
def test_a_name_is_registered_once(name: str) -> None:
    health = Health()
    health.register("store", well)
    with pytest.raises(ValueError, match="exists already"):
        health.register(name, well)
