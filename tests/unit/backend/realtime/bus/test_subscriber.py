"""What a node compares after it may have missed messages: users, watched claims, all that moved meanwhile."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from backend.app.contracts.rooms import LIVE_ROOM, claim_room, user_room
from backend.app.contracts.types import ClaimId, UserId
from backend.app.domain.records import Claim
from backend.app.realtime.bus.subscriber import CLOCKS_APART_S, BusListener
from backend.app.realtime.websocket import Message

NOW = datetime(2026, 1, 1, tzinfo=UTC)
MOVED, WATCHED, STILL = ClaimId("moved"), ClaimId("watched"), ClaimId("still")
CLAIM = Claim(STILL, UserId("owner"), "Owner", "Title", "", (), 3, NOW)


class Clock:
    def now(self) -> datetime:
        return NOW


class Store:
    """One claim moved a minute ago; the others have not moved for ever."""

    @property
    def claims(self) -> "Store":
        return self

    async def claim(self, claim_id: ClaimId) -> Claim:
        return replace(CLAIM, id=claim_id)

    async def claims_moved(self, since: datetime, limit: int) -> list[ClaimId]:
        return [MOVED] if since <= NOW - timedelta(seconds=60) else []


class Channels:
    def __init__(self) -> None:
        self.compared: list[UserId] = []

    async def catch_up_many(self, users: Sequence[UserId]) -> int:
        self.compared += users
        return 0

    async def catch_up_all(self) -> int:
        return await self.catch_up_many([UserId("everybody")])


class Rooms:
    def room_names(self) -> list[str]:
        return [claim_room(WATCHED), user_room(UserId("ann")), LIVE_ROOM]


class Emitter:
    def __init__(self) -> None:
        self.delivered: list[tuple[str, str | None]] = []

    def deliver(self, room: str, message: Message) -> None:
        self.delivered.append((room, message.key))

    @property
    def live(self) -> list[str | None]:
        """Claims that the followers of everything were told of."""
        return [key for room, key in self.delivered if room == LIVE_ROOM]


async def no_tokens_lost() -> int:
    return 0


class Place:
    def __init__(self) -> None:
        self.channels, self.emitter = Channels(), Emitter()
        parts: Any = (None, Store(), Clock(), Rooms(), self.channels, self.emitter, no_tokens_lost)
        self.listener = BusListener(*parts)


async def test_after_a_gap_its_followers_are_told_what_moved_since() -> None:
    place = Place()
    await place.listener.repair(None, 60)
    assert place.emitter.live == [WATCHED, MOVED]


async def test_what_moved_before_the_gap_is_not_sent_again() -> None:
    place = Place()
    await place.listener.repair(None, 49)
    assert place.emitter.live == [WATCHED]


async def test_clocks_may_differ_by_a_little() -> None:
    place = Place()
    await place.listener.repair(None, 60 - CLOCKS_APART_S)
    assert place.emitter.live == [WATCHED, MOVED]


async def test_when_the_live_room_is_heard_its_followers_are_told_what_moved_since() -> None:
    place = Place()
    await place.listener.repair([LIVE_ROOM], 60)
    assert place.emitter.live == [MOVED]


async def test_when_a_claim_is_heard_only_that_claim_is_sent() -> None:
    place = Place()
    await place.listener.repair([claim_room(STILL)], 600)
    assert place.emitter.live == [STILL]


async def test_when_a_user_is_heard_only_that_user_is_compared() -> None:
    place = Place()
    await place.listener.repair([user_room(UserId("bob"))], 600)
    assert (place.channels.compared, place.emitter.delivered) == ([UserId("bob")], [])
