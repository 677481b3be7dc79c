"""Stand-ins for the ends of durable delivery: a store that answers when told to, a socket that remembers."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from backend.app.contracts.types import DeliveryClass, NotificationId, NotificationType, Priority, UserId
from backend.app.domain.records import Notification
from backend.app.errors import UnavailableError
from backend.app.ports import History
from backend.app.realtime.delivery import Joined, encode_notification
from backend.app.realtime.websocket import Message

ANN = UserId("ann")
ROOM = "user:ann"


def row(seq: int, user_id: UserId = ANN) -> Notification:
    """A notification that says nothing but its seq."""
    return Notification(
        id=NotificationId(f"{user_id}-{seq}"),
        user_id=user_id,
        seq=seq,
        type=NotificationType.SYSTEM,
        title="",
        message="",
        priority=Priority.LOW,
        action_url=None,
        data={},
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
    )


def message(seq: int) -> Message:
    """What the services push for this row."""
    return encode_notification(row(seq))


@dataclass(eq=False)
class Read:
    """A store call under way: first it looks, later it answers."""

    look: Callable[[], Any]
    answer: "asyncio.Future[Any]"
    seen: Any = None
    looked: bool = False

    def take(self) -> None:
        if not self.looked:
            self.seen, self.looked = self.look(), True

    def give(self) -> None:
        self.take()
        if not self.answer.done():
            self.answer.set_result(self.seen)

    def fail(self) -> None:
        if not self.answer.done():
            self.answer.set_exception(UnavailableError("no answer"))


@dataclass
class BellStore:
    """One user's rows 1..newest, of which those up to `trimmed` are gone. manual: calls wait in `reads`."""

    newest: int = 0
    trimmed: int = 0
    manual: bool = False
    reads: list[Read] = field(default_factory=list)
    calls: int = 0

    @property
    def notifications(self) -> "BellStore":
        return self

    async def _read(self, look: Callable[[], Any]) -> Any:
        self.calls += 1
        if not self.manual:
            await asyncio.sleep(0)
            return look()
        read = Read(look, asyncio.get_running_loop().create_future())
        self.reads.append(read)
        try:
            return await read.answer
        finally:
            self.reads.remove(read)

    async def history(self, user_id: UserId, after_seq: int, limit: int) -> History:
        found: History = await self._read(lambda: self._history(after_seq, limit))
        return found

    def _history(self, after_seq: int, limit: int) -> History:
        if after_seq < self.trimmed or after_seq > self.newest:
            return History([], self.newest, complete=False)
        last = min(self.newest, after_seq + limit)
        return History([row(seq) for seq in range(after_seq + 1, last + 1)], self.newest, complete=True)

    async def last_seqs(self, user_ids: Sequence[UserId]) -> dict[UserId, int]:
        found: dict[UserId, int] = await self._read(lambda: dict.fromkeys(user_ids, self.newest))
        return found


class FakeSession:
    """A socket that remembers what it was sent, as messages. healthy: takes ready-made bytes."""

    def __init__(self, *, healthy: bool = False) -> None:
        self.messages: list[Message] = []
        self.wires: list[bytes] = []
        self.write: Callable[[bytes], None] | None = self.wires.append if healthy else None

    def post(self, messages: Sequence[Message]) -> None:
        self.messages.extend(messages)

    @property
    def versions(self) -> list[int]:
        return [item.version for item in self.messages]


class FakeRooms:
    """Rooms by name."""

    def __init__(self) -> None:
        self.members: dict[str, list[FakeSession]] = {}

    def enter(self, room: str, session: FakeSession) -> None:
        self.members.setdefault(room, []).append(session)

    def leave(self, room: str, session: FakeSession) -> None:
        self.members[room].remove(session)

    def sessions(self, room: str) -> list[Any]:
        return list(self.members.get(room, ()))

    def room_size(self, room: str) -> int:
        return len(self.members.get(room, ()))


class Bell(FakeSession):
    """A socket of `ANN`: how it joined, and every seq it was sent."""

    def __init__(self, rooms: FakeRooms, after_seq: int | None, *, gone: bool = False) -> None:
        super().__init__()
        self.after_seq = after_seq
        self.joined: Joined | None = None
        self.gone = gone
        self._rooms = rooms

    def enter(self, joined: Joined) -> Any:
        """As the gateway does it: answer, replay, room, in one turn."""
        if self.gone:
            return None
        self.joined = joined
        self.post([*joined.replay, *joined.buffered])
        self._rooms.enter(ROOM, self)
        return self

    @property
    def seqs(self) -> list[int]:
        return [item.version for item in self.messages if item.delivery is DeliveryClass.DURABLE]

    @property
    def expected_first(self) -> int:
        """The seq after the position from which this socket must get everything."""
        assert self.joined is not None
        if self.joined.recovered and not self.joined.more:
            assert self.after_seq is not None
            return self.after_seq + 1
        return self.joined.last_seq + 1
