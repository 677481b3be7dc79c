"""A notification that cannot be sent is refused before it is stored; one that is stored holds nobody up."""

from dataclasses import replace
from typing import Any

import pytest

from backend.app.contracts.errors import Code
from backend.app.contracts.types import NotificationType, UserId
from backend.app.errors import RefusedError
from backend.app.services.websocket_service import notification_push
from tests.support.backend.bells import row
from tests.support.backend.rest_app import Person, World

BADGE = {"badge_id": "b", "badge_name": "B"}


async def create(world: World, who: Person, kind: NotificationType, **parts: Any) -> None:
    service = world.services.notifications
    await service.create_notification(UserId(who.id), kind, parts.pop("title", "t"), "m", **parts)


@pytest.mark.parametrize(
    ("kind", "parts"),
    [
        (NotificationType.BADGE_EARNED, {}),
        (NotificationType.TRUST_SCORE_UPDATED, {"data": {"old_score": "low"}}),
        (NotificationType.CONSENSUS_REACHED, {"data": {"claim_id": "c", "action": "shrug", "percentage": 1}}),
        (NotificationType.SYSTEM, {"data": {"number": 2**70}}),
        (NotificationType.SYSTEM, {"data": {"text": "\ud800"}}),
        (NotificationType.SYSTEM, {"data": {"thing": object()}}),
        (NotificationType.SYSTEM, {"title": "\ud800"}),
    ],
    ids=["no data", "wrong type", "wrong word", "huge number", "half a character", "no JSON", "title"],
)
async def test_what_cannot_be_sent_is_refused(
    world: World, anna: Person, kind: NotificationType, parts: dict[str, Any]
) -> None:
    with pytest.raises(RefusedError) as refused:
        await create(world, anna, kind, **parts)
    assert refused.value.code is Code.INVALID_INPUT


async def test_what_was_refused_is_not_stored(world: World, anna: Person) -> None:
    with pytest.raises(RefusedError):
        await create(world, anna, NotificationType.BADGE_EARNED)
    assert await world.services.store.notifications.last_seqs([UserId(anna.id)]) == {UserId(anna.id): 0}


async def test_the_refusal_names_what_is_missing(world: World, anna: Person) -> None:
    with pytest.raises(RefusedError, match="badge_name: Field required"):
        await create(world, anna, NotificationType.BADGE_EARNED, data={"badge_id": "b"})


async def test_what_can_be_sent_is_stored(world: World, anna: Person) -> None:
    await create(world, anna, NotificationType.BADGE_EARNED, data=BADGE)
    assert await world.services.store.notifications.last_seqs([UserId(anna.id)]) == {UserId(anna.id): 1}


def test_a_stored_row_without_the_facts_of_its_type_goes_out_without_the_typed_event() -> None:
    push = notification_push(replace(row(1), type=NotificationType.BADGE_EARNED))
    assert [name for name, _ in push.events] == ["new_notification"]


def test_data_cannot_pass_for_the_rows_own_seq() -> None:
    push = notification_push(
        replace(row(7), type=NotificationType.BADGE_EARNED, data=BADGE | {"seq": 1, "id": "other"})
    )
    assert [(facts["id"], facts["seq"]) for _, facts in push.events] == [("ann-7", 7), ("ann-7", 7)]
