"""How many requests a minute an address and a user may make; what is too many gets a 429 with `Retry-After`.

Two places, because two things are known at two moments: the address with the request's head (`Rates`, the
middleware), the user once the token was looked at (`deps.authenticated`). Probes are never refused. The
address is the one that the web server believes: a proxy's headers count only if the proxy is trusted.
"""

import ipaddress
from typing import Annotated

from fastapi import Depends, Request
from starlette.types import ASGIApp, Receive, Scope, Send

from ..contracts.errors import Code
from ..errors import UnavailableError
from ..observability.metrics import Metrics
from ..services.throttle import Limit, Throttle
from ..settings import Settings
from .middleware import is_ours
from .problems import problem_response

WINDOW_S = 60
PROBES = frozenset(("/healthz", "/readyz", "/metrics"))
_IPV6_SITE_BITS = 64


def client_of(scope: Scope) -> str | None:
    """Who sent this request: an IPv4 address, an IPv6 network of 64 bits, or None where nobody knows."""
    client = scope.get("client")
    if not client:
        return None
    try:
        address = ipaddress.ip_address(str(client[0]).partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        # One subscriber holds at least a /64: single addresses would cost them nothing.
        return str(ipaddress.ip_network((address, _IPV6_SITE_BITS), strict=False))
    return str(address)


class RestRates:
    """The limits of the REST room, counted in one throttle."""

    def __init__(self, settings: Settings, throttle: Throttle, metrics: Metrics) -> None:
        self._throttle = throttle
        self._metrics = metrics
        self._address = Limit("rest-address", settings.requests_per_address_per_min, WINDOW_S)
        self._user = Limit("rest-user", settings.requests_per_user_per_min, WINDOW_S)
        self._register = Limit("register-address", settings.registrations_per_address_per_min, WINDOW_S)

    async def address_over_s(self, scope: Scope) -> int | None:
        """Count a request of an address; seconds to wait if that is too many."""
        address = client_of(scope)
        if address is None or scope["path"] in PROBES:
            return None
        over_s = await self._throttle.spend(self._address, address)
        if over_s is not None:
            self._metrics.rate_limited.inc("rest_address")
        return over_s

    async def check_user(self, user_id: str) -> None:
        """Count a request of a user. Raises UnavailableError(RATE_LIMITED)."""
        over_s = await self._throttle.spend(self._user, user_id)
        if over_s is not None:
            self._metrics.rate_limited.inc("rest_user")
            raise _too_many(over_s)

    async def check_registration(self, address: str | None) -> None:
        """Count a registration of an address. Raises UnavailableError(RATE_LIMITED)."""
        over_s = await self._throttle.spend(self._register, address) if address is not None else None
        if over_s is not None:
            self._metrics.rate_limited.inc("register")
            raise _too_many(over_s)


def _too_many(over_s: int) -> UnavailableError:
    return UnavailableError("Too many requests; slow down.", Code.RATE_LIMITED, retry_after_s=over_s)


class Rates:
    """Middleware: refuses an address before anything is read of its request."""

    def __init__(self, app: ASGIApp, *, rates: RestRates) -> None:
        self._app = app
        self._rates = rates

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        over_s = await self._rates.address_over_s(scope) if is_ours(scope) else None
        if over_s is None:
            await self._app(scope, receive, send)
            return
        refusal = problem_response(
            Code.RATE_LIMITED, "Too many requests from this address; slow down.", retry_after_s=over_s
        )
        await refusal(scope, receive, send)


async def rates_of(request: Request) -> RestRates:
    """The node's limits, as `router.install` left them."""
    rates: RestRates = request.app.state.rates
    return rates


RatesDep = Annotated[RestRates, Depends(rates_of)]
