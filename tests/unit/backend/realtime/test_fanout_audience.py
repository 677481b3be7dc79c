"""The kept list of a large room's sessions is exactly who is in the room, whoever came or went."""

from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from socketio.packet import Packet

from backend.app.realtime.rooms import AUDIENCE_SOCKETS, RoomManager

LARGE = AUDIENCE_SOCKETS + 4


class FakeEngine:
    def __init__(self) -> None:
        self.sockets: dict[str, Any] = {}
        self._made = 0

    def generate_id(self) -> str:
        self._made += 1
        return f"sid{self._made}"


async def a_room(size: int) -> tuple[RoomManager, list[str]]:
    """A manager with `size` sockets in room `r`; their ids in the order they came."""
    manager = RoomManager()
    manager.set_server(SimpleNamespace(eio=FakeEngine(), packet_class=Packet))
    return manager, [await a_member(manager, number) for number in range(size)]


async def a_member(manager: RoomManager, number: int) -> str:
    eio_sid = f"eio{number}"
    manager.server.eio.sockets[eio_sid] = object()
    sid = await manager.pre_connect(eio_sid, "/")
    assert sid is not None
    manager.basic_enter_room(sid, "/", "r")
    return sid


def members(manager: RoomManager) -> set[Any]:
    everybody = manager.rooms["/"]
    sockets = manager.server.eio.sockets
    return {sockets[eio_sid] for eio_sid in everybody.get("r", {}).values()}


async def test_the_list_is_kept_while_nobody_comes_or_goes() -> None:
    manager, _ = await a_room(LARGE)
    assert manager.sessions("r") is manager.sessions("r")


async def test_who_comes_is_in_the_list() -> None:
    manager, _ = await a_room(LARGE)
    manager.sessions("r")
    await a_member(manager, LARGE)
    assert manager.server.eio.sockets[f"eio{LARGE}"] in manager.sessions("r")


@pytest.mark.parametrize("way", ["leave", "disconnect"])
async def test_who_goes_is_not_in_the_list(way: str) -> None:
    manager, sids = await a_room(LARGE)
    gone = manager.sessions("r")[0]
    if way == "leave":
        manager.basic_leave_room(sids[0], "/", "r")
    else:
        manager.basic_disconnect(sids[0], "/")
    assert gone not in manager.sessions("r")


async def test_an_emptied_room_has_nobody() -> None:
    manager, sids = await a_room(LARGE)
    manager.sessions("r")
    for sid in sids:
        manager.basic_disconnect(sid, "/")
    assert manager.sessions("r") == []


@given(
    steps=st.lists(st.tuples(st.sampled_from(["leave", "enter", "disconnect"]), st.integers(0, LARGE - 1)))
)
async def test_after_any_coming_and_going_the_list_is_the_room(steps: list[tuple[str, int]]) -> None:
    manager, sids = await a_room(LARGE)
    for step, number in steps:
        sid = sids[number]
        if step == "leave":
            manager.basic_leave_room(sid, "/", "r")
        elif step == "disconnect":
            manager.basic_disconnect(sid, "/")
        elif sid in manager.rooms.get("/", {}).get(None, {}):
            manager.basic_enter_room(sid, "/", "r")
        found = manager.sessions("r") if "/" in manager.rooms else []
        assert set(found) == (members(manager) if "/" in manager.rooms else set())
