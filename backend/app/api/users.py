"""`/api/users`: what everybody may see of a user. `/api/badges`: the catalogue."""

from fastapi import APIRouter

from ..contracts import rest
from ..contracts.errors import Code
from ..contracts.types import UserId
from ..domain.badges import CATALOG
from ..errors import RefusedError
from .deps import AppServices, PathId
from .problems import documented
from .serializers import user_view

router = APIRouter(tags=["users"])
badges_router = APIRouter(tags=["badges"])


@router.get(
    "/api/users/{user_id}",
    responses=documented(Code.USER_NOT_FOUND, Code.INVALID_INPUT, Code.STORE_UNAVAILABLE),
)
async def get_user(user_id: PathId, services: AppServices) -> rest.UserOut:
    """One user with their badges."""
    user = await services.store.users.user(UserId(user_id))
    if user is None:
        raise RefusedError("There is no such user.", Code.USER_NOT_FOUND)
    badges = await services.store.users.badges([user.id])
    return user_view(user, badges.get(user.id, []))


@badges_router.get("/api/badges", responses=documented())
async def list_badges() -> rest.BadgeCatalog:
    """All badges there are, and what each is earned for."""
    return rest.BadgeCatalog(
        items=[
            rest.BadgeOut(badge_id=badge.id, badge_name=badge.name, description=badge.description)
            for badge in CATALOG
        ]
    )
