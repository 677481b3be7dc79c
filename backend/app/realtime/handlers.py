"""What a connected client may ask: the time, the status, claims to watch, notifications that it missed.

The gateway has counted, limited, authorised and validated the event by then; a VouchstormError is a refusal.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..contracts import events
from ..contracts.errors import Code
from ..contracts.events import AuthError, Outgoing
from ..contracts.rooms import LIVE_ROOM, claim_room
from ..contracts.types import ClaimId, DeliveryClass, LiveScope, SocketId, UserId
from ..errors import RefusedError, VouchstormError
from ..services.container import Services
from ..services.websocket_service import notification_event, shares
from .delivery import Channels
from .engine import Session
from .fanout import Fanout
from .rate_limit import AbuseCount, TokenBucket
from .rooms import RoomManager
from .timers import Deadline
from .websocket import Message, encode


@dataclass(slots=True, eq=False)
class Peer:
    """One Socket.IO socket. `user_id` is None until it authenticated, and for ever if anonymous.

    scope: what it asked for; it counts once the socket has joined as its user.
    number: of its joining, ascending on this node; 0 until it has joined.
    token_life: the notice and the end that its token brings, cancelled with the socket.
    """

    sid: SocketId
    session: Session
    bucket: TokenBucket
    abuse: AbuseCount
    scope: LiveScope
    last_seq: int | None = None
    user_id: UserId | None = None
    jti: str | None = None
    joined: bool = False
    number: int = 0
    token_life: list[Deadline] = field(default_factory=list)
    watches: set[ClaimId] = field(default_factory=set)

    @property
    def follows_all(self) -> bool:
        """Does it get every live update, and not only those of the claims it watches?"""
        return self.joined and self.scope is LiveScope.ALL

    def forget_token(self) -> None:
        """Nothing will happen because of its token any more."""
        for deadline in self.token_life:
            deadline.cancel()
        self.token_life.clear()


class Peers(dict[SocketId, Peer]):
    """The peers that are in, by the id of their socket."""

    def at(self, sids: Iterable[SocketId]) -> list[Peer]:
        """Those of these sockets."""
        return [self[sid] for sid in sids if sid in self]

    def gone(self, peer: Peer) -> bool:
        """Is nothing to be sent to it any more?"""
        session = peer.session
        return session.closed or session.closing or self.get(peer.sid) is not peer

    def end(self, peer: Peer, code: Code, message: str) -> None:
        """Close its connection, with a word where it reads."""
        session = peer.session
        if self.gone(peer) or session.ending:
            return
        if session.paused_at is not None:
            session.abort(code.value)  # it would not read the word, nor the close
            return
        session.post([control("auth_error", AuthError(message=message, code=code))])
        session.end(code.value)


def control(name: str, payload: Outgoing) -> Message:
    """An event of the connection itself, for one socket."""
    return encode([(name, payload.model_dump(mode="json"))], DeliveryClass.CONTROL)


class ClientEvents:
    """The handlers of the events that are not about who the client is; each returns its ack."""

    def __init__(
        self, services: Services, manager: RoomManager, channels: Channels, fanout: Fanout, peers: Peers
    ) -> None:
        self._services = services
        self._settings = services.settings
        self._manager = manager
        self._channels = channels
        self._fanout = fanout
        self._peers = peers

    async def ping(self, peer: Peer, _: events.Nothing) -> Mapping[str, Any]:
        known = self._channels.known_seq(peer.user_id) if peer.user_id is not None else None
        now_ms = int(self._services.clock.now().timestamp() * 1000)
        payload = events.Pong(server_time_ms=now_ms, last_seq=known)
        peer.session.post([control("pong", payload)])
        return payload.model_dump(mode="json")

    async def get_status(self, peer: Peer, _: events.Nothing) -> Mapping[str, Any]:
        payload = events.Status(
            connected_users=self._services.websocket.get_connected_count(),
            session_id=peer.sid,
            node=self._services.node,
        )
        peer.session.post([control("status", payload)])
        return payload.model_dump(mode="json")

    async def watch_claim(self, peer: Peer, wanted: events.WatchClaim) -> Mapping[str, Any]:
        claim_id = ClaimId(wanted.claim_id)
        if claim_id not in peer.watches and len(peer.watches) >= self._settings.max_watches:
            self._services.metrics.rate_limited.inc("watch")
            raise RefusedError(
                f"A socket may watch {self._settings.max_watches} claims; unwatch one first.",
                Code.TOO_MANY_WATCHES,
            )
        # First the room, then the read: an update in between arrives twice rather than never, and the
        # client keeps the higher version.
        new = claim_id not in peer.watches
        self._enter_claim(peer, claim_id)
        try:
            claim = await self._services.store.claims.claim(claim_id)
            if claim is None:
                raise RefusedError("There is no such claim.", Code.CLAIM_NOT_FOUND)
        except VouchstormError:
            if new:
                self._leave_claim(peer, claim_id)
            raise
        for room in (LIVE_ROOM, claim_room(claim_id)):
            self._fanout.note(room, claim_id, claim.version)
        share = shares(claim)
        return events.ClaimSnapshot(
            claim_id=claim.id,
            version=claim.version,
            count=claim.tally.total,
            vouch=share.vouch,
            dispute=share.dispute,
            unsure=share.unsure,
            status=claim.status,
        ).model_dump(mode="json")

    async def unwatch_claim(self, peer: Peer, wanted: events.WatchClaim) -> Mapping[str, Any]:
        self._leave_claim(peer, ClaimId(wanted.claim_id))
        return {}

    def _enter_claim(self, peer: Peer, claim_id: ClaimId) -> None:
        peer.watches.add(claim_id)
        if not peer.follows_all and not self._peers.gone(peer):
            self._manager.basic_enter_room(peer.sid, "/", claim_room(claim_id))

    def _leave_claim(self, peer: Peer, claim_id: ClaimId) -> None:
        peer.watches.discard(claim_id)
        self._manager.basic_leave_room(peer.sid, "/", claim_room(claim_id))

    async def sync(self, peer: Peer, wanted: events.Sync) -> Mapping[str, Any]:
        if peer.user_id is None:
            raise RefusedError("Authenticate first.", Code.NOT_AUTHENTICATED)
        history = await self._services.store.notifications.history(
            peer.user_id, wanted.after_seq, wanted.limit
        )
        items = [notification_event(row) for row in history.items] if history.complete else []
        cut = bool(items) and items[-1].seq < history.last_seq
        self._services.metrics.recovery.inc(outcome(history.complete, len(items), cut))
        self._services.metrics.replay_size.observe(len(items))
        if items:
            self._services.metrics.replayed.inc(len(items))
        return events.Synced(
            recovered=history.complete,
            from_seq=items[0].seq if items else 0,
            to_seq=items[-1].seq if items else 0,
            items=items,
            more=cut,
            last_seq=history.last_seq,
        ).model_dump(mode="json")


def outcome(complete: bool, replayed: int, more: bool) -> str:
    """How a recovery ended, in the metric's words."""
    if not complete:
        return "unrecoverable"
    return "partial" if more else "replayed" if replayed else "nothing_missed"
