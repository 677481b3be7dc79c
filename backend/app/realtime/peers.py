"""What the gateway knows of each connected socket, who is in, and how one is told or ended."""

from dataclasses import dataclass, field

from ..contracts.errors import Code
from ..contracts.events import AuthError, Outgoing
from ..contracts.types import ClaimId, DeliveryClass, LiveScope, SocketId, UserId
from .engine import Session
from .frames import Message, encode
from .rate_limit import AbuseCount, TokenBucket
from .timers import Deadline


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


class Roster(dict[SocketId, Peer]):
    """The peers that are in, by the id of their socket."""

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
