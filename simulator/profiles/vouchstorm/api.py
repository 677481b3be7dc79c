"""The truth at the end of a run against Vouchstorm, read over REST: claims, validations, users,
notifications.

Called by the vouchstorm profile when the traffic has drained.
"""

from collections.abc import Sequence
from typing import Any

from ...ledger.durable import Truth
from ...target.http_client import RestClient, RestError
from ..base import Progress
from .fixtures import Person, in_parallel
from .invariants import ClaimFact, NoteFact, UserFact, ValidationFact

PAGE = 500
CLAIM_PAGE = 100
TIMEOUT_S = 30.0


async def read_users(rest: RestClient, users: Sequence[Person], progress: Progress) -> list[UserFact]:
    """Everything the server tells each user about itself. Raises RestError."""

    async def read(person: Person) -> UserFact:
        me = await _get(rest, "/api/auth/me", person.bearer)
        notes = await notifications(rest, person, 0)
        return UserFact(
            id=person.user_id,
            trust_score=me["trust_score"],
            badges=[badge["badge_id"] for badge in me["badges"]],
            last_seq=me["last_seq"],
            notes=[NoteFact(row["seq"], row["id"], row["type"], row["data"]) for row in notes],
        )

    return await in_parallel(users, read, progress)


async def read_claims(rest: RestClient, claim_ids: Sequence[str], progress: Progress) -> list[ClaimFact]:
    """The claims as they stand, with all their validations. Raises RestError."""

    async def read(claim_id: str) -> ClaimFact:
        rows = await _validations(rest, claim_id)
        body = await _get(rest, f"/api/claims/{claim_id}")
        tally, percent = body["tally"], body["percentages"]
        return ClaimFact(
            id=claim_id,
            owner=body["owner_id"],
            status=body["status"],
            version=body["version"],
            total=tally["total"],
            tally={action: tally[action] for action in ("vouch", "dispute", "unsure")},
            percent=percent,
            validations=[
                ValidationFact(row["id"], row["user_id"], row["action"], row["version"]) for row in rows
            ],
        )

    return await in_parallel(claim_ids, read, progress)


def truth_of(users: Sequence[UserFact]) -> dict[str, Truth]:
    """Per user the durable messages as the server stores them."""
    return {user.id: Truth([(note.seq, note.id) for note in user.notes]) for user in users}


async def notifications(rest: RestClient, person: Person, after_seq: int) -> list[Any]:
    """All notifications of a user above a seq, ascending. Raises RestError."""
    found: list[Any] = []
    while True:
        page = await _get(rest, f"/api/notifications?after_seq={after_seq}&limit={PAGE}", person.bearer)
        found += page["items"]
        if not page["more"] or not page["items"]:
            return found
        after_seq = page["items"][-1]["seq"]


async def _validations(rest: RestClient, claim_id: str) -> list[Any]:
    found: list[Any] = []
    cursor = ""
    while True:
        page = await _get(rest, f"/api/claims/{claim_id}/validations?limit={CLAIM_PAGE}{cursor}")
        found += page["items"]
        if not page["next_cursor"]:
            return found
        cursor = f"&cursor={page['next_cursor']}"


async def _get(rest: RestClient, path: str, headers: dict[str, str] | None = None) -> Any:
    reply = await rest.request("GET", path, headers=headers, timeout_s=TIMEOUT_S)
    if reply.status != 200:
        raise RestError(f"GET {path} answered with status {reply.status}")
    return reply.json()
