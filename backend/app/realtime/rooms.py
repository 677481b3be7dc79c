"""Rooms: python-socketio's manager with an index from socket to rooms, and a straight emit.

A connect or disconnect costs the same with 10 rooms or 100,000, and an emit makes no task per recipient.

Overrides of python-socketio 5.18: `BaseManager` room and pending bookkeeping, `AsyncManager.emit`.
Source: socketio/base_manager.py, async_manager.py; docs/adr/0003.
"""

import logging
from collections.abc import Callable, Iterator
from typing import Any

from bidict import ValueDuplicationError, bidict
from socketio.async_manager import AsyncManager

from ..contracts.types import DeliveryClass
from .engine import Session
from .websocket import Message

log = logging.getLogger(__name__)

AUDIENCE_SOCKETS = 16
"""From this size on the list of a room's sessions is kept until somebody comes or goes."""


class Members(dict[str, str]):
    """A room: socket id -> Engine.IO id. `_fwdm` is what the library reads of its own bidict."""

    __slots__ = ()

    @property
    def _fwdm(self) -> "Members":
        return self


class RoomManager(AsyncManager):  # type: ignore[misc]
    """Rooms of one node. A socket's own room (its sid) exists without being stored."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._rooms_of: dict[str, set[str]] = {}
        self._audiences: dict[str, list[Session]] = {}
        self._connecting: set[str] = set()
        self._leaving: set[str] = set()
        self.on_room: Callable[[str, bool], None] | None = None
        """Told (room, True) when a room gets its first member here, (room, False) after its last left."""

    # -------------------------------------------------------------- who is here

    async def pre_connect(self, eio_sid: str, namespace: str) -> str | None:
        sid: str = self.server.eio.generate_id()
        everybody = self.rooms.setdefault(namespace, {}).setdefault(None, bidict())
        try:
            everybody[sid] = eio_sid
        except ValueDuplicationError:
            return None  # this Engine.IO session is connected to the namespace already
        self._connecting.add(sid)
        return sid

    async def connect(self, sid: str, namespace: str) -> str:
        self.let_in(sid)
        return sid

    def let_in(self, sid: str) -> None:
        """The socket is let in."""
        self._connecting.discard(sid)

    def is_pre_connected(self, sid: str, namespace: str) -> bool:
        return sid in self._connecting

    def is_connected(self, sid: str, namespace: str) -> bool:
        if sid in self._connecting or sid in self._leaving:
            return False
        return sid in self.rooms.get(namespace, {}).get(None, ())

    def pre_disconnect(self, sid: str, namespace: str) -> str | None:
        self._leaving.add(sid)
        eio_sid: str | None = self.eio_sid_from_sid(sid, namespace)
        return eio_sid

    def eio_sid_from_sid(self, sid: str, namespace: str) -> str | None:
        eio_sid: str | None = self.rooms.get(namespace, {}).get(None, {}).get(sid)
        return eio_sid

    def basic_disconnect(self, sid: str, namespace: str, **kwargs: Any) -> None:
        for room in self._rooms_of.pop(sid, ()):
            self._remove(sid, namespace, room)
        self._remove(sid, namespace, None)
        self.callbacks.pop(sid, None)
        self._connecting.discard(sid)
        self._leaving.discard(sid)

    # -------------------------------------------------------------- rooms

    def basic_enter_room(
        self, sid: str, namespace: str, room: str | None, eio_sid: str | None = None
    ) -> None:
        everybody = self.rooms.get(namespace, {}).get(None, {})
        if sid not in everybody:
            raise ValueError("sid is not connected to requested namespace")
        if room is None or room == sid:
            return
        if room in everybody:
            raise ValueError("cannot enter a sid room")
        members = self.rooms[namespace].get(room)
        if members is None:
            members = self.rooms[namespace][room] = Members()
            if self.on_room is not None:
                self.on_room(room, True)
        members[sid] = everybody[sid]
        self._audiences.pop(room, None)
        self._rooms_of.setdefault(sid, set()).add(room)

    def basic_leave_room(self, sid: str, namespace: str, room: str) -> None:
        self._remove(sid, namespace, room)
        rooms = self._rooms_of.get(sid)
        if rooms is not None:
            rooms.discard(room)

    def _remove(self, sid: str, namespace: str, room: str | None) -> None:
        rooms = self.rooms.get(namespace, {})
        members = rooms.get(room)
        if members is None or members.pop(sid, None) is None:
            return
        if room is not None:
            self._audiences.pop(room, None)
        if not members:
            del rooms[room]
            if room is not None and self.on_room is not None:
                self.on_room(room, False)
            if not rooms:
                del self.rooms[namespace]

    def get_rooms(self, sid: str, namespace: str) -> list[str]:
        return [sid, *self._rooms_of.get(sid, ())]

    def get_participants(self, namespace: str, room: Any) -> Iterator[tuple[str, str]]:
        rooms = self.rooms.get(namespace, {})
        everybody = rooms.get(None, {})
        names: list[str] = [room] if isinstance(room, str) else list(room or ())
        found: dict[str, str] = {}
        for name in names:
            if name in everybody:
                found[name] = everybody[name]
            else:
                found.update(rooms.get(name, ()))
        yield from found.items()

    def room_size(self, room: str) -> int:
        """Sockets of this node in a room of the default namespace."""
        return len(self.rooms.get("/", {}).get(room, ()))

    def room_names(self) -> list[str]:
        """Rooms with a member on this node."""
        return [room for room in self.rooms.get("/", {}) if room is not None]

    def sessions(self, room: str) -> list[Session]:
        """This node's Engine.IO sessions in a room of the default namespace; not to be changed."""
        kept = self._audiences.get(room)
        if kept is not None:
            return kept
        members = self.rooms.get("/", {}).get(room)
        if not members:
            return []
        sockets = self.server.eio.sockets
        found = [sockets[eio_sid] for eio_sid in members.values() if eio_sid in sockets]
        if len(found) >= AUDIENCE_SOCKETS:
            self._audiences[room] = found
        return found

    # -------------------------------------------------------------- emit

    async def emit(
        self,
        event: str,
        data: Any,
        namespace: str,
        room: Any = None,
        skip_sid: Any = None,
        callback: Any = None,
        to: Any = None,
        **kwargs: Any,
    ) -> None:
        """As the library's, without a task per recipient.

        Raises ValueError without a room: that would reach sockets that have not authenticated yet.
        """
        target = target_of(to or room)
        if callback is not None:
            await super().emit(event, data, namespace, target, skip_sid, callback, **kwargs)
            return
        packet = self.server.packet_class(2, namespace=namespace, data=[event, *arguments_of(data)]).encode()
        if not isinstance(packet, str):
            raise ValueError("binary events are not part of the contract")  # noqa: TRY004
        message = Message([packet.encode()], DeliveryClass.CONTROL)
        skipped = skip_sid if isinstance(skip_sid, list) else [skip_sid]
        for sid, eio_sid in self.get_participants(namespace, target):
            session = self.server.eio.sockets.get(eio_sid)
            if sid not in skipped and session is not None:
                session.post([message])


def target_of(room: Any) -> Any:
    if room is None:
        raise ValueError("emit needs a room; the whole namespace includes sockets without a user")
    return room


def arguments_of(data: Any) -> list[Any]:
    return list(data) if isinstance(data, tuple) else [] if data is None else [data]
