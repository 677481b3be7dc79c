"""What the store refuses about claims and validations, decided from the rows as they stand.

Pure; called by both stores inside their transaction, so that the answer and the write see the same rows.
"""

from ..contracts.errors import Code
from ..contracts.types import ClaimStatus
from ..domain.records import Claim, Validation
from ..errors import RefusedError


def check_validation(claim: Claim | None, validation: Validation, *, repeated: bool) -> Claim:
    """The claim, if the validation may be recorded. repeated: its author already validated the claim.

    Raises:
        RefusedError: CLAIM_NOT_FOUND, OWN_CLAIM, CLAIM_SETTLED, ALREADY_VALIDATED, in this order.
    """
    if claim is None:
        raise RefusedError("There is no such claim.", Code.CLAIM_NOT_FOUND)
    if claim.owner_id == validation.user_id:
        raise RefusedError("You cannot validate your own claim.", Code.OWN_CLAIM)
    if claim.status is not ClaimStatus.OPEN:
        raise RefusedError("The claim is already settled.", Code.CLAIM_SETTLED)
    if repeated:
        raise RefusedError("You have already validated this claim.", Code.ALREADY_VALIDATED)
    return claim


def check_same_request(stored: Claim, asked: Claim) -> None:
    """The same idempotency key must carry the same claim.

    Raises:
        RefusedError: IDEMPOTENCY_KEY_REUSED.
    """
    same = (stored.title, stored.body, stored.evidence_urls, stored.quorum) == (
        asked.title,
        asked.body,
        asked.evidence_urls,
        asked.quorum,
    )
    if not same:
        raise RefusedError(
            "The Idempotency-Key was already used for another claim.", Code.IDEMPOTENCY_KEY_REUSED
        )


def no_such_user() -> RefusedError:
    return RefusedError("There is no such user.", Code.USER_NOT_FOUND)


def no_such_notification() -> RefusedError:
    return RefusedError("There is no such notification.", Code.NOTIFICATION_NOT_FOUND)
