"""Notifications: stored first, pushed second, read everywhere at once.

A failed push never fails the write: the row is there, and the client's next `sync` or reconnect finds it.
"""

from typing import Any

from ..contracts.errors import Code
from ..contracts.types import (
    Action,
    ClaimId,
    NotificationId,
    NotificationType,
    Priority,
    UserId,
    ValidationId,
)
from ..domain.effects import Told
from ..domain.notifications import Draft, badge_draft, trust_draft, validation_draft
from ..domain.records import Notification
from ..errors import RefusedError
from ..ports import Ids, ReadMark, Store
from .websocket_service import WebSocketService, check_sendable


class NotificationService:
    """Creating and reading notifications."""

    def __init__(self, store: Store, websocket: WebSocketService, ids: Ids) -> None:
        self._store = store
        self._websocket = websocket
        self._ids = ids

    async def create_notification(
        self,
        user_id: UserId,
        kind: NotificationType,
        title: str,
        message: str,
        *,
        priority: Priority = Priority.MEDIUM,
        action_url: str | None = None,
        data: dict[str, Any] | None = None,
        key: str | None = None,
    ) -> Notification | None:
        """Store a notification, then push it.

        key: the fact it is about; the same key never makes a second row (None then: already created).
        data: must hold what the event of this kind says (see `contracts.events`: BadgeEarned ...).
        Raises RefusedError(USER_NOT_FOUND, INVALID_INPUT), UnavailableError.
        """
        draft = Draft(kind, title, message, priority, action_url, data or {})
        return await self._tell(user_id, key or f"note:{self._ids.new()}", draft)

    async def notify_validation_received(
        self,
        claim_owner_id: UserId,
        validator_name: str,
        action: Action,
        claim_id: ClaimId,
        validation_id: ValidationId,
    ) -> Notification | None:
        """Tell an owner about a validation; at most once per validation, also beside the engine's own."""
        claim = await self._store.claims.claim(claim_id)
        if claim is None:
            raise RefusedError("There is no such claim.", Code.CLAIM_NOT_FOUND)
        draft = validation_draft(claim.id, claim.title, validation_id, validator_name, action)
        return await self._tell(claim_owner_id, f"validation:{validation_id}:received", draft)

    async def notify_consensus_reached(
        self, user_id: UserId, claim_id: ClaimId, action: Action, percentage: float
    ) -> Notification | None:
        """Tell a bystander about a consensus (participants and the owner are told by the engine)."""
        draft = Draft(
            NotificationType.CONSENSUS_REACHED,
            "Consensus reached",
            f"A claim you follow reached consensus: {action.value} ({percentage:.1f} %).",
            Priority.HIGH,
            f"/claims/{claim_id}",
            {"claim_id": claim_id, "action": action.value, "percentage": percentage},
        )
        return await self._tell(user_id, f"consensus:{claim_id}:bystander:{user_id}", draft)

    async def notify_badge_earned(
        self, user_id: UserId, badge_name: str, badge_id: str
    ) -> Notification | None:
        """Tell a user about a badge that was granted outside the engine; once per badge."""
        draft = badge_draft(user_id, badge_id, badge_name)
        return await self._tell(user_id, f"badge:{user_id}:{badge_id}", draft)

    async def notify_trust_score_updated(
        self, user_id: UserId, old_score: int, new_score: int
    ) -> Notification | None:
        """Tell a user about a trust score that was moved outside the engine."""
        draft = trust_draft(user_id, old_score, new_score)
        return await self._tell(user_id, f"note:{self._ids.new()}", draft)

    async def mark_read(self, user_id: UserId, notification_id: NotificationId) -> ReadMark:
        """Mark one read and tell the user's sockets. Raises RefusedError(NOTIFICATION_NOT_FOUND)."""
        mark = await self._store.notifications.mark_read(user_id, notification_id)
        if mark.ids:
            self._websocket.notify_read(user_id, mark.unread_count, ids=mark.ids)
        return mark

    async def mark_all_read(self, user_id: UserId, up_to_seq: int | None = None) -> ReadMark:
        """Mark everything up to a seq (None: all so far) read and tell the user's sockets."""
        mark = await self._store.notifications.mark_all_read(user_id, up_to_seq)
        if mark.ids:
            self._websocket.notify_read(user_id, mark.unread_count, up_to_seq=mark.up_to_seq)
        return mark

    async def _tell(self, user_id: UserId, key: str, draft: Draft) -> Notification | None:
        check_sendable(user_id, draft)
        rows = await self._store.effects.apply_effects([Told(key, user_id, draft)])
        self._websocket.notify_many(rows)
        return rows[0] if rows else None
