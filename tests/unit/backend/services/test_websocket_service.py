"""The typed notify methods push the stored row: both of its events, with one id and one seq."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from backend.app.contracts.types import NotificationType
from backend.app.domain.records import Notification
from backend.app.services.websocket_service import WebSocketService
from tests.support.backend.bells import ANN, row
from tests.support.backend.rest_app import RecordingEmitter

Push = Callable[[WebSocketService, Notification], None]

KINDS: list[tuple[NotificationType, str, dict[str, Any], Push]] = [
    (
        NotificationType.VALIDATION_RECEIVED,
        "validation_received",
        {"validator_name": "Bob", "action": "vouch", "claim_id": "c"},
        WebSocketService.notify_validation_received,
    ),
    (
        NotificationType.CONSENSUS_REACHED,
        "consensus_reached",
        {"claim_id": "c", "action": "vouch", "percentage": 75.0},
        WebSocketService.notify_consensus_reached,
    ),
    (
        NotificationType.BADGE_EARNED,
        "badge_earned",
        {"badge_name": "First", "badge_id": "first"},
        WebSocketService.notify_badge_earned,
    ),
    (
        NotificationType.TRUST_SCORE_UPDATED,
        "trust_score_update",
        {"old_score": 50, "new_score": 52, "change": 2},
        WebSocketService.notify_trust_score_updated,
    ),
]
IDS = [event for _, event, _, _ in KINDS]


@pytest.mark.parametrize(("kind", "event", "data", "notify"), KINDS, ids=IDS)
def test_both_events_of_the_row_are_pushed_as_one(
    kind: NotificationType, event: str, data: dict[str, Any], notify: Push
) -> None:
    emitter = RecordingEmitter()
    notify(WebSocketService(emitter), replace(row(7), type=kind, data=data))
    (push,) = emitter.pushes
    told = [(name, facts["id"], facts["seq"]) for name, facts in push.events]
    assert (push.version, told) == (7, [(event, "ann-7", 7), ("new_notification", "ann-7", 7)])


@pytest.mark.parametrize(("kind", "event", "data", "notify"), KINDS, ids=IDS)
def test_a_row_of_another_type_is_refused(
    kind: NotificationType, event: str, data: dict[str, Any], notify: Push
) -> None:
    emitter = RecordingEmitter()
    with pytest.raises(ValueError, match=kind.value):
        notify(WebSocketService(emitter), row(7))
    assert not emitter.pushes


@pytest.mark.parametrize("event", [*IDS, "new_notification"])
def test_an_event_of_a_row_cannot_be_emitted_alone(event: str) -> None:
    emitter = RecordingEmitter()
    with pytest.raises(ValueError, match="notify_new_notification"):
        WebSocketService(emitter).emit_to_user(ANN, event, {})
    assert not emitter.pushes
