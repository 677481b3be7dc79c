"""The closed vocabularies of the domain, shared by the wire and the rules."""

from enum import StrEnum
from typing import NewType

UserId = NewType("UserId", str)
ClaimId = NewType("ClaimId", str)
ValidationId = NewType("ValidationId", str)
NotificationId = NewType("NotificationId", str)
SocketId = NewType("SocketId", str)


class Action(StrEnum):
    """What a validator answers to a claim."""

    VOUCH = "vouch"
    DISPUTE = "dispute"
    UNSURE = "unsure"


class ClaimStatus(StrEnum):
    """`open` until the consensus; the other three are final."""

    OPEN = "open"
    VERIFIED = "verified"
    REFUTED = "refuted"
    INCONCLUSIVE = "inconclusive"


class NotificationType(StrEnum):
    VALIDATION_RECEIVED = "validation_received"
    CONSENSUS_REACHED = "consensus_reached"
    BADGE_EARNED = "badge_earned"
    TRUST_SCORE_UPDATED = "trust_score_updated"
    SYSTEM = "system"


class Priority(StrEnum):
    URGENT = "urgent"
    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"


class DeliveryClass(StrEnum):
    """How an event may be treated under pressure.

    durable: stored, numbered, replayed; never dropped in silence.
    snapshot: versioned, the latest wins, never replayed.
    state: follows from a durable row, cheap to re-read; dropped for a paused socket.
    control: about the connection itself.
    """

    DURABLE = "durable"
    SNAPSHOT = "snapshot"
    STATE = "state"
    CONTROL = "control"


class LiveScope(StrEnum):
    """Which live updates a socket receives: all claims, or only those it watches."""

    ALL = "all"
    WATCHED = "watched"


STATUS_OF_ACTION: dict[Action, ClaimStatus] = {
    Action.VOUCH: ClaimStatus.VERIFIED,
    Action.DISPUTE: ClaimStatus.REFUTED,
    Action.UNSURE: ClaimStatus.INCONCLUSIVE,
}
