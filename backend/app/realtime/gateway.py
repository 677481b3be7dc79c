"""Client events in, from the first CONNECT on. One place that counts, limits, checks and answers.

Every event goes through `_any_event`: rate, name, access, shape, then its handler. A refusal is an error
ack, counted; a socket that keeps earning refusals is aborted. No traceback ever reaches a client. Who a
client is, is settled here; `handlers` answers what else it asks, `auth` sees to the end of its token.
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
from ..contracts.types import DeliveryClass, SocketId, UserId
from ..errors import RefusedError, VouchstormError
from ..services.container import Services
from .auth import TokenWatch
from .delivery import Arrival, Channels, Joined
from .engine import Engine, Session
from .fanout import Fanout
from .handlers import ClientEvents, Peer, Peers, control, outcome
from .rate_limit import AbuseCount, TokenBucket
from .rooms import RoomManager
from .timers import Deadlines
from .websocket import Message

log = logging.getLogger(__name__)

REFUSED_LINGER_S = 1.0
"""A refused socket gets this long to read why, then its transport is closed."""
PASSING = frozenset((Code.DRAINING, Code.STORE_UNAVAILABLE, Code.INTERNAL))
"""Refusals that are no fault of the client: it should try again."""

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
        self._deadlines = deadlines
        self._rng = rng
        self._peers = Peers()
        self._joins = 0
        self.tokens = TokenWatch(services, deadlines, self._peers, channels, engine.own)
        asked = ClientEvents(services, manager, channels, fanout, self._peers)
        self._handlers: dict[str, Handler] = {
            "authenticate": self._authenticate,
            "ping": asked.ping,
            "get_status": asked.get_status,
            "watch_claim": asked.watch_claim,
            "unwatch_claim": asked.unwatch_claim,
            "sync": asked.sync,
            "reauth": self._reauth,
        }

    def install(self, sio: Any) -> None:
        """Register on a python-socketio server."""
        sio.on_connect = self.connect
        sio.on("disconnect", self._disconnect)
        sio.on("*", self._any_event)
        self._engine.on_open = self._opened
        self._services.accounts.on_logout = self.tokens.logged_out

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
            if arrival is not None:
                self._channels.give_up(arrival)
            peer.forget_token()
            self._manager.basic_disconnect(sid, "/")
            return
        self._peers[sid] = peer
        self._manager.let_in(sid)
        opening = [
            Message([b"0" + orjson.dumps({"sid": sid})], DeliveryClass.CONTROL),
            control("connection_established", events.ConnectionEstablished(session_id=sid)),
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

    async def _admit(self, sid: SocketId, session: Session, auth: Any) -> tuple[Peer, Arrival | None]:
        self._refuse_while_draining()
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
        claims, arrival = await self.tokens.recognise(wanted.token)
        try:
            self._refuse_while_draining()  # `drain` did not see it, and would end it without a word
        except RefusedError:
            self._channels.give_up(arrival)
            raise
        peer.user_id = claims.user_id
        self.tokens.remember(peer, claims)
        return peer, arrival

    def _refuse_while_draining(self) -> None:
        if self._services.health.draining:
            raise RefusedError("This node is going away; connect again.", Code.DRAINING)

    def _refuse_the_gone(self, peer: Peer) -> None:
        """Its token must not be remembered any more: nothing would forget it. Raises RefusedError."""
        if self._peers.gone(peer):
            raise RefusedError("The connection is going away.", Code.STORE_UNAVAILABLE)

    def _keep_to_the_newest(self, user_id: UserId) -> None:
        """One socket more than a user may have ends the oldest, which is told."""
        most = self._settings.max_sockets_per_user
        sids = self._services.websocket.sockets_of(user_id)
        if not most or len(sids) <= most:
            return
        staying = [
            peer for peer in self._peers.at(sids) if not (peer.session.ending or self._peers.gone(peer))
        ]
        if len(staying) > most:
            oldest = min(staying, key=lambda peer: peer.number)
            self._peers.end(
                oldest, Code.TOO_MANY_SOCKETS, f"More than {most} connections; the oldest is closed."
            )

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
            if self._peers.gone(peer):
                return None
            if self.tokens.kicked_lately(peer.jti):
                peer.session.post(opening)
                self._peers.end(
                    peer, Code.TOKEN_REVOKED, "This token was logged out; connect with a new one."
                )
                return None
            payload = events.Authenticated(
                user_id=user_id,
                message="Welcome.",
                last_seq=joined.last_seq,
                recovered=joined.recovered,
                more=joined.more,
            )
            answer.append(payload)
            welcome = control("authenticated", payload)
            peer.session.post([*opening, welcome, *joined.replay, *joined.buffered])
            self._enter_rooms(peer, user_id)
            return peer.session

        try:
            joined = await self._channels.join(user_id, peer.last_seq, enter, arrival)
        except VouchstormError as error:
            trouble = control("auth_error", events.AuthError(message=str(error), code=error.code))
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
            metrics.recovery.inc(outcome(joined.recovered, len(joined.replay), joined.more))
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
                word = events.ServerDraining(reconnect_after_ms=after_ms)
                peer.session.post([control("server_draining", word)])
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

    # -------------------------------------------------------------- handlers

    async def _authenticate(self, peer: Peer, wanted: events.Authenticate) -> Mapping[str, Any]:
        try:
            if peer.user_id is not None:
                raise RefusedError("This socket is authenticated already.", Code.ALREADY_AUTHENTICATED)
            claims, arrival = await self.tokens.recognise(wanted.token)
            try:
                if wanted.user_id is not None and wanted.user_id != claims.user_id:
                    raise RefusedError("The token belongs to another user.", Code.WRONG_SUBJECT)
                # What follows happened while the token was looked at.
                if peer.user_id is not None:
                    raise RefusedError("This socket is authenticated already.", Code.ALREADY_AUTHENTICATED)
                self._refuse_the_gone(peer)
            except RefusedError:
                self._channels.give_up(arrival)
                raise
        except VouchstormError as error:
            peer.session.post([control("auth_error", events.AuthError(message=str(error), code=error.code))])
            raise
        peer.user_id = claims.user_id
        peer.last_seq = wanted.last_seq if wanted.last_seq is not None else peer.last_seq
        self.tokens.remember(peer, claims)
        answer = await self._join(peer, arrival)
        if answer is None:
            raise RefusedError("The connection is going away.", Code.STORE_UNAVAILABLE)
        return answer.model_dump(mode="json")

    async def _reauth(self, peer: Peer, wanted: events.Reauth) -> Mapping[str, Any]:
        accounts = self._services.accounts
        user, claims = await self.tokens.as_of_now(lambda: accounts.authenticate(wanted.token))
        if user.id != peer.user_id:
            raise RefusedError("The token belongs to another user.", Code.WRONG_SUBJECT)
        self.tokens.refuse_the_kicked(claims)
        self._refuse_the_gone(peer)
        self.tokens.remember(peer, claims)
        last_seq = self._channels.known_seq(user.id) or 0
        return events.Authenticated(user_id=user.id, message="Prolonged.", last_seq=last_seq).model_dump(
            mode="json"
        )


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


def _error(code: Code, message: str) -> Mapping[str, Any]:
    return events.ErrorAck(error=events.ErrorBody(code=code, message=message)).model_dump(mode="json")
