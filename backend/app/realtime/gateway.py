"""Client events in: connect, authenticate, watch, sync. One place that counts, limits, checks and answers.

Every event goes through `_any_event`: rate, name, access, shape, then its handler. A refusal is an error
ack, counted; a socket that keeps earning refusals is aborted. No traceback ever reaches a client.
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import orjson
from pydantic import BaseModel, ValidationError

from ..contracts import events
from ..contracts.errors import Code
from ..contracts.rooms import LIVE_ROOM, claim_room, user_room
from ..contracts.words import ClaimId, DeliveryClass, SocketId, UserId
from ..errors import RefusedError, VouchstormError
from ..ports import Newcomer
from ..services.container import Services
from ..services.tokens import TokenClaims
from ..services.websocket_service import notification_event, shares
from . import trail
from .bus_wire import Kick
from .channels import Arrival, Channels, Joined
from .deadlines import Deadlines
from .engine import Engine
from .fanout import Fanout
from .frames import Message, encode
from .kicks import KickedLately
from .limits import AbuseCount, TokenBucket
from .manager import RoomManager
from .newest import Newcomers
from .peers import Peer
from .session import Session

log = logging.getLogger(__name__)

REFUSED_LINGER_S = 1.0
"""A refused socket gets this long to read why, then its transport is closed."""
PASSING = frozenset((Code.DRAINING, Code.STORE_UNAVAILABLE, Code.INTERNAL))
"""Refusals that are no fault of the client: it should try again."""
EXPIRY_NOTICE_S = 60.0
RECHECK_BATCH = 500

Handler = Callable[[Peer, Any], Awaitable[Mapping[str, Any]]]


class Gateway:
    """The client events of one node."""

    def __init__(
        self,
        services: Services,
        engine: Engine,
        manager: RoomManager,
        channels: Channels,
        fanout: Fanout,
        deadlines: Deadlines,
        rng: random.Random,
    ) -> None:
        self._services = services
        self._settings = services.settings
        self._engine = engine
        self._manager = manager
        self._channels = channels
        self._fanout = fanout
        self._deadlines = deadlines
        self._rng = rng
        self._newcomers = Newcomers(services.store, engine.own)
        self._peers: dict[SocketId, Peer] = {}
        self._joins = 0
        self._kicked = KickedLately()
        self.on_kick: Callable[[Kick], None] | None = None
        """Told of each kick that began here: the other nodes have to hear of it."""
        self._handlers: dict[str, Handler] = {
            "authenticate": self._authenticate,
            "ping": self._ping,
            "get_status": self._get_status,
            "watch_claim": self._watch_claim,
            "unwatch_claim": self._unwatch_claim,
            "sync": self._sync,
            "reauth": self._reauth,
        }

    def install(self, sio: Any) -> None:
        """Register on a python-socketio server."""
        sio.on_connect = self.connect
        sio.on("disconnect", self._disconnect)
        sio.on("*", self._any_event)
        self._engine.on_open = self._opened
        self._services.accounts.on_logout = self._logged_out

    def __len__(self) -> int:
        return len(self._peers)

    # -------------------------------------------------------------- coming

    def _now_s(self) -> float:
        return asyncio.get_running_loop().time()

    def _opened(self, session: Session) -> None:
        def check() -> None:
            if not session.settled and not session.closed:
                session.abort("auth_deadline")

        self._deadlines.add(self._now_s() + self._settings.auth_deadline_s, check)

    async def connect(self, sid: str, session: Session, auth: Any) -> None:
        """Answer a CONNECT. What is said to a socket that is let in goes out in one write.

        Only behind the CONNECT answer the socket enters rooms.
        """
        try:
            await self._let_in(SocketId(sid), session, auth)
        except VouchstormError as error:
            self._services.metrics.connects.inc("refused")
            self._services.metrics.refusals.inc(error.code.value)
            await self._turn_away(sid, session, error.code, str(error))
        except Exception:
            log.exception("a connection failed", extra={"session_id": sid})
            await self._turn_away(
                sid, session, Code.INTERNAL, "Something went wrong here; it has been logged."
            )
        finally:
            session.handshaken()

    async def _turn_away(self, sid: str, session: Session, code: Code, message: str) -> None:
        """End a refused connection: a moment after the refusal, or instead of it where trouble passes.

        A Socket.IO client never tries again after a CONNECT_ERROR, and does after a lost connection.
        """
        if SocketId(sid) not in self._peers:
            self._manager.basic_disconnect(sid, "/")
        if code in PASSING:
            session.end("refused")
            await session.close(wait=False)
            self._engine.sockets.pop(session.sid, None)
            return
        refusal = {"message": message, "data": {"code": code.value, "message": message}}
        session.post([Message([b"4" + orjson.dumps(refusal)], DeliveryClass.CONTROL)])
        self._deadlines.add(self._now_s() + REFUSED_LINGER_S, lambda: session.end("refused"))

    async def _let_in(self, sid: SocketId, session: Session, auth: Any) -> None:
        peer, arrival = await self._admit(sid, session, auth)
        if session.closed or session.closing:
            # Lost while its token was checked: the library does not report that, so clean up here.
            self._forget(peer, arrival)
            return
        self._peers[sid] = peer
        self._manager.let_in(sid)
        trail.opened(sid, session)
        opening = [
            Message([b"0" + orjson.dumps({"sid": sid})], DeliveryClass.CONTROL),
            _control("connection_established", events.ConnectionEstablished(session_id=sid)),
        ]
        if arrival is not None:
            await self._join(peer, arrival, opening)
            return
        session.post(opening)
        if self._settings.anonymous_live:
            session.settle(True)
            self._count_connect(peer, "anonymous")
        else:
            self._count_connect(peer, "accepted")

    def _forget(self, peer: Peer, arrival: Arrival | None) -> None:
        if arrival is not None:
            self._channels.give_up(arrival)
        peer.forget_token()
        self._manager.basic_disconnect(peer.sid, "/")

    async def _admit(self, sid: SocketId, session: Session, auth: Any) -> tuple[Peer, Arrival | None]:
        if self._services.health.draining:
            raise RefusedError("This node is going away; connect again.", Code.DRAINING)
        try:
            wanted = events.ConnectAuth.model_validate({} if auth is None else auth)
        except ValidationError as error:
            raise RefusedError(f"The auth payload is not valid: {_first(error)}.") from error
        settings, now_s = self._settings, self._now_s()
        peer = Peer(
            sid,
            session,
            TokenBucket(settings.events_per_s, settings.events_burst, now_s),
            AbuseCount(settings.abuse_limit),
            wanted.live,
            wanted.last_seq,
        )
        if wanted.token is None:
            return peer, None
        claims, arrival = await self._recognise(wanted.token)
        peer.user_id = claims.user_id
        self._remember(peer, claims)
        return peer, arrival

    async def _recognise(self, token: str) -> tuple[TokenClaims, Arrival]:
        """Whose token this is, and their arrival: what they are sent is kept from before the store is read.

        Raises RefusedError, UnavailableError; nothing is left behind.
        """
        accounts = self._services.accounts
        claims = accounts.read(token)
        arrival = self._channels.arrive(claims.user_id)
        try:
            arrival.newest = accounts.judge(await self._newcomers.look_up(claims.user_id, claims.jti))
            if self._kicked.holds(claims.jti, self._now_s()):
                # Revoked while the store was read: the answer may be older than that.
                accounts.judge(Newcomer(arrival.newest, revoked=True))
        except BaseException:
            self._channels.give_up(arrival)
            raise
        return claims, arrival

    def _gone(self, peer: Peer) -> bool:
        session = peer.session
        return session.closed or session.closing or self._peers.get(peer.sid) is not peer

    def _keep_to_the_newest(self, user_id: UserId) -> None:
        """One socket more than a user may have ends the oldest, which is told."""
        most = self._settings.max_sockets_per_user
        sids = self._services.websocket.sockets_of(user_id)
        if not most or len(sids) <= most:
            return
        peers = [self._peers[sid] for sid in sids if sid in self._peers]
        staying = [peer for peer in peers if not (peer.session.ending or self._gone(peer))]
        if len(staying) > most:
            oldest = min(staying, key=lambda peer: peer.number)
            self._end(oldest, Code.TOO_MANY_SOCKETS, f"More than {most} connections; the oldest is closed.")

    async def _join(
        self, peer: Peer, arrival: Arrival, opening: Sequence[Message] = ()
    ) -> events.Authenticated | None:
        """Catch the socket up and let it into its rooms; None if it is gone by then.

        opening: goes out before anything else, whatever happens.
        """
        user_id = peer.user_id
        if user_id is None:
            raise ValueError("only a user can join")
        answer: list[events.Authenticated] = []

        def enter(joined: Joined) -> Session | None:
            if self._gone(peer):
                return None
            if self._kicked.holds(peer.jti, self._now_s()):
                peer.session.post(opening)
                self._end(peer, Code.TOKEN_REVOKED, "This token was logged out; connect with a new one.")
                return None
            payload = events.Authenticated(
                user_id=user_id,
                message="Welcome.",
                last_seq=joined.last_seq,
                recovered=joined.recovered,
                more=joined.more,
            )
            answer.append(payload)
            welcome = _control("authenticated", payload)
            peer.session.post([*opening, welcome, *joined.replay, *joined.buffered])
            self._enter_rooms(peer, user_id)
            return peer.session

        try:
            joined = await self._channels.join(user_id, peer.last_seq, enter, arrival)
        except VouchstormError as error:
            trouble = _control("auth_error", events.AuthError(message=str(error), code=error.code))
            peer.session.post([*opening, trouble])
            self._deadlines.add(
                self._now_s() + REFUSED_LINGER_S, lambda: peer.session.end("store_unavailable")
            )
            return None
        if not answer:
            return None
        self._count_connect(peer, "authenticated")
        self._count_recovery(joined)
        return answer[0]

    def _enter_rooms(self, peer: Peer, user_id: UserId) -> None:
        self._manager.basic_enter_room(peer.sid, "/", user_room(user_id))
        self._services.websocket.register_user(peer.sid, user_id)
        self._joins += 1
        peer.joined, peer.number = True, self._joins
        peer.session.settle(True)
        self._keep_to_the_newest(user_id)
        if peer.follows_all:
            for claim_id in peer.watches:  # while it was anonymous; from now on they are among all
                self._manager.basic_leave_room(peer.sid, "/", claim_room(claim_id))
            self._manager.basic_enter_room(peer.sid, "/", LIVE_ROOM)

    def _count_connect(self, peer: Peer, outcome: str) -> None:
        self._services.metrics.connects.inc(outcome)
        self._services.metrics.connected_users.set(self._services.websocket.connected_here())

    def _count_recovery(self, joined: Joined) -> None:
        metrics = self._services.metrics
        if joined.recovered is not None:
            metrics.recovery.inc(_outcome(joined.recovered, len(joined.replay), joined.more))
            metrics.replay_size.observe(len(joined.replay))
        if joined.replay:
            metrics.replayed.inc(len(joined.replay))

    # -------------------------------------------------------------- going

    async def _disconnect(self, sid: str, reason: str) -> None:
        peer = self._peers.pop(SocketId(sid), None)
        if peer is None:
            return
        peer.forget_token()
        self._services.websocket.unregister_user(peer.sid)
        if peer.joined and peer.user_id is not None:
            self._channels.leave(peer.user_id)
        if not (peer.session.closed or peer.session.closing):
            # Only the namespace was left: whoever comes back on this transport has to authenticate again.
            peer.session.settle(False)
            self._opened(peer.session)
        self._services.metrics.disconnects.inc(reason)
        self._services.metrics.connected_users.set(self._services.websocket.connected_here())

    async def drain(self, over_s: float) -> None:
        """Send everybody away, evenly over `over_s` seconds, each told to come back at another moment."""
        peers = list(self._peers.values())
        if not peers:
            return
        slices = max(1, min(len(peers), int(over_s / 0.05)))
        for number in range(slices):
            for peer in peers[number::slices]:
                after_ms = self._rng.randint(100, 1_000 + int(over_s * 1_000))
                self._send(
                    peer.session, "server_draining", events.ServerDraining(reconnect_after_ms=after_ms)
                )
                peer.session.end("draining")
            if over_s:
                await asyncio.sleep(over_s / slices)

    # -------------------------------------------------------------- the one road of every event

    async def _any_event(self, event: Any, sid: str, *arguments: Any) -> Mapping[str, Any] | None:
        peer = self._peers.get(SocketId(sid))
        if peer is None:
            return None
        metrics = self._services.metrics
        name = event if isinstance(event, str) else ""
        metrics.event_received(name)
        try:
            if not peer.bucket.take(self._now_s()):
                metrics.rate_limited.inc("socket_event")
                raise RefusedError("Too many events; slow down.", Code.RATE_LIMITED)
            contract = events.CLIENT_EVENTS.get(name)
            if contract is None:
                raise RefusedError("There is no such event.", Code.UNKNOWN_EVENT)
            self._authorise(peer, contract.access)
            payload = _payload(contract.payload, arguments)
            return await self._handlers[name](peer, payload)
        except VouchstormError as error:
            return self._refuse(peer, error)
        except Exception:
            log.exception("event handler failed", extra={"event": name, "session_id": sid})
            return _error(Code.INTERNAL, "Something went wrong here; it has been logged.")

    def _authorise(self, peer: Peer, access: events.Access) -> None:
        if access is events.Access.UNAUTHENTICATED or peer.joined:
            return
        if access is events.Access.ANONYMOUS and peer.user_id is None and self._settings.anonymous_live:
            return
        raise RefusedError("Authenticate first.", Code.NOT_AUTHENTICATED)

    def _refuse(self, peer: Peer, error: VouchstormError) -> Mapping[str, Any]:
        self._services.metrics.events_refused.inc(error.code.value)
        if isinstance(error, RefusedError) and peer.abuse.add(self._now_s()):
            log.warning("socket aborted after repeated refusals", extra={"session_id": peer.sid})
            peer.session.abort("abuse")
        return _error(error.code, str(error))

    def _send(self, session: Session, name: str, payload: events.Outgoing) -> None:
        session.post([_control(name, payload)])

    # -------------------------------------------------------------- handlers

    async def _authenticate(self, peer: Peer, wanted: events.Authenticate) -> Mapping[str, Any]:
        try:
            if peer.user_id is not None:
                raise RefusedError("This socket is authenticated already.", Code.ALREADY_AUTHENTICATED)
            claims, arrival = await self._recognise(wanted.token)
            try:
                if wanted.user_id is not None and wanted.user_id != claims.user_id:
                    raise RefusedError("The token belongs to another user.", Code.WRONG_SUBJECT)
                if peer.user_id is not None:  # while the token was looked at
                    raise RefusedError("This socket is authenticated already.", Code.ALREADY_AUTHENTICATED)
            except RefusedError:
                self._channels.give_up(arrival)
                raise
        except VouchstormError as error:
            self._send(peer.session, "auth_error", events.AuthError(message=str(error), code=error.code))
            raise
        peer.user_id = claims.user_id
        peer.last_seq = wanted.last_seq if wanted.last_seq is not None else peer.last_seq
        self._remember(peer, claims)
        answer = await self._join(peer, arrival)
        if answer is None:
            raise RefusedError("The connection is going away.", Code.STORE_UNAVAILABLE)
        return answer.model_dump(mode="json")

    async def _reauth(self, peer: Peer, wanted: events.Reauth) -> Mapping[str, Any]:
        user, claims = await self._services.accounts.authenticate(wanted.token)
        if user.id != peer.user_id:
            raise RefusedError("The token belongs to another user.", Code.WRONG_SUBJECT)
        self._remember(peer, claims)
        last_seq = self._channels.known_seq(user.id) or 0
        return events.Authenticated(user_id=user.id, message="Prolonged.", last_seq=last_seq).model_dump(
            mode="json"
        )

    async def _ping(self, peer: Peer, _: events.Nothing) -> Mapping[str, Any]:
        known = self._channels.known_seq(peer.user_id) if peer.user_id is not None else None
        now_ms = int(self._services.clock.now().timestamp() * 1000)
        payload = events.Pong(server_time_ms=now_ms, last_seq=known)
        self._send(peer.session, "pong", payload)
        return payload.model_dump(mode="json")

    async def _get_status(self, peer: Peer, _: events.Nothing) -> Mapping[str, Any]:
        payload = events.Status(
            connected_users=self._services.websocket.get_connected_count(),
            session_id=peer.sid,
            node=self._services.node,
        )
        self._send(peer.session, "status", payload)
        return payload.model_dump(mode="json")

    async def _watch_claim(self, peer: Peer, wanted: events.WatchClaim) -> Mapping[str, Any]:
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
            claim = await self._services.store.claim(claim_id)
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

    async def _unwatch_claim(self, peer: Peer, wanted: events.WatchClaim) -> Mapping[str, Any]:
        self._leave_claim(peer, ClaimId(wanted.claim_id))
        return {}

    def _enter_claim(self, peer: Peer, claim_id: ClaimId) -> None:
        peer.watches.add(claim_id)
        if not peer.follows_all and not self._gone(peer):
            self._manager.basic_enter_room(peer.sid, "/", claim_room(claim_id))

    def _leave_claim(self, peer: Peer, claim_id: ClaimId) -> None:
        peer.watches.discard(claim_id)
        self._manager.basic_leave_room(peer.sid, "/", claim_room(claim_id))

    async def _sync(self, peer: Peer, wanted: events.Sync) -> Mapping[str, Any]:
        if peer.user_id is None:
            raise RefusedError("Authenticate first.", Code.NOT_AUTHENTICATED)
        history = await self._services.store.history(peer.user_id, wanted.after_seq, wanted.limit)
        items = [notification_event(row) for row in history.items] if history.complete else []
        cut = bool(items) and items[-1].seq < history.last_seq
        self._services.metrics.recovery.inc(_outcome(history.complete, len(items), cut))
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

    # -------------------------------------------------------------- token life

    def _remember(self, peer: Peer, claims: TokenClaims) -> None:
        peer.forget_token()
        peer.jti = claims.jti
        left_s = (claims.expires_at - self._services.clock.now()).total_seconds()
        notice_s = min(EXPIRY_NOTICE_S, left_s / 2)
        now_s = self._now_s()

        def notice() -> None:
            if not self._gone(peer):
                payload = events.TokenExpiring(expires_in_s=round(notice_s))
                self._send(peer.session, "token_expiring", payload)

        def expire() -> None:
            self._end(peer, Code.TOKEN_EXPIRED, "The token expired; connect with a new one.")

        peer.token_life += [
            self._deadlines.add(now_s + left_s - notice_s, notice),
            self._deadlines.add(now_s + left_s, expire),
        ]

    def _logged_out(self, token: TokenClaims) -> None:
        self.kick(Kick(token.user_id, token.jti))

    def kick(self, kick: Kick) -> None:
        """End the sockets of a user, or of one token, on all nodes."""
        self.kick_here(kick)
        if self.on_kick is not None:
            self.on_kick(kick)

    def kick_here(self, kick: Kick) -> None:
        """As `kick`, on this node only: those that are let in right now, too."""
        self._kicked.note(kick, self._now_s())
        for peer in [*self._peers.values()] if kick.jti is None else self._peers_of(kick.user_id):
            if peer.user_id == kick.user_id and kick.jti in (None, peer.jti):
                self._end(peer, Code.TOKEN_REVOKED, "This token was logged out; connect with a new one.")

    def _peers_of(self, user_id: UserId) -> list[Peer]:
        """Who has joined as this user; who is about to finds out by `_kicked`."""
        sids = self._services.websocket.sockets_of(user_id)
        return [self._peers[sid] for sid in sids if sid in self._peers]

    async def recheck(self) -> int:
        """End whose token or user is gone by now; how many. After a gap of the bus a kick may be missing.

        Raises UnavailableError.
        """
        ended = 0
        peers = [peer for peer in self._peers.values() if peer.user_id is not None and peer.jti is not None]
        for start in range(0, len(peers), RECHECK_BATCH):
            batch = peers[start : start + RECHECK_BATCH]
            asked = [(peer.user_id, peer.jti) for peer in batch if peer.user_id and peer.jti]
            found = await self._services.store.newcomers(asked)
            for peer, (_, jti), newcomer in zip(batch, asked, found, strict=True):
                if (newcomer.revoked or newcomer.last_seq is None) and peer.jti == jti:
                    ended += 1
                    self._end(peer, Code.TOKEN_REVOKED, "This token is no longer valid; log in again.")
        return ended

    def _end(self, peer: Peer, code: Code, message: str) -> None:
        session = peer.session
        if self._gone(peer) or session.ending:
            return
        if session.paused_at is not None:
            session.abort(code.value)  # it would not read the word, nor the close
            return
        self._send(session, "auth_error", events.AuthError(message=message, code=code))
        session.end(code.value)


def _payload(model: type[BaseModel], arguments: tuple[Any, ...]) -> BaseModel:
    if len(arguments) > 1:
        raise RefusedError("An event carries one object.")
    try:
        return model.model_validate(arguments[0] if arguments and arguments[0] is not None else {})
    except ValidationError as error:
        raise RefusedError(f"The data is not valid: {_first(error)}.") from error


def _first(error: ValidationError) -> str:
    item = error.errors(include_url=False, include_input=False, include_context=False)[0]
    where = ".".join(str(part) for part in item["loc"])
    return f"{where}: {item['msg']}" if where else str(item["msg"])


def _outcome(complete: bool, replayed: int, more: bool) -> str:
    if not complete:
        return "unrecoverable"
    return "partial" if more else "replayed" if replayed else "nothing_missed"


def _error(code: Code, message: str) -> Mapping[str, Any]:
    return events.ErrorAck(error=events.ErrorBody(code=code, message=message)).model_dump(mode="json")


def _control(name: str, payload: events.Outgoing) -> Message:
    return encode([(name, payload.model_dump(mode="json"))], DeliveryClass.CONTROL)
