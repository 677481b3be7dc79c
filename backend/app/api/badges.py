"""`/api/badges`: the catalogue."""

from fastapi import APIRouter

from ..contracts import rest
from ..domain.badges import CATALOG
from .problems import documented

router = APIRouter(tags=["badges"])


@router.get("/api/badges", responses=documented())
async def list_badges() -> rest.BadgeCatalog:
    """All badges there are, and what each is earned for."""
    return rest.BadgeCatalog(
        items=[
            rest.BadgeOut(badge_id=badge.id, badge_name=badge.name, description=badge.description)
            for badge in CATALOG
        ]
    )
