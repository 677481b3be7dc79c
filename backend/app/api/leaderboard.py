"""`/api/leaderboard`: users by trust.

A cursor carries the rank that comes next in front of the store's own position.
"""

from fastapi import APIRouter

from ..contracts import rest
from ..contracts.errors import Code
from ..errors import RefusedError
from .deps import DEFAULT_LIMIT, AppServices, Cursor, Limit
from .problems import documented
from .serializers import user_view

router = APIRouter(tags=["leaderboard"])

_MAX_RANK_DIGITS = 12


@router.get(
    "/api/leaderboard", responses=documented(Code.INVALID_INPUT, Code.INVALID_CURSOR, Code.STORE_UNAVAILABLE)
)
async def leaderboard(
    services: AppServices, limit: Limit = DEFAULT_LIMIT, cursor: Cursor = None
) -> rest.Leaderboard:
    """Users by trust score, then by validations."""
    first_rank, position = _split(cursor)
    page = await services.store.users.leaderboard(limit, position)
    badges = await services.store.users.badges([user.id for user in page.items if user.progress.badges])
    items = [
        rest.RankOut(rank=rank, user=user_view(user, badges.get(user.id, [])))
        for rank, user in enumerate(page.items, first_rank)
    ]
    following = page.next_cursor and f"{first_rank + len(items)}.{page.next_cursor}"
    return rest.Leaderboard(items=items, next_cursor=following)


def _split(cursor: str | None) -> tuple[int, str | None]:
    if cursor is None:
        return 1, None
    rank, dot, position = cursor.partition(".")
    if not (dot and position and rank.isascii() and rank.isdigit() and len(rank) <= _MAX_RANK_DIGITS):
        raise RefusedError("This cursor is not one of ours; start from the first page.", Code.INVALID_CURSOR)
    return int(rank), position
