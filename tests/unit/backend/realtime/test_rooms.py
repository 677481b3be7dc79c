"""Our rooms against python-socketio's own manager as the oracle; emits; the kept list of a large room."""

import asyncio
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from socketio import packet
from socketio.async_manager import AsyncManager

from backend.app.realtime.bus.manager import BusManager
from backend.app.realtime.rooms import AUDIENCE_SOCKETS, RoomManager
from tests.support.backend.bells import FakeSession

ROOMS = ["live", "user:1", "claim:1", "claim:2"]
NAMESPACES = ["/", "/other"]
EIOS = [f"eio{number}" for number in range(6)]


class FakeEngine:
    """Counts ids like the library makes them: the same sequence for both managers."""

    def __init__(self) -> None:
        self.made = 0
        self.sockets: dict[str, Any] = {}

    def generate_id(self) -> str:
        self.made += 1
        return f"sid{self.made}"


class FakeServer:
    packet_class = packet.Packet

    def __init__(self) -> None:
        self.eio = FakeEngine()


def managed(kind: type[Any]) -> Any:
    manager = kind()
    manager.set_server(FakeServer())
    return manager


class Rooms(RuleBasedStateMachine):
    """The same operations on both; what can be asked must be answered the same."""

    @initialize()
    def start(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.ours, self.stock = managed(RoomManager), managed(AsyncManager)
        self.sids: list[tuple[str, str]] = []

    def teardown(self) -> None:
        if hasattr(self, "loop"):
            self.loop.close()

    def both(self, operation: str, *args: Any, awaited: bool = True) -> Any:
        """Call on both; they answer the same, or both refuse."""
        answers = [self._outcome(manager, operation, args, awaited) for manager in (self.ours, self.stock)]
        assert answers[0] == answers[1], (operation, args, answers)
        return answers[0]

    def _outcome(self, manager: Any, operation: str, args: Any, awaited: bool) -> Any:
        try:
            answer = getattr(manager, operation)(*args)
            return self.loop.run_until_complete(answer) if awaited else answer
        except (ValueError, KeyError) as error:
            return ValueError if isinstance(error, (ValueError, KeyError)) else error

    @rule(eio=st.sampled_from(EIOS), namespace=st.sampled_from(NAMESPACES))
    def pre_connect(self, eio: str, namespace: str) -> None:
        sid = self.both("pre_connect", eio, namespace)
        if sid is not None:
            self.sids.append((sid, namespace))

    @rule(data=st.data())
    def connect(self, data: st.DataObject) -> None:
        waiting = [(s, n) for s, n in self.sids if self.stock.is_pre_connected(s, n)]
        if waiting:
            self.both("connect", *data.draw(st.sampled_from(waiting)))

    @rule(data=st.data())
    def pre_disconnect(self, data: st.DataObject) -> None:
        if self.sids:
            self.both("pre_disconnect", *data.draw(st.sampled_from(self.sids)), awaited=False)

    @rule(data=st.data())
    def disconnect(self, data: st.DataObject) -> None:
        if self.sids:
            chosen = data.draw(st.sampled_from(self.sids))
            self.sids.remove(chosen)
            self.both("disconnect", *chosen)

    @rule(data=st.data(), room=st.sampled_from(ROOMS))
    def enter(self, data: st.DataObject, room: str) -> None:
        if self.sids:
            self.both("enter_room", *data.draw(st.sampled_from(self.sids)), room)

    @rule(data=st.data(), room=st.sampled_from(ROOMS))
    def leave(self, data: st.DataObject, room: str) -> None:
        if self.sids:
            self.both("leave_room", *data.draw(st.sampled_from(self.sids)), room)

    @rule(room=st.sampled_from(ROOMS), namespace=st.sampled_from(NAMESPACES))
    def close(self, room: str, namespace: str) -> None:
        self.both("close_room", room, namespace)

    @rule(data=st.data())
    def enter_anothers_room(self, data: st.DataObject) -> None:
        here = [sid for sid, namespace in self.sids if namespace == "/"]
        if len(here) > 1:
            first, second = data.draw(st.sampled_from(here)), data.draw(st.sampled_from(here))
            if first != second:
                assert self.both("enter_room", first, "/", second) is ValueError

    @invariant()
    def the_same_people_are_in_the_same_rooms(self) -> None:
        if not hasattr(self, "ours"):
            return
        asked: list[Any] = [*ROOMS, *(sid for sid, _ in self.sids), ROOMS[:2], [ROOMS[1], "nobody"], "nobody"]
        for namespace in NAMESPACES:
            for room in asked:
                ours, stock = (
                    sorted(manager.get_participants(namespace, room)) for manager in (self.ours, self.stock)
                )
                assert ours == stock, (namespace, room)

    @invariant()
    def everybody_is_in_the_same_state(self) -> None:
        for sid, namespace in getattr(self, "sids", []):
            for question in ("is_connected", "is_pre_connected", "eio_sid_from_sid"):
                self.both(question, sid, namespace, awaited=False)
            assert sorted(self.ours.get_rooms(sid, namespace)) == sorted(self.stock.get_rooms(sid, namespace))
        for namespace in NAMESPACES:
            for eio in EIOS:
                if hasattr(self, "ours"):
                    self.both("sid_from_eio_sid", eio, namespace, awaited=False)

    @invariant()
    def the_sizes_agree_and_nothing_is_left_behind(self) -> None:
        if not hasattr(self, "ours"):
            return
        for room in ROOMS:
            assert self.ours.room_size(room) == len(list(self.stock.get_participants("/", room)))
        known = {sid for sid, _ in self.sids}
        assert set(self.ours._rooms_of) | self.ours._connecting | self.ours._leaving <= known
        assert set(self.ours.get_namespaces()) == set(self.stock.get_namespaces())


Rooms.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestRooms = Rooms.TestCase


# ---------------------------------------------------------------- emit


async def a_room(*members: str) -> tuple[RoomManager, dict[str, FakeSession]]:
    """A manager with connected sockets in room `r`, by Engine.IO id."""
    manager = managed(RoomManager)
    sessions = {}
    for eio in members:
        sessions[eio] = manager.server.eio.sockets[eio] = FakeSession()
        sid = await manager.pre_connect(eio, "/")
        await manager.connect(sid, "/")
        await manager.enter_room(sid, "/", "r")
    return manager, sessions


def heard(session: FakeSession) -> list[bytes]:
    return [packet for message in session.messages for packet in message.packets]


async def test_an_emit_reaches_the_room() -> None:
    manager, sessions = await a_room("a", "b")
    await manager.emit("e", {"n": 1}, "/", room="r")
    assert [heard(session) for session in sessions.values()] == [[b'2["e",{"n":1}]']] * 2


@pytest.mark.parametrize(
    ("data", "arguments"), [(None, b'2["e"]'), ((1, 2), b'2["e",1,2]'), ([1, 2], b'2["e",[1,2]]')]
)
async def test_an_emit_has_the_librarys_arguments(data: Any, arguments: bytes) -> None:
    manager, sessions = await a_room("a")
    await manager.emit("e", data, "/", room="r")
    assert heard(sessions["a"]) == [arguments]


async def test_an_emit_reaches_one_socket_by_its_id() -> None:
    manager, sessions = await a_room("a", "b")
    sid = manager.sid_from_eio_sid("a", "/")
    await manager.emit("e", 1, "/", to=sid)
    assert [len(heard(session)) for session in sessions.values()] == [1, 0]


@pytest.mark.parametrize("wrap", [lambda sid: sid, lambda sid: [sid]])
async def test_an_emit_skips_who_is_to_be_skipped(wrap: Any) -> None:
    manager, sessions = await a_room("a", "b")
    await manager.emit("e", 1, "/", room="r", skip_sid=wrap(manager.sid_from_eio_sid("a", "/")))
    assert [len(heard(session)) for session in sessions.values()] == [0, 1]


async def test_a_socket_in_two_of_the_rooms_gets_it_once() -> None:
    manager, sessions = await a_room("a")
    await manager.enter_room(manager.sid_from_eio_sid("a", "/"), "/", "s")
    await manager.emit("e", 1, "/", room=["r", "s"])
    assert len(heard(sessions["a"])) == 1


async def test_an_emit_to_everybody_is_refused() -> None:
    manager, sessions = await a_room("a")
    with pytest.raises(ValueError, match="needs a room"):
        await manager.emit("e", 1, "/")
    assert heard(sessions["a"]) == []


async def test_a_binary_emit_is_refused() -> None:
    manager, _ = await a_room("a")
    with pytest.raises(ValueError, match="binary"):
        await manager.emit("e", b"bytes", "/", room="r")


async def test_an_emit_to_an_empty_room_is_fine() -> None:
    manager, _ = await a_room()
    await manager.emit("e", 1, "/", room="nobody")


async def test_a_session_that_is_gone_is_left_out() -> None:
    manager, sessions = await a_room("a", "b")
    del manager.server.eio.sockets["a"]
    await manager.emit("e", 1, "/", room="r")
    assert (heard(sessions["a"]), manager.sessions("r")) == ([], [sessions["b"]])


async def test_rooms_coming_and_going_are_told() -> None:
    manager, _ = await a_room("a", "b")
    told: list[tuple[str, bool]] = []
    manager.on_room = lambda room, here: told.append((room, here))
    first, second = (manager.sid_from_eio_sid(eio, "/") for eio in "ab")
    for sid in (first, second, first):
        await manager.enter_room(sid, "/", "s")
    await manager.leave_room(first, "/", "s")
    await manager.disconnect(second, "/")
    assert told == [("s", True), ("s", False)]


async def test_messages_are_shared_between_recipients() -> None:
    manager, sessions = await a_room("a", "b")
    await manager.emit("e", 1, "/", room="r")
    one, two = (session.messages[0] for session in sessions.values())
    assert one.wire == two.wire


def test_the_library_hides_none_of_our_methods_on_the_bus() -> None:
    """An attribute that the library's Redis manager sets on itself would win over a method of ours."""
    manager = BusManager("redis://127.0.0.1:1", SilentBus())  # type: ignore[arg-type]
    ours = [name for name, member in vars(RoomManager).items() if callable(member)]
    assert [name for name in ours if not callable(getattr(manager, name))] == []


class SilentBus:
    """Takes no notice."""

    on_raw: Any = None


# ---------------------------------------------------------------- the kept list of a large room's sessions


LARGE = AUDIENCE_SOCKETS + 4


async def a_large_room(size: int) -> tuple[RoomManager, list[str]]:
    """A manager with `size` sockets in room `r`; their ids in the order they came."""
    manager = managed(RoomManager)
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
    manager, _ = await a_large_room(LARGE)
    assert manager.sessions("r") is manager.sessions("r")


async def test_who_comes_is_in_the_list() -> None:
    manager, _ = await a_large_room(LARGE)
    manager.sessions("r")
    await a_member(manager, LARGE)
    assert manager.server.eio.sockets[f"eio{LARGE}"] in manager.sessions("r")


@pytest.mark.parametrize("way", ["leave", "disconnect"])
async def test_who_goes_is_not_in_the_list(way: str) -> None:
    manager, sids = await a_large_room(LARGE)
    gone = manager.sessions("r")[0]
    if way == "leave":
        manager.basic_leave_room(sids[0], "/", "r")
    else:
        manager.basic_disconnect(sids[0], "/")
    assert gone not in manager.sessions("r")


async def test_an_emptied_room_has_nobody() -> None:
    manager, sids = await a_large_room(LARGE)
    manager.sessions("r")
    for sid in sids:
        manager.basic_disconnect(sid, "/")
    assert manager.sessions("r") == []


@given(
    steps=st.lists(st.tuples(st.sampled_from(["leave", "enter", "disconnect"]), st.integers(0, LARGE - 1)))
)
async def test_after_any_coming_and_going_the_list_is_the_room(steps: list[tuple[str, int]]) -> None:
    manager, sids = await a_large_room(LARGE)
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
