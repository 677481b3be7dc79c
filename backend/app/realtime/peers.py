"""What the gateway knows of each connected socket."""

from dataclasses import dataclass, field

from ..contracts.words import ClaimId, LiveScope, SocketId, UserId
from .deadlines import Deadline
from .limits import AbuseCount, TokenBucket
from .session import Session


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
