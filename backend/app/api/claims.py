"""`/api/claims` and `/api/claims/{claim_id}/validations`: post and read claims, answer them."""

import logging

from fastapi import APIRouter, Response

from ..contracts import rest
from ..contracts.errors import Code
from ..contracts.types import ClaimId, ClaimStatus, UserId
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
    QueryId,
)
from .problems import documented
from .serializers import claim_view, validation_view

router = APIRouter(tags=["claims"])
validations_router = APIRouter(tags=["validations"])

_log = logging.getLogger(__name__)


@router.get(
    "/api/claims", responses=documented(Code.INVALID_INPUT, Code.INVALID_CURSOR, Code.STORE_UNAVAILABLE)
)
async def list_claims(
    services: AppServices,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
    status: ClaimStatus | None = None,
    owner_id: QueryId = None,
) -> rest.ClaimPage:
    """Claims, newest first."""
    page = await services.claims.page(limit, cursor, status, UserId(owner_id) if owner_id else None)
    return rest.ClaimPage(items=[claim_view(claim) for claim in page.items], next_cursor=page.next_cursor)


@router.post(
    "/api/claims",
    status_code=201,
    responses=documented(
        *CALLER_CODES,
        Code.INVALID_INPUT,
        Code.IDEMPOTENCY_KEY_REUSED,
        Code.BODY_TOO_LARGE,
        Code.STORE_UNAVAILABLE,
        replays=rest.ClaimOut,
    ),
)
async def post_claim(
    body: rest.PostClaim,
    caller: CallerDep,
    services: AppServices,
    response: Response,
    idempotency_key: IdempotencyKey = None,
) -> rest.ClaimOut:
    """Post a claim for others to validate."""
    posted = await services.claims.create(
        caller.user,
        title=body.title,
        body=body.body,
        evidence_urls=tuple(body.evidence_urls),
        quorum=body.quorum,
        idempotency_key=idempotency_key,
    )
    response.headers["Location"] = f"/api/claims/{posted.claim.id}"
    if posted.replayed:
        response.status_code = 200
        response.headers[REPLAYED_HEADER] = "true"
    return claim_view(posted.claim)


@router.get(
    "/api/claims/{claim_id}",
    responses=documented(Code.CLAIM_NOT_FOUND, Code.INVALID_INPUT, Code.STORE_UNAVAILABLE),
)
async def get_claim(claim_id: PathId, services: AppServices) -> rest.ClaimOut:
    """One claim."""
    return claim_view(await services.claims.get(ClaimId(claim_id)))


@validations_router.post(
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


@validations_router.get(
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
