"""What the gateway knows of each connected socket."""

from dataclasses import dataclass, field
from datetime import datetime

from ..contracts.words import ClaimId, LiveScope, SocketId, UserId
from .engine import Session
from .limits import AbuseCount, TokenBucket


@dataclass(slots=True, eq=False)
class Peer:
    """One Socket.IO socket. `user_id` is None until it authenticated, and for ever if anonymous."""

    sid: SocketId
    session: Session
    bucket: TokenBucket
    abuse: AbuseCount
    scope: LiveScope
    last_seq: int | None = None
    user_id: UserId | None = None
    jti: str | None = None
    expires_at: datetime | None = None
    joined: bool = False
    watches: set[ClaimId] = field(default_factory=set)
