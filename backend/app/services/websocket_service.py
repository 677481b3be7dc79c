"""Who is connected, and the one way from a stored fact to the sockets.

Turns records into the contract's events and hands them to the `Emitter`; never waits for a socket, a bus or
a client, and never fails the caller.
"""

import logging
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

import orjson
from pydantic import ValidationError

from ..contracts import events
from ..contracts.rooms import LIVE_ROOM, claim_room, user_room
from ..contracts.types import (
    ClaimId,
    ClaimStatus,
    DeliveryClass,
    NotificationId,
    NotificationType,
    SocketId,
    UserId,
)
from ..domain.consensus import Percentages, effective_weights, percentages
from ..domain.notifications import Draft
from ..domain.records import Claim, Notification, Validation
from ..errors import RefusedError
from ..ports import Emitter, Push

log = logging.getLogger(__name__)

_TYPED: dict[NotificationType, tuple[str, type[events.Outgoing]]] = {
    NotificationType.VALIDATION_RECEIVED: ("validation_received", events.ValidationReceived),
    NotificationType.CONSENSUS_REACHED: ("consensus_reached", events.ConsensusReached),
    NotificationType.BADGE_EARNED: ("badge_earned", events.BadgeEarned),
    NotificationType.TRUST_SCORE_UPDATED: ("trust_score_update", events.TrustScoreUpdate),
}


def shares(claim: Claim) -> Percentages:
    """The percentages people are shown: of the amounts that decide the claim."""
    return percentages(effective_weights(claim.tally, claim.weights))


def notification_event(notification: Notification) -> events.NewNotification:
    """A stored notification as its `new_notification` event."""
    return events.NewNotification(
        id=notification.id,
        seq=notification.seq,
        type=notification.type,
        title=notification.title,
        message=notification.message,
        priority=notification.priority,
        action_url=notification.action_url,
        data=notification.data,
        read=notification.read,
        created_at=notification.created_at.isoformat(),
    )


def _typed_events(notification: Notification) -> list[tuple[str, Mapping[str, Any]]]:
    """None or one. Raises ValidationError if the data do not hold what the event says."""
    if (typed := _TYPED.get(notification.type)) is None:
        return []
    name, model = typed
    facts = notification.data | {"id": notification.id, "seq": notification.seq}
    payload = model.model_validate({key: facts[key] for key in model.model_fields if key in facts})
    return [(name, payload.model_dump(mode="json"))]


def check_sendable(user_id: UserId, draft: Draft) -> None:
    """Before a notification is stored: its events can be made and encoded.

    Once stored it must go out, whatever it holds: those that come after it wait for it.
    Raises RefusedError(INVALID_INPUT).
    """
    row = draft.row(NotificationId("draft"), user_id, 0, datetime.fromtimestamp(0, UTC))
    try:
        told = [*_typed_events(row), ("new_notification", notification_event(row).model_dump(mode="json"))]
        orjson.dumps(told)
    except ValidationError as error:
        raise RefusedError(
            f"The data of a {draft.type.value} notification are not right: {_faults(error)}."
        ) from error
    except (ValueError, TypeError, RecursionError) as error:
        raise RefusedError(f"A {draft.type.value} notification cannot be sent as JSON: {error}.") from error


def notification_push(notification: Notification) -> Push:
    """The events of one notification: the typed one (if its type has one), then `new_notification`.

    Both carry the same id and seq, so that a client counts them once. A row whose data do not hold what its
    typed event says goes out as `new_notification` alone: its user's later ones wait for it.
    """
    events_: list[tuple[str, Mapping[str, Any]]] = []
    try:
        events_ += _typed_events(notification)
    except ValidationError as error:
        log.warning("notification %s goes out without its typed event: %s", notification.id, _faults(error))
    events_.append(("new_notification", notification_event(notification).model_dump(mode="json")))
    return Push(
        user_room(notification.user_id),
        tuple(events_),
        DeliveryClass.DURABLE,
        version=notification.seq,
        born_s=notification.created_at.timestamp(),
    )


def _faults(error: ValidationError) -> str:
    """What is wrong with which field, without its value."""
    return "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors())


def claim_pushes(claim: Claim, born_s: float = 0.0) -> list[Push]:
    """Count and percentages of a claim as it stands, for everybody who may see it live.

    born_s: see `ports.Push`.
    """
    facts = (
        _count_event(claim.id, claim.tally.total, claim.version),
        _share_event(claim.id, shares(claim), claim.version, claim.status),
    )
    return _live_pushes(claim.id, claim.id, claim.version, facts, born_s)


class WebSocketService:
    """Presence on this node, and pushing."""

    def __init__(self, emitter: Emitter, elsewhere: Callable[[], int] = lambda: 0) -> None:
        """elsewhere: how many users are connected to the other nodes."""
        self._emitter = emitter
        self._elsewhere = elsewhere
        self._user_of: dict[SocketId, UserId] = {}
        self._sockets_of: dict[UserId, set[SocketId]] = {}

    # -------------------------------------------------------------- presence

    def register_user(self, sid: SocketId, user_id: UserId) -> None:
        """The socket is this user's from now on. Idempotent; a socket never changes its user."""
        self._user_of[sid] = user_id
        self._sockets_of.setdefault(user_id, set()).add(sid)

    def unregister_user(self, sid: SocketId) -> None:
        """The socket is gone. Idempotent."""
        user_id = self._user_of.pop(sid, None)
        if user_id is None:
            return
        sockets = self._sockets_of[user_id]
        sockets.discard(sid)
        if not sockets:
            del self._sockets_of[user_id]

    def get_connected_count(self) -> int:
        """Authenticated users with at least one socket, on all nodes (a user on two nodes counts twice)."""
        return self.connected_here() + self._elsewhere()

    def connected_here(self) -> int:
        """Distinct authenticated users with at least one socket on this node."""
        return len(self._sockets_of)

    def user_of(self, sid: SocketId) -> UserId | None:
        return self._user_of.get(sid)

    def sockets_of(self, user_id: UserId) -> frozenset[SocketId]:
        """This node's sockets of one user."""
        return frozenset(self._sockets_of.get(user_id, ()))

    def connected_users(self) -> list[UserId]:
        """Users with a socket on this node, in no particular order."""
        return list(self._sockets_of)

    # -------------------------------------------------------------- pushing

    def emit_to_user(self, user_id: UserId, event: str, data: Mapping[str, Any]) -> None:
        """Push one contract event to all sockets of one user, on all nodes.

        Raises ValueError for the events of a stored row: they go together, by `notify_new_notification`.
        """
        self._emit(user_room(user_id), event, data)

    def emit_to_all(self, event: str, data: Mapping[str, Any]) -> None:
        """Push one contract event to every authenticated socket that follows everything.

        Raises ValueError as `emit_to_user`.
        """
        self._emit(LIVE_ROOM, event, data)

    def notify_new_notification(self, notification: Notification) -> None:
        """Push a stored notification: its typed event and `new_notification`."""
        self._emitter.push([notification_push(notification)])

    def notify_many(self, notifications: Iterable[Notification]) -> None:
        """Push stored notifications in the given order."""
        pushes = [notification_push(row) for row in notifications]
        if pushes:
            self._emitter.push(pushes)

    def notify_validation_received(self, notification: Notification) -> None:
        """As `notify_new_notification`. Raises ValueError for a row of another type."""
        self._notify(NotificationType.VALIDATION_RECEIVED, notification)

    def notify_consensus_reached(self, notification: Notification) -> None:
        """As `notify_new_notification`. Raises ValueError for a row of another type."""
        self._notify(NotificationType.CONSENSUS_REACHED, notification)

    def notify_badge_earned(self, notification: Notification) -> None:
        """As `notify_new_notification`. Raises ValueError for a row of another type."""
        self._notify(NotificationType.BADGE_EARNED, notification)

    def notify_trust_score_updated(self, notification: Notification) -> None:
        """As `notify_new_notification`. Raises ValueError for a row of another type."""
        self._notify(NotificationType.TRUST_SCORE_UPDATED, notification)

    def _notify(self, kind: NotificationType, notification: Notification) -> None:
        # Never the typed event alone: a seq passes once, and `new_notification` would come too late.
        if notification.type is not kind:
            raise ValueError(f"a {notification.type.value} notification is no {kind.value}")
        self.notify_new_notification(notification)

    def notify_read(
        self,
        user_id: UserId,
        unread_count: int,
        *,
        ids: list[NotificationId] | None = None,
        up_to_seq: int | None = None,
    ) -> None:
        """Tell a user's sockets what was read elsewhere."""
        payload = events.NotificationRead(
            ids=[*ids] if ids is not None else None, up_to_seq=up_to_seq, unread_count=unread_count
        )
        self._emitter.push([_push(user_room(user_id), "notification_read", payload)])

    def update_validation_count(self, claim_id: ClaimId, count: int, version: int) -> None:
        """Push the live count of a claim; under pressure only the newest version is sent."""
        self._live(claim_id, f"{claim_id}:count", version, _count_event(claim_id, count, version))

    def update_consensus_percentage(
        self, claim_id: ClaimId, share: Percentages, version: int, status: ClaimStatus = ClaimStatus.OPEN
    ) -> None:
        """Push the live percentages of a claim; under pressure only the newest version is sent."""
        event = _share_event(claim_id, share, version, status)
        self._live(claim_id, f"{claim_id}:share", version, event)

    def push_claim(self, claim: Claim, cause: Validation | None = None) -> None:
        """Push count and percentages of a claim as it stands, as one fact; cause: what moved it."""
        born_s = cause.created_at.timestamp() if cause is not None else 0.0
        self._emitter.push(claim_pushes(claim, born_s))

    def _live(self, claim_id: ClaimId, key: str, version: int, *facts: tuple[str, Mapping[str, Any]]) -> None:
        self._emitter.push(_live_pushes(claim_id, key, version, facts))

    def _emit(self, room: str, event: str, data: Mapping[str, Any]) -> None:
        contract = events.SERVER_EVENTS[event]
        if contract.delivery is DeliveryClass.DURABLE:
            raise ValueError(f"{event} belongs to a stored row: push that by notify_new_notification")
        payload = contract.payload.model_validate(data)
        version: int = getattr(payload, "version", 0)
        key = getattr(payload, "claim_id", None) if contract.delivery is DeliveryClass.SNAPSHOT else None
        self._emitter.push([_push(room, event, payload, key=key, version=version)])


def _live_pushes(
    claim_id: ClaimId,
    key: str,
    version: int,
    facts: tuple[tuple[str, Mapping[str, Any]], ...],
    born_s: float = 0.0,
) -> list[Push]:
    return [
        Push(room, facts, DeliveryClass.SNAPSHOT, key, version, born_s)
        for room in (LIVE_ROOM, claim_room(claim_id))
    ]


def _push(
    room: str, event: str, payload: events.Outgoing, *, key: str | None = None, version: int = 0
) -> Push:
    delivery = events.SERVER_EVENTS[event].delivery
    return Push(room, ((event, payload.model_dump(mode="json")),), delivery, key, version)


def _count_event(claim_id: ClaimId, count: int, version: int) -> tuple[str, Mapping[str, Any]]:
    payload = events.ValidationCountUpdate(claim_id=claim_id, count=count, version=version)
    return "validation_count_update", payload.model_dump(mode="json")


def _share_event(
    claim_id: ClaimId, share: Percentages, version: int, status: ClaimStatus
) -> tuple[str, Mapping[str, Any]]:
    payload = events.ConsensusUpdate(
        claim_id=claim_id,
        vouch=share.vouch,
        dispute=share.dispute,
        unsure=share.unsure,
        version=version,
        status=status,
    )
    return "consensus_update", payload.model_dump(mode="json")
