"""What routes ask for: the services, the caller, and the parameters that several nouns share."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Header, Path, Query, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from ..contracts.errors import Code
from ..domain.records import User
from ..errors import RefusedError
from ..services.container import Services
from ..services.tokens import TokenClaims
from .middleware import RestRates

_ID_PATTERN = r"^[A-Za-z0-9_-]+$"
_PRINTABLE = r"^[\x20-\x7e]+$"
MAX_CURSOR_CHARS = 512
MAX_SEQ = 2**53 - 1
"""The largest integer that JavaScript holds exactly."""

_bearer = HTTPBearer(auto_error=False, description="A token from register or login.")


@dataclass(frozen=True, slots=True)
class Caller:
    """The authenticated user of this request, and what their token says."""

    user: User
    token: TokenClaims


async def services_of(request: Request) -> Services:
    """The node's services, as `router.install` left them."""
    services: Services = request.app.state.services
    return services


async def rates_of(request: Request) -> RestRates:
    """The node's limits, as `router.install` left them."""
    rates: RestRates = request.app.state.rates
    return rates


AppServices = Annotated[Services, Depends(services_of)]
RatesDep = Annotated[RestRates, Depends(rates_of)]


async def authenticated(
    services: AppServices,
    rates: RatesDep,
    credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)],
) -> Caller:
    """Raises RefusedError: NOT_AUTHENTICATED without a bearer token, and those of `authenticate`;
    UnavailableError(RATE_LIMITED).
    """
    if credentials is None or not credentials.credentials:
        raise RefusedError(
            "This needs a token: log in and send `Authorization: Bearer <token>`.", Code.NOT_AUTHENTICATED
        )
    user, token = await services.accounts.authenticate(credentials.credentials)
    await rates.check_user(user.id)
    return Caller(user, token)


CallerDep = Annotated[Caller, Depends(authenticated)]
CALLER_CODES = (Code.NOT_AUTHENTICATED, Code.INVALID_TOKEN, Code.TOKEN_EXPIRED, Code.TOKEN_REVOKED)
"""Refusals of every route that takes a `CallerDep`."""

PathId = Annotated[str, Path(max_length=64, pattern=_ID_PATTERN)]
QueryId = Annotated[str | None, Query(max_length=64, pattern=_ID_PATTERN)]
Limit = Annotated[int, Query(ge=1, le=100, description="Most items to answer with.")]
Cursor = Annotated[
    str | None, Query(max_length=MAX_CURSOR_CHARS, description="`next_cursor` of the page before.")
]
IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=128,
        pattern=_PRINTABLE,
        description="Repeating a request with the same key answers with what the first one made.",
    ),
]
REPLAYED_HEADER = "Idempotency-Replayed"
DEFAULT_LIMIT = 20
