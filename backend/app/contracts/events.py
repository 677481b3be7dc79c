"""Socket events in both directions: payload shapes, delivery class, who may send them.

`CLIENT_EVENTS` and `SERVER_EVENTS` are the complete lists: the handlers, the documents and the
authorisation test are all driven from them.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from . import CONTRACT_VERSION
from .errors import Code
from .types import Action, ClaimStatus, DeliveryClass, LiveScope, NotificationType, Priority

Id = Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_-]+$")]
Token = Annotated[str, StringConstraints(min_length=1, max_length=4096)]
Seq = Annotated[int, Field(ge=0, le=2**53 - 1, strict=True)]

MAX_SYNC_ITEMS = 500


class Incoming(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Outgoing(BaseModel):
    model_config = ConfigDict(frozen=True)
    v: int = CONTRACT_VERSION


# ---------------------------------------------------------------- client -> server


class ConnectAuth(BaseModel):
    """The CONNECT payload. Unknown keys are ignored: other clients put their own things here."""

    model_config = ConfigDict(extra="ignore")
    token: Token | None = None
    last_seq: Seq | None = None
    live: LiveScope = LiveScope.ALL


class Authenticate(Incoming):
    token: Token
    user_id: Id | None = None
    last_seq: Seq | None = None


class Nothing(Incoming):
    """`ping` and `get_status` carry no data."""


class WatchClaim(Incoming):
    claim_id: Id


class Sync(Incoming):
    after_seq: Seq
    limit: Annotated[int, Field(ge=1, le=MAX_SYNC_ITEMS, strict=True)] = 200


class Reauth(Incoming):
    token: Token


# ---------------------------------------------------------------- server -> client


class ErrorBody(BaseModel):
    code: Code
    message: str


class ErrorAck(BaseModel):
    error: ErrorBody


class ConnectionEstablished(Outgoing):
    session_id: str


class Authenticated(Outgoing):
    """The socket is its user's from here on.

    last_seq: the user's newest notification when the socket joined its room; a later durable event with
    `seq <= last_seq` is a replay, one above it is live.
    recovered: answer to the client's own `last_seq`: true, the missed events follow in order (`more`: only
    the first of them, ask `sync` for the rest); false, the hole cannot be closed, reload over REST; null,
    the client did not say where it stood.
    """

    user_id: str
    message: str
    last_seq: int
    recovered: bool | None = None
    more: bool = False


class AuthError(Outgoing):
    message: str
    code: Code


class NewNotification(Outgoing):
    id: str
    seq: int
    type: NotificationType
    title: str
    message: str
    priority: Priority
    action_url: str | None
    data: dict[str, Any]
    read: bool
    created_at: str


class ValidationReceived(Outgoing):
    id: str
    seq: int
    validator_name: str
    action: Action
    claim_id: str


class ConsensusReached(Outgoing):
    id: str
    seq: int
    claim_id: str
    action: Action
    percentage: float


class BadgeEarned(Outgoing):
    id: str
    seq: int
    badge_name: str
    badge_id: str


class TrustScoreUpdate(Outgoing):
    id: str
    seq: int
    old_score: int
    new_score: int
    change: int


class NotificationRead(Outgoing):
    """Either the ids that were read, or the seq up to which everything was."""

    ids: list[str] | None = None
    up_to_seq: int | None = None
    unread_count: int


class ValidationCountUpdate(Outgoing):
    claim_id: str
    count: int
    version: int


class ConsensusUpdate(Outgoing):
    """Shares in percent (one decimal, summing to 100.0), and the status that this version has."""

    claim_id: str
    vouch: float
    dispute: float
    unsure: float
    version: int
    status: ClaimStatus


class Pong(Outgoing):
    server_time_ms: int
    last_seq: int | None


class Status(Outgoing):
    connected_users: int
    session_id: str
    node: str


class ServerDraining(Outgoing):
    reconnect_after_ms: int


class TokenExpiring(Outgoing):
    expires_in_s: int


class ClaimSnapshot(Outgoing):
    """Ack of `watch_claim`: shares in percent, `count` validations, at `version`."""

    claim_id: str
    version: int
    count: int
    vouch: float
    dispute: float
    unsure: float
    status: ClaimStatus


class Synced(Outgoing):
    """Ack of `sync`.

    recovered false: the hole cannot be closed from here, reload over REST. Never silent.
    items: ascending by seq, without holes, from `from_seq` to `to_seq` (0 and 0 when empty).
    more: ask again with `after_seq = to_seq`.
    """

    recovered: bool
    from_seq: int
    to_seq: int
    items: list[NewNotification]
    more: bool
    last_seq: int


class Unwatched(BaseModel):
    """The empty ack `{}`."""


class Access(StrEnum):
    """Who may send an event."""

    UNAUTHENTICATED = "unauthenticated"
    """Any open socket, also before it authenticated."""
    ANONYMOUS = "anonymous"
    """Authenticated sockets, and anonymous ones where anonymous live updates are allowed."""
    USER = "user"
    """Authenticated sockets only."""


@dataclass(frozen=True, slots=True)
class ClientEvent:
    payload: type[Incoming]
    access: Access
    answer: str
    """Name of the event that answers it, or `ack`."""
    ack: type[BaseModel] | None = None


@dataclass(frozen=True, slots=True)
class ServerEvent:
    payload: type[Outgoing]
    delivery: DeliveryClass


CLIENT_EVENTS: dict[str, ClientEvent] = {
    "authenticate": ClientEvent(Authenticate, Access.UNAUTHENTICATED, "authenticated", Authenticated),
    "ping": ClientEvent(Nothing, Access.UNAUTHENTICATED, "pong", Pong),
    "get_status": ClientEvent(Nothing, Access.ANONYMOUS, "status", Status),
    "watch_claim": ClientEvent(WatchClaim, Access.ANONYMOUS, "ack", ClaimSnapshot),
    "unwatch_claim": ClientEvent(WatchClaim, Access.ANONYMOUS, "ack", Unwatched),
    "sync": ClientEvent(Sync, Access.USER, "ack", Synced),
    "reauth": ClientEvent(Reauth, Access.USER, "ack", Authenticated),
}

SERVER_EVENTS: dict[str, ServerEvent] = {
    "connection_established": ServerEvent(ConnectionEstablished, DeliveryClass.CONTROL),
    "authenticated": ServerEvent(Authenticated, DeliveryClass.CONTROL),
    "auth_error": ServerEvent(AuthError, DeliveryClass.CONTROL),
    "new_notification": ServerEvent(NewNotification, DeliveryClass.DURABLE),
    "validation_received": ServerEvent(ValidationReceived, DeliveryClass.DURABLE),
    "consensus_reached": ServerEvent(ConsensusReached, DeliveryClass.DURABLE),
    "badge_earned": ServerEvent(BadgeEarned, DeliveryClass.DURABLE),
    "trust_score_update": ServerEvent(TrustScoreUpdate, DeliveryClass.DURABLE),
    "notification_read": ServerEvent(NotificationRead, DeliveryClass.STATE),
    "validation_count_update": ServerEvent(ValidationCountUpdate, DeliveryClass.SNAPSHOT),
    "consensus_update": ServerEvent(ConsensusUpdate, DeliveryClass.SNAPSHOT),
    "pong": ServerEvent(Pong, DeliveryClass.CONTROL),
    "status": ServerEvent(Status, DeliveryClass.CONTROL),
    "server_draining": ServerEvent(ServerDraining, DeliveryClass.CONTROL),
    "token_expiring": ServerEvent(TokenExpiring, DeliveryClass.CONTROL),
}
