"""Slices: every client in one process, a user's sockets together; the number of processes changes no draw."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.generator.ipc import processes, slices
from simulator.scenario.loader import build
from simulator.scenario.models import Scenario
from simulator.scenario.schedule import Workload, publications, transports, troubles


def scenario(clients: int = 100, **changes: Any) -> Scenario:
    return build({"clients": clients, "profile": "echo"} | changes)


@given(st.integers(2, 3_000), st.integers(1, 7), st.integers(1, 9))
def test_every_client_is_in_exactly_one_slice(clients: int, tabs: int, count: int) -> None:
    spec = scenario(clients, sockets_per_user=tabs)
    parts = slices(spec, min(count, spec.users))
    assert [client for part in parts for client in range(part.first, part.first + part.count)] == list(
        range(clients)
    )


@given(st.integers(2, 3_000), st.integers(1, 7), st.integers(1, 9))
def test_a_users_sockets_are_in_one_slice(clients: int, tabs: int, count: int) -> None:
    spec = scenario(clients, sockets_per_user=tabs)
    for part in slices(spec, min(count, spec.users)):
        assert {client // tabs for client in range(part.first, part.first + part.count)} == set(part.users)


@pytest.mark.parametrize(
    ("clients", "free", "wanted"), [(4_000, 8, 1), (10_000, 8, 2), (50_000, 4, 4), (10_000, 1, 1)]
)
def test_automatic_takes_as_many_as_are_needed_and_have_a_core(clients: int, free: int, wanted: int) -> None:
    assert processes(scenario(clients, processes=0), free) == wanted


def test_there_are_no_more_processes_than_users() -> None:
    assert processes(scenario(4, processes=9), 2) == 4


def test_the_number_of_processes_changes_nothing_that_is_drawn() -> None:
    drops = [{"kind": "drop", "at_share": 0.5, "fraction": 0.3}]
    mix = {"websocket": 1, "polling": 1, "upgrade": 1}
    one, three = (scenario(faults=drops, transports=mix, processes=count) for count in (1, 3))
    work = Workload(range(100), [-1] * 5, once=False)
    assert publications(one, work) == publications(three, work)
    assert (troubles(one), transports(one)) == (troubles(three), transports(three))
