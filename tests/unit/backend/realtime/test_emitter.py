"""From a push to the rooms: encoded once, published before it is delivered, not at all if nobody wants it."""

from typing import Any

import pytest

from backend.app.contracts.types import DeliveryClass, UserId
from backend.app.ports import Push
from backend.app.realtime import emitter
from backend.app.realtime.delivery import Channels
from backend.app.realtime.emitter import LocalEmitter
from backend.app.realtime.fanout import Fanout
from backend.app.realtime.websocket import Message
from tests.support.backend.bells import ANN, ROOM, Bell, BellStore, FakeRooms, FakeSession
from tests.support.virtual_loop import VirtualLoop


class World:
    def __init__(self, loop: VirtualLoop, *, shared: bool = False) -> None:
        self.loop = loop
        self.rooms = FakeRooms()
        store: Any = BellStore()
        fanout = Fanout(self.rooms, coalesce_s=0.0, snapshot_interval_s=0.05, queue_messages=100)
        self.channels = Channels(store, fanout, 10, self._own)
        self.published: list[tuple[str, Message, int]] = []
        self.emitter = LocalEmitter(
            self.rooms, fanout, self.channels, publish=self._publish if shared else None
        )
        self.witness: FakeSession | None = None

    def _own(self, work: Any) -> None:
        self.loop.create_task(work)

    def _publish(self, room: str, message: Message) -> None:
        self.published.append((room, message, len(self.witness.messages) if self.witness else 0))

    def bell(self) -> Bell:
        made = Bell(self.rooms, None)
        self.loop.begin(self.channels.join(ANN, None, made.enter))
        return made

    def member(self, room: str) -> FakeSession:
        session = FakeSession()
        self.rooms.enter(room, session)
        return session

    def push(self, *pushes: Push) -> None:
        async def now() -> None:
            self.emitter.push(pushes)

        self.loop.begin(now())


@pytest.fixture
def encodings(monkeypatch: pytest.MonkeyPatch) -> list[Push]:
    """The pushes that were encoded."""
    seen: list[Push] = []
    encode = emitter.encode_push

    def counting(push: Push) -> Message:
        seen.append(push)
        return encode(push)

    monkeypatch.setattr(emitter, "encode_push", counting)
    return seen


def live(room: str, events: Any = (("c", {"n": 1}),), version: int = 1) -> Push:
    return Push(room, events, DeliveryClass.SNAPSHOT, "key", version)


def durable(seq: int, room: str = ROOM) -> Push:
    return Push(room, (("n", {"seq": seq}),), DeliveryClass.DURABLE, version=seq)


def test_what_nobody_wants_is_not_even_encoded(loop: VirtualLoop, encodings: list[Push]) -> None:
    World(loop).push(live("live"), durable(1))
    assert encodings == []


def test_one_fact_for_two_rooms_is_encoded_once(loop: VirtualLoop, encodings: list[Push]) -> None:
    world = World(loop)
    members = [world.member("live"), world.member("claim:1")]
    events = (("c", {"n": 1}),)
    world.push(live("live", events), live("claim:1", events))
    assert (len(encodings), [session.versions for session in members]) == (1, [[1], [1]])


def test_durable_events_go_through_their_users_channel(loop: VirtualLoop) -> None:
    world = World(loop)
    bell = world.bell()
    world.push(durable(2), durable(1))
    assert bell.seqs == [1, 2]


def test_durable_events_reach_nobody_else(loop: VirtualLoop) -> None:
    world = World(loop)
    others = [world.member("live"), world.member(f"user:{UserId('ben')}")]
    world.bell()
    world.push(durable(1))
    assert [session.messages for session in others] == [[], []]


def test_state_goes_straight_to_the_users_sockets(loop: VirtualLoop) -> None:
    world = World(loop)
    bell = world.bell()
    world.push(Push(ROOM, (("notification_read", {}),), DeliveryClass.STATE))
    assert len(bell.messages) == 1


def test_other_nodes_are_told_even_if_nobody_is_here(loop: VirtualLoop) -> None:
    world = World(loop, shared=True)
    world.push(durable(1))
    assert [room for room, _, _ in world.published] == [ROOM]


def test_other_nodes_are_told_first(loop: VirtualLoop) -> None:
    world = World(loop, shared=True)
    world.witness = world.member("live")
    world.push(live("live"))
    assert [delivered for _, _, delivered in world.published] == [0]


def test_what_the_bus_brings_is_not_sent_back(loop: VirtualLoop) -> None:
    world = World(loop, shared=True)
    session = world.member("live")

    async def arrive() -> None:
        world.emitter.deliver("live", emitter.encode_push(live("live")))

    loop.begin(arrive())
    assert (session.versions, world.published) == ([1], [])
