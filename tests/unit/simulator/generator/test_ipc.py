"""Slices: each client in one process, a user's sockets together. Channels: whole, in order, within bounds."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.generator import ipc
from simulator.generator.ipc import Channel, ChannelError, processes, slices
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


@asynccontextmanager
async def joined() -> AsyncIterator[tuple[Channel, "asyncio.Queue[Any]", socket.socket]]:
    """A channel, what it heard (None: its end), and the other end."""
    ours, theirs = socket.socketpair()
    heard: asyncio.Queue[Any] = asyncio.Queue()
    channel = Channel(ours, heard.put_nowait, lambda: heard.put_nowait(None))
    with theirs:
        yield channel, heard, theirs
        channel.close()


async def test_messages_arrive_whole_and_in_order() -> None:
    async with joined() as (channel, heard, theirs):
        answers: asyncio.Queue[Any] = asyncio.Queue()
        other = Channel(theirs, answers.put_nowait, lambda: None)
        sent = [b"x" * 3_000_000, "a", ["b", 2]]
        for message in sent:
            other.send(message)
            channel.send(message)
        assert [await heard.get() for _ in sent] == [await answers.get() for _ in sent] == sent
        other.close()


async def test_the_end_of_the_other_process_is_told_once_and_nothing_can_be_sent() -> None:
    async with joined() as (channel, heard, theirs):
        theirs.close()
        assert await heard.get() is None
        with pytest.raises(ChannelError, match="gone"):
            channel.send("a")
    assert heard.empty()


async def test_a_process_that_does_not_read_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ipc, "MAX_BACKLOG_BYTES", 1_000_000)
    async with joined() as (channel, _, _):
        channel.send(b"x" * 5_000_000)
        with pytest.raises(ChannelError, match="does not keep up"):
            channel.send("a")
