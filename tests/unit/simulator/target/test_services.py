"""Which processes a fault means, in a target that is one server and in one that keeps others."""

from types import SimpleNamespace
from typing import Any, cast

import pytest

from simulator.target.server import ManagedServer
from simulator.target.services import Services


def services(**ready: Any) -> Services:
    async def status() -> dict[str, Any]:
        return {"services": [{"name": "node-1", "pid": 12, "alive": True}]}

    facts = SimpleNamespace(pid=1, url="http://127.0.0.1:1", ready=ready, tells_status=True, status=status)
    return Services({}, cast("ManagedServer", facts))


STACK = {"pids": {"node-1": 2, "node-2": 3, "redis": 4}}


@pytest.mark.parametrize(
    ("target", "meant"),
    [
        ("server", ["server"]),
        ("node-*", ["node-1", "node-2"]),
        ("*", ["node-1", "node-2", "redis"]),
    ],
)
def test_the_keeper_of_a_stack_is_meant_by_its_name_only(target: str, meant: list[str]) -> None:
    assert services(**STACK).matching(target) == meant


def test_a_single_server_fits_a_pattern() -> None:
    assert services().matching("*") == ["server"]


async def test_the_keeper_stays_what_it_is_when_its_services_are_looked_up_again() -> None:
    known = services(**STACK)
    await known.refresh()
    assert [known.find(name).pid for name in ("server", "node-1", "redis")] == [1, 12, 0]
