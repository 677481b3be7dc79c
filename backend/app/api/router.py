"""Puts the REST room together: routes, problem handlers, middleware, in the one order that works.

From the outside in: envelope (id, headers, latency, span), CORS, rates (per address), limits (body,
last-resort 500), routes; so that even a refused or a broken request carries the headers and is
counted.
"""

from collections.abc import Iterator
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.routing import APIRoute

from .. import __version__
from ..observability.tracing import Tracing
from ..services.container import Services
from ..services.throttle import Throttle
from . import auth, claims, docs, health, leaderboard, notifications, users
from .docs import document
from .middleware import Cors, Envelope, Limits, Rates, RestRates
from .problems import add_problem_handlers
from .webui import find_web_ui, web_ui_router

_ROUTERS = (
    auth.router,
    claims.router,
    claims.validations_router,
    notifications.router,
    users.router,
    leaderboard.router,
    users.badges_router,
    health.service_router,
    health.router,
    docs.router,
)


class Api(FastAPI):
    """The FastAPI application of one node, with its own OpenAPI document."""

    def openapi(self) -> dict[str, Any]:
        """The document, made once."""
        if self.openapi_schema is None:
            self.openapi_schema = document(self)
        return self.openapi_schema


def new_api() -> Api:
    """An application that has the routes' documentation and nothing installed yet."""
    return Api(
        title="Vouchstorm",
        version=__version__,
        # Its own spans would have whole URLs; ours are in `middleware.Envelope`.
        telemetry={"tracing": False, "metrics": False, "logs": False, "auto_configure": False},
        openapi_url=None,  # `docs.py` serves it, with its own headers
        generate_unique_id_function=lambda route: route.name,
    )


def build_router() -> APIRouter:
    """All REST routes, without the web UI."""
    router = APIRouter()
    for noun in _ROUTERS:
        router.include_router(noun)
    return router


def _routes() -> Iterator[APIRoute]:
    for noun in _ROUTERS:
        yield from (route for route in noun.routes if isinstance(route, APIRoute))


def install(
    app: FastAPI, services: Services, throttle: Throttle | None = None, tracing: Tracing | None = None
) -> None:
    """Give an application the REST room of these services.

    throttle: None counts on this node alone. tracing: None makes no spans.
    """
    app.state.services = services
    rates = RestRates(services.settings, throttle or Throttle(services.clock), services.metrics)
    app.state.rates = rates
    app.router.redirect_slashes = False
    app.include_router(build_router())
    app.include_router(web_ui_router(find_web_ui(services.settings)))
    add_problem_handlers(app, _routes())
    # Added last is outermost.
    app.add_middleware(Limits, max_body_bytes=services.settings.max_body_bytes)
    app.add_middleware(Rates, rates=rates)
    if services.settings.cors_origins:
        app.add_middleware(Cors, origins=services.settings.cors_origins)
    app.add_middleware(Envelope, metrics=services.metrics, ids=services.ids, tracing=tracing)
