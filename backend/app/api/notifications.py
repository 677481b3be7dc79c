"""`/api/notifications`: the caller's bell. Nobody ever sees another user's rows."""

from typing import Annotated

from fastapi import APIRouter, Query

from ..contracts import rest
from ..contracts.errors import Code
from ..contracts.types import NotificationId
from ..errors import RefusedError
from .deps import CALLER_CODES, DEFAULT_LIMIT, MAX_SEQ, AppServices, CallerDep, PathId
from .problems import documented
from .serializers import notification_view

router = APIRouter(tags=["notifications"])

MAX_NOTIFICATIONS = 500
Seq = Annotated[int | None, Query(ge=0, le=MAX_SEQ)]


@router.get(
    "/api/notifications", responses=documented(*CALLER_CODES, Code.INVALID_INPUT, Code.STORE_UNAVAILABLE)
)
async def list_notifications(
    caller: CallerDep,
    services: AppServices,
    after_seq: Seq = None,
    before_seq: Seq = None,
    unread: Annotated[bool, Query(description="Only those not read yet.")] = False,
    limit: Annotated[int, Query(ge=1, le=MAX_NOTIFICATIONS)] = DEFAULT_LIMIT,
) -> rest.NotificationPage:
    """With `after_seq` ascending from there; otherwise descending from `before_seq` or the newest."""
    if after_seq is not None and before_seq is not None:
        raise RefusedError("Give after_seq or before_seq, not both.", Code.INVALID_INPUT)
    user_id = caller.user.id
    # The position is read before the rows: whoever continues from it gets a row twice rather than never.
    last_seqs = await services.store.notifications.last_seqs([user_id])
    rows = await services.store.notifications.notifications(
        user_id, after_seq=after_seq, before_seq=before_seq, unread_only=unread, limit=limit + 1
    )
    return rest.NotificationPage(
        items=[notification_view(row) for row in rows[:limit]],
        last_seq=last_seqs.get(user_id, 0),
        unread_count=await services.store.notifications.unread_count(user_id),
        more=len(rows) > limit,
    )


@router.get("/api/notifications/unread-count", responses=documented(*CALLER_CODES, Code.STORE_UNAVAILABLE))
async def unread_count(caller: CallerDep, services: AppServices) -> rest.UnreadOut:
    """The number on the bell."""
    return rest.UnreadOut(unread_count=await services.store.notifications.unread_count(caller.user.id))


@router.post(
    "/api/notifications/{notification_id}/read",
    responses=documented(
        *CALLER_CODES, Code.NOTIFICATION_NOT_FOUND, Code.INVALID_INPUT, Code.STORE_UNAVAILABLE
    ),
)
async def mark_read(notification_id: PathId, caller: CallerDep, services: AppServices) -> rest.ReadOut:
    """Mark one notification read, here and on the caller's other devices. Idempotent."""
    mark = await services.notifications.mark_read(caller.user.id, NotificationId(notification_id))
    return rest.ReadOut(id=notification_id, unread_count=mark.unread_count)


@router.post(
    "/api/notifications/read-all",
    responses=documented(*CALLER_CODES, Code.INVALID_INPUT, Code.BODY_TOO_LARGE, Code.STORE_UNAVAILABLE),
)
async def mark_all_read(
    caller: CallerDep, services: AppServices, body: rest.ReadAll | None = None
) -> rest.ReadAllOut:
    """Mark everything up to a seq read (without one: everything so far)."""
    mark = await services.notifications.mark_all_read(caller.user.id, body.up_to_seq if body else None)
    return rest.ReadAllOut(up_to_seq=mark.up_to_seq, changed=len(mark.ids), unread_count=mark.unread_count)
