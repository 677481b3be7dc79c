"""`/api/auth`: register, log in, log out, who am I."""

from fastapi import APIRouter, Request, Response

from ..contracts import rest
from ..contracts.errors import Code
from ..services.accounts import Session
from ..services.container import Services
from .deps import CALLER_CODES, AppServices, CallerDep, RatesDep
from .middleware import client_of
from .problems import documented
from .serializers import user_view

router = APIRouter(tags=["auth"])


@router.post(
    "/api/auth/register",
    status_code=201,
    responses=documented(
        Code.USERNAME_TAKEN,
        Code.INVALID_INPUT,
        Code.WEAK_PASSWORD,
        Code.BODY_TOO_LARGE,
        Code.STORE_UNAVAILABLE,
    ),
)
async def register(
    body: rest.Register, services: AppServices, rates: RatesDep, request: Request
) -> rest.SessionOut:
    """Make a user and log them in."""
    await rates.check_registration(client_of(request.scope))
    return await _session(
        services, await services.accounts.register(body.username, body.password, body.display_name)
    )


@router.post(
    "/api/auth/login",
    responses=documented(
        Code.WRONG_CREDENTIALS,
        Code.INVALID_INPUT,
        Code.BODY_TOO_LARGE,
        Code.STORE_UNAVAILABLE,
    ),
)
async def login(body: rest.Login, services: AppServices, request: Request) -> rest.SessionOut:
    """Get a token for a username and its password."""
    session = await services.accounts.login(body.username, body.password, client_of(request.scope))
    return await _session(services, session)


@router.post("/api/auth/logout", status_code=204, responses=documented(*CALLER_CODES, Code.STORE_UNAVAILABLE))
async def logout(caller: CallerDep, services: AppServices) -> Response:
    """Revoke the token of this request; other tokens of the same user stay valid."""
    await services.accounts.logout(caller.token)
    return Response(status_code=204)


@router.get("/api/auth/me", responses=documented(*CALLER_CODES, Code.STORE_UNAVAILABLE))
async def me(caller: CallerDep, services: AppServices) -> rest.MeOut:
    """The caller, with where their bell stands."""
    user = caller.user
    unread_count = await services.store.notifications.unread_count(user.id)
    badges = await services.store.users.badges([user.id])
    public = user_view(user, badges.get(user.id, []))
    return rest.MeOut(
        **dict(public),
        # From the row that was read first: whoever continues from it misses nothing.
        last_seq=user.progress.last_seq,
        unread_count=unread_count,
    )


async def _session(services: Services, session: Session) -> rest.SessionOut:
    user = session.user
    badges = await services.store.users.badges([user.id]) if user.progress.badges else {}
    return rest.SessionOut(
        user=user_view(user, badges.get(user.id, [])),
        token=session.token.token,
        expires_at=session.token.expires_at,
    )
