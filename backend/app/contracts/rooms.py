"""Room names. Clients never name rooms: the server maps what they ask for to one of these."""

from .types import ClaimId, UserId

LIVE_ROOM = "live"
"""Every authenticated socket whose live scope is `all`."""


def user_room(user_id: UserId) -> str:
    """The room of one user's sockets: the only place durable events go."""
    return f"user:{user_id}"


def claim_room(claim_id: ClaimId) -> str:
    """Sockets that watch this claim and do not already receive everything through `LIVE_ROOM`."""
    return f"claim:{claim_id}"


def user_of_room(room: str) -> UserId | None:
    """The user whose room this is, or None for other rooms."""
    return UserId(room[5:]) if room.startswith("user:") else None
