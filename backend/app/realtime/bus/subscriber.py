"""What this node does with the bus: which rooms it hears, where messages go, how it closes a gap."""

import logging
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta

from ...contracts.rooms import LIVE_ROOM, claim_room, user_of_room, user_room
from ...contracts.types import ClaimId
from ...ports import Clock, Store
from ...services.websocket_service import claim_pushes
from ..delivery import Channels, encode_push
from ..emitter import LocalEmitter
from ..rooms import RoomManager
from .bus import Bus

log = logging.getLogger(__name__)

CLAIM_PREFIX = claim_room(ClaimId(""))
REFRESHED_CLAIMS = 1_000
CLOCKS_APART_S = 10.0


class BusListener:
    """Connects a bus to the rooms of a node."""

    def __init__(
        self,
        bus: Bus,
        store: Store,
        clock: Clock,
        manager: RoomManager,
        channels: Channels,
        emitter: LocalEmitter,
        recheck: Callable[[], Awaitable[int]],
    ) -> None:
        """recheck: ends the sockets whose tokens were revoked unheard; how many. Raises UnavailableError."""
        self._bus = bus
        self._store = store
        self._clock = clock
        self._manager = manager
        self._channels = channels
        self._emitter = emitter
        self._recheck = recheck

    def attach(self) -> None:
        """Hear the rooms that have members here, for as long as they have."""
        self._bus.on_message = self._emitter.deliver
        self._bus.on_missed = self.repair
        self._channels.on_user = lambda user_id, here: self._want(user_room(user_id), here)
        self._manager.on_room = self._room_changed
        self._bus.want(LIVE_ROOM)

    def _room_changed(self, room: str, here: bool) -> None:
        # User rooms follow the channels, which exist a little longer than the room has members.
        if room.startswith(CLAIM_PREFIX):
            self._want(room, here)

    def _want(self, room: str, here: bool) -> None:
        if here:
            self._bus.want(room)
        else:
            self._bus.unwant(room)

    async def repair(self, rooms: list[str] | None, silent_s: float) -> None:
        """Compare these rooms (None: all) with the store, send what is missing. Raises UnavailableError.

        silent_s: for how long messages may have been missed. What they said of a claim that nobody here
        watches alone can only be found by when it moved.
        """
        since = self._clock.now() - timedelta(seconds=silent_s + CLOCKS_APART_S)
        if rooms is None:
            await self._repair_everything(since)
            return
        users = [user_id for room in rooms if (user_id := user_of_room(room)) is not None]
        await self._channels.catch_up_many(users)
        await self._refresh(await self._claims_of(rooms, since))

    async def _repair_everything(self, since: datetime) -> None:
        revoked = await self._recheck()
        behind = await self._channels.catch_up_all()
        refreshed = await self._refresh(
            await self._claims_of([LIVE_ROOM, *self._manager.room_names()], since)
        )
        log.info(
            "bus gap closed: %d users were behind, %d claims sent again, %d sockets had lost their token",
            behind,
            refreshed,
            revoked,
        )

    async def _claims_of(self, rooms: list[str], since: datetime) -> list[ClaimId]:
        """The claims whose rooms these are; with LIVE_ROOM, also those that moved since then."""
        watched = [ClaimId(room[len(CLAIM_PREFIX) :]) for room in rooms if room.startswith(CLAIM_PREFIX)]
        moved = await self._store.claims.claims_moved(since, REFRESHED_CLAIMS) if LIVE_ROOM in rooms else []
        return list(dict.fromkeys([*watched, *moved]))

    async def _refresh(self, claim_ids: list[ClaimId]) -> int:
        sent = 0
        for claim_id in claim_ids:
            claim = await self._store.claims.claim(claim_id)
            if claim is not None:
                for push in claim_pushes(claim):
                    self._emitter.deliver(push.room, encode_push(push))
                sent += 1
        return sent
