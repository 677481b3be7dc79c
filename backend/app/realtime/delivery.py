"""Durable delivery on one node: each connected user's notifications in `seq` order, without a gap.

A *channel* exists for every user with a socket here. It knows the last seq it let through. Whatever arrives
- from this node's services, from the bus, from the store - passes it once and in order; a hole is filled
from the store. A socket that joins is given what it missed, then what arrived meanwhile, then live events:
nothing twice, nothing left out.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from ..contracts.rooms import user_room
from ..contracts.types import UserId
from ..domain.records import Notification
from ..errors import UnavailableError, VouchstormError
from ..ports import History, Push, Store
from ..services.websocket_service import notification_push
from .engine import Session
from .fanout import Fanout
from .websocket import Message, encode

log = logging.getLogger(__name__)

HOLE_WAIT_S = 0.1
"""How long a missing seq may still be on its way before it is read from the store."""
RETRY_S = 1.0
JOIN_BUFFER = 2_000
"""Live messages kept for a socket while its replay is read; with more than that it is read again."""
JOIN_READS = 4
HELD_LIMIT = 2_000
"""Live messages kept behind a hole; what is beyond comes from the store with the hole."""
BATCH = 500

Q = TypeVar("Q")
A = TypeVar("A")

Own = Callable[[Coroutine[Any, Any, None]], None]


class Gathered(Generic[Q, A]):
    """Questions that wait at the same time are asked together: a storm costs a few reads, not thousands.

    While one read is under way the next batch gathers: a lone question waits for nobody, and no answer is
    older than its question.

    read: the answers in the order of the questions; what it raises, everybody of that batch is told.
    """

    def __init__(self, read: Callable[[Sequence[Q]], Awaitable[Sequence[A]]], own: Own) -> None:
        self._read = read
        self._own = own
        self._waiting: list[tuple[Q, asyncio.Future[A]]] = []
        self._reading = False

    async def ask(self, question: Q) -> A:
        """The answer, read after this was asked. Raises what `read` raised."""
        future: asyncio.Future[A] = asyncio.get_running_loop().create_future()
        self._waiting.append((question, future))
        if not self._reading:
            self._reading = True
            self._own(self._read_all())
        return await future

    async def _read_all(self) -> None:
        try:
            while self._waiting:
                batch, self._waiting = self._waiting[:BATCH], self._waiting[BATCH:]
                await self._read_batch(batch)
        finally:
            self._reading = False

    async def _read_batch(self, batch: list[tuple[Q, "asyncio.Future[A]"]]) -> None:
        try:
            answers = await self._read([question for question, _ in batch])
        except Exception as error:  # noqa: BLE001 - belongs to those who asked; handed over, never swallowed
            for _, future in batch:
                if not future.done():
                    future.set_exception(_own_copy(error))
            return
        except BaseException:
            for _, future in batch:
                future.cancel()
            raise
        for (_, future), answer in zip(batch, answers, strict=True):
            if not future.done():
                future.set_result(answer)


def _own_copy(error: Exception) -> Exception:
    """An exception that is raised in several places needs a traceback for each."""
    if isinstance(error, UnavailableError):
        return UnavailableError(str(error), error.code, retry_after_s=error.retry_after_s)
    return error


@dataclass(slots=True)
class Joined:
    """How a socket joined: see `contracts.events.Authenticated`. `buffered` arrived during the replay."""

    last_seq: int
    recovered: bool | None
    more: bool
    replay: list[Message]
    buffered: list[Message]


@dataclass(slots=True)
class _Channel:
    """known: newest seq let through. newest: newest seq that is known to exist."""

    user_id: UserId
    known: int = 0
    newest: int = 0
    ready: bool = False
    members: int = 0
    joining: list[deque[Message]] = field(default_factory=list)
    held: dict[int, Message] = field(default_factory=dict)
    filling: bool = False

    @property
    def behind(self) -> bool:
        return self.ready and self.known < self.newest


@dataclass(slots=True, eq=False)
class Arrival:
    """A socket on its way in: whatever is let through to its user from now on is kept for it.

    newest: the user's newest seq, if it was read since then.
    """

    channel: _Channel
    buffer: deque[Message]
    newest: int | None = None


def encode_notification(notification: Notification) -> Message:
    """A stored notification as it goes to a socket."""
    return encode_push(notification_push(notification))


def encode_push(push: Push) -> Message:
    return encode(push.events, push.delivery, push.key, push.version, push.born_s)


class Channels:
    """The channels of one node."""

    def __init__(
        self,
        store: Store,
        fanout: Fanout,
        replay_limit: int,
        own: Own,
    ) -> None:
        """own: runs a coroutine as a task that somebody holds."""
        self.on_user: Callable[[UserId, bool], None] | None = None
        """Told (user, True) when a user's first socket comes, (user, False) when the last is gone."""
        self._store = store
        self._newest: Gathered[UserId, int] = Gathered(self._read_newest, own)
        self._fanout = fanout
        self._replay_limit = replay_limit
        self._own = own
        self._channels: dict[UserId, _Channel] = {}
        self.holes = 0
        """Reads of the store because an earlier message was missing."""
        self.behind = 0
        """Users whom a comparison with the store found behind."""

    def __len__(self) -> int:
        return len(self._channels)

    def waiting(self) -> int:
        """Messages that wait for an earlier one of their user."""
        return sum(len(channel.held) for channel in self._channels.values() if channel.held)

    def known_seq(self, user_id: UserId) -> int | None:
        """The newest seq let through to this user's sockets here; None without a socket."""
        channel = self._channels.get(user_id)
        return channel.known if channel is not None and channel.ready else None

    def here(self, user_id: UserId) -> bool:
        """Has this user a socket on this node, or one that is joining?"""
        return user_id in self._channels

    # -------------------------------------------------------------- live

    def deliver(self, user_id: UserId, message: Message) -> None:
        """Let a durable message through in its turn; what was let through before is dropped."""
        channel = self._channels.get(user_id)
        if channel is not None:
            self._take(channel, message)

    def _take(self, channel: _Channel, message: Message) -> None:
        channel.newest = max(channel.newest, message.version)
        if not channel.ready or message.version > channel.known + 1:
            if len(channel.held) < HELD_LIMIT:
                channel.held.setdefault(message.version, message)
        elif message.version > channel.known and self._pass(channel, message):
            self._pass_held(channel)
        if channel.behind:
            self._fill(channel)

    def _pass(self, channel: _Channel, message: Message) -> bool:
        """Let it through; False if the fan-out has no place: it is read from the store again, later."""
        if not self._fanout.put(user_room(channel.user_id), message):
            return False
        channel.known = message.version
        for buffer in channel.joining:
            buffer.append(message)
        return True

    def _pass_held(self, channel: _Channel) -> None:
        while (message := channel.held.pop(channel.known + 1, None)) is not None:
            if not self._pass(channel, message):
                break
        for seq in [seq for seq in channel.held if seq <= channel.known]:
            del channel.held[seq]

    # -------------------------------------------------------------- holes

    def _fill(self, channel: _Channel) -> None:
        if not channel.filling:
            channel.filling = True
            self._own(self._fill_hole(channel))

    async def _fill_hole(self, channel: _Channel) -> None:
        try:
            await asyncio.sleep(HOLE_WAIT_S)
            while channel.behind and self._is_current(channel):
                self.holes += 1
                known = channel.known
                try:
                    await self.catch_up(channel.user_id)
                except VouchstormError as error:
                    log.warning("cannot fill a hole yet: %s", error)
                if channel.behind:
                    await asyncio.sleep(HOLE_WAIT_S if channel.known > known else RETRY_S)
        finally:
            channel.filling = False

    def _is_current(self, channel: _Channel) -> bool:
        """Does it still stand for its user? After an await the last socket may be gone, or a new one here."""
        return self._channels.get(channel.user_id) is channel

    async def catch_up(self, user_id: UserId) -> None:
        """Let through whatever the store has beyond what was let through. Raises UnavailableError."""
        channel = self._channels.get(user_id)
        if channel is None or not channel.ready:
            return
        while True:
            known = channel.known
            history = await self._store.notifications.history(user_id, known, BATCH)
            if not self._is_current(channel):
                return
            for row in history.items:
                self._take(channel, encode_notification(row))
            if not history.complete:
                # Rows are gone: the newest position is all there is to say. Clients see the gap and `sync`.
                channel.known = max(channel.known, history.last_seq)
                self._pass_held(channel)
            if channel.known >= history.last_seq or channel.known == known:
                return

    async def catch_up_all(self) -> int:
        """Compare every channel with the store and close what is behind; how many were behind.

        Run periodically and after each gap of the bus: this is what makes the bus's losses harmless.
        Raises UnavailableError.
        """
        return await self.catch_up_many(list(self._channels))

    async def catch_up_many(self, users: list[UserId]) -> int:
        """As `catch_up_all`, for these users. Raises UnavailableError."""
        behind = 0
        for start in range(0, len(users), BATCH):
            newest = await self._store.notifications.last_seqs(users[start : start + BATCH])
            for user_id, seq in newest.items():
                channel = self._channels.get(user_id)
                if channel is None:
                    continue
                if not channel.ready:
                    # What its first socket is reading may be older than this: it fills the hole then.
                    channel.newest = max(channel.newest, seq)
                elif seq > channel.known:
                    behind += 1
                    await self._catch_up_alone(user_id)
        self.behind += behind
        return behind

    async def _catch_up_alone(self, user_id: UserId) -> None:
        """A row that cannot be sent is its user's trouble, not that of those who come after."""
        try:
            await self.catch_up(user_id)
        except VouchstormError:
            raise
        except Exception:
            log.exception("a user cannot be caught up")

    async def run(self, interval_s: float) -> None:
        """Compare for ever."""
        while True:
            await asyncio.sleep(interval_s)
            try:
                await self.catch_up_all()
            except VouchstormError as error:
                log.warning("comparison with the store put off: %s", error)

    # -------------------------------------------------------------- joining and leaving

    def arrive(self, user_id: UserId) -> Arrival:
        """A socket of this user may be about to join: `join` or `give_up` must follow."""
        channel = self._channels.get(user_id)
        if channel is None:
            channel = self._channels[user_id] = _Channel(user_id)
            if self.on_user is not None:
                self.on_user(user_id, True)
        arrival = Arrival(channel, deque(maxlen=JOIN_BUFFER))
        channel.joining.append(arrival.buffer)
        return arrival

    def give_up(self, arrival: Arrival) -> None:
        """The socket does not join, or has joined. Idempotent."""
        channel = arrival.channel
        channel.joining = [other for other in channel.joining if other is not arrival.buffer]
        self._drop_if_empty(channel)

    async def join(
        self,
        user_id: UserId,
        after_seq: int | None,
        enter: Callable[[Joined], Session | None],
        arrival: Arrival | None = None,
    ) -> Joined:
        """Let a socket in.

        enter: called once, in the same turn of the loop in which the position is taken: it must write the
        answer, the replay and the buffered messages to the socket and put it into the user's room. It
        returns None if the socket is gone by then.
        arrival: of this user; it is over afterwards.

        Raises UnavailableError; nothing is left behind.
        """
        arrival = arrival or self.arrive(user_id)
        channel = arrival.channel
        try:
            joined = await self._position(arrival, after_seq)
            # What is under way to the others must not reach this socket, too: it has it, or will be given it.
            self._fanout.settle(user_room(user_id))
            if enter(joined) is not None:
                channel.members += 1
        finally:
            self.give_up(arrival)
        return joined

    async def _position(self, arrival: Arrival, after_seq: int | None) -> Joined:
        """Where the socket stands, decided without an await before the return: one instant with its entry."""
        channel, buffer = arrival.channel, arrival.buffer
        if after_seq is None:
            if not channel.ready:
                self._make_ready(channel, await self._newest_seq(arrival))
            return Joined(channel.known, None, False, [], [])
        for _ in range(JOIN_READS):
            history = await self._missed(arrival, after_seq)
            self._make_ready(channel, history.last_seq)
            if not history.complete:
                break
            # Rows beyond what the channel let through are in flight and come live.
            position = min(history.last_seq, channel.known)
            buffered = [message for message in buffer if message.version > position]
            if position + len(buffered) == channel.known:
                return self._caught_up(after_seq, history, position, buffered)
            # The channel moved past what was read in a way that the buffer did not see: read again.
        return Joined(channel.known, False, False, [], [])

    async def _newest_seq(self, arrival: Arrival) -> int:
        """What was read on the way in serves once; after that it is too old."""
        newest, arrival.newest = arrival.newest, None
        return newest if newest is not None else await self._newest.ask(arrival.channel.user_id)

    async def _read_newest(self, users: Sequence[UserId]) -> list[int]:
        newest = await self._store.notifications.last_seqs(list(set(users)))
        return [newest.get(user_id, 0) for user_id in users]

    async def _missed(self, arrival: Arrival, after_seq: int) -> History:
        """What came after this position; who missed nothing, as most in a storm, costs no read of rows."""
        newest = await self._newest_seq(arrival)
        if newest == after_seq:
            return History([], newest, complete=True)
        return await self._store.notifications.history(arrival.channel.user_id, after_seq, self._replay_limit)

    def _make_ready(self, channel: _Channel, last_seq: int) -> None:
        """The first read says where the channel begins; later ones, whether it lags."""
        channel.newest = max(channel.newest, last_seq)
        if not channel.ready:
            channel.ready, channel.known = True, last_seq
            self._pass_held(channel)
        if channel.behind:
            self._fill(channel)

    def _caught_up(self, after_seq: int, history: History, position: int, buffered: list[Message]) -> Joined:
        replay = [encode_notification(row) for row in history.items if row.seq <= position]
        return Joined(position, True, after_seq + len(replay) < position, replay, buffered)

    def leave(self, user_id: UserId) -> None:
        """One of the user's sockets is gone."""
        channel = self._channels.get(user_id)
        if channel is not None:
            channel.members -= 1
            self._drop_if_empty(channel)

    def _drop_if_empty(self, channel: _Channel) -> None:
        if channel.members > 0 or channel.joining or not self._is_current(channel):
            return
        del self._channels[channel.user_id]
        if self.on_user is not None:
            self.on_user(channel.user_id, False)
