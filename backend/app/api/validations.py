"""`/api/claims/{claim_id}/validations`: answer a claim, and read the answers."""

import logging

from fastapi import APIRouter, Response

from ..contracts import rest
from ..contracts.errors import Code
from ..contracts.types import ClaimId
from .deps import (
    CALLER_CODES,
    DEFAULT_LIMIT,
    REPLAYED_HEADER,
    AppServices,
    CallerDep,
    Cursor,
    IdempotencyKey,
    Limit,
    PathId,
)
from .problems import documented
from .serializers import claim_view, validation_view

_log = logging.getLogger(__name__)

router = APIRouter(tags=["validations"])


@router.post(
    "/api/claims/{claim_id}/validations",
    status_code=201,
    responses=documented(
        *CALLER_CODES,
        Code.CLAIM_NOT_FOUND,
        Code.OWN_CLAIM,
        Code.CLAIM_SETTLED,
        Code.ALREADY_VALIDATED,
        Code.IDEMPOTENCY_KEY_REUSED,
        Code.INVALID_INPUT,
        Code.BODY_TOO_LARGE,
        Code.STORE_UNAVAILABLE,
        replays=rest.ValidatedOut,
    ),
)
async def post_validation(
    claim_id: PathId,
    body: rest.PostValidation,
    caller: CallerDep,
    services: AppServices,
    response: Response,
    idempotency_key: IdempotencyKey = None,
) -> rest.ValidatedOut:
    """Vouch for a claim, dispute it, or say that you are unsure: once per user and claim."""
    processed = await services.engine.process_validation(
        claim_id=ClaimId(claim_id),
        user=caller.user,
        action=body.action,
        comment=body.comment,
        idempotency_key=idempotency_key,
    )
    accepted = {"validation_id": processed.validation.id, "claim_id": claim_id}
    _log.debug("validation accepted", extra=accepted | {"replayed": processed.replayed})
    if processed.replayed:
        response.status_code = 200
        response.headers[REPLAYED_HEADER] = "true"
    return rest.ValidatedOut(
        validation=validation_view(processed.validation), claim=claim_view(processed.claim)
    )


@router.get(
    "/api/claims/{claim_id}/validations",
    responses=documented(
        Code.CLAIM_NOT_FOUND, Code.INVALID_INPUT, Code.INVALID_CURSOR, Code.STORE_UNAVAILABLE
    ),
)
async def list_validations(
    claim_id: PathId, services: AppServices, limit: Limit = DEFAULT_LIMIT, cursor: Cursor = None
) -> rest.ValidationPage:
    """Validations of a claim, in the order they were accepted."""
    page = await services.claims.validations(ClaimId(claim_id), limit, cursor)
    return rest.ValidationPage(
        items=[validation_view(row) for row in page.items], next_cursor=page.next_cursor
    )
