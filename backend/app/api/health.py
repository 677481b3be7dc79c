"""What runs here: `/healthz`, `/readyz` and `/metrics` for machines, `/` and `/asyncapi.yaml` for people."""

from typing import Literal

from fastapi import APIRouter, Response

from .. import __version__
from ..contracts import rest
from ..contracts.generate import asyncapi
from ..contracts.rest import Out
from ..observability.metrics import CONTENT_TYPE
from .deps import AppServices
from .problems import documented

router = APIRouter(tags=["health"])
service_router = APIRouter(tags=["service"])


class AliveOut(Out):
    status: Literal["ok"] = "ok"


class ReadyOut(Out):
    """`checks`: name -> `ok`, or one sentence of what is wrong."""

    ready: bool
    checks: dict[str, str]


@router.get("/healthz")
async def alive() -> AliveOut:
    """The process answers; asks nothing of store or bus."""
    return AliveOut()


@router.head("/healthz", include_in_schema=False)
async def alive_head() -> Response:
    """For probes that only look at the status."""
    return Response()


@router.get("/readyz", responses={503: {"model": ReadyOut, "description": "Send no work here now"}})
async def ready(services: AppServices, response: Response) -> ReadyOut:
    """Whether a load balancer may send work here."""
    readiness = await services.health.readiness()
    response.status_code = 200 if readiness.ready else 503
    return ReadyOut(ready=readiness.ready, checks=readiness.checks)


@router.get(
    "/metrics",
    response_class=Response,
    responses={200: {"content": {"text/plain": {}}, "description": "Prometheus text format"}},
)
async def metrics(services: AppServices) -> Response:
    """This node's metrics; scrape every node by itself."""
    return Response(services.metrics.render(), headers={"Content-Type": CONTENT_TYPE})


@service_router.get("/", responses=documented())
async def service(services: AppServices) -> rest.ServiceOut:
    """Name, version, and where the sockets, the documentation and the web UI are."""
    return rest.ServiceOut(version=__version__, node=services.node)


@service_router.head("/", include_in_schema=False)
async def service_head() -> Response:
    """For probes that only look at the status."""
    return Response()


@service_router.get(
    "/asyncapi.yaml",
    response_class=Response,
    responses={
        200: {"content": {"application/yaml": {}}, "description": "AsyncAPI 3 document"},
        **documented(),
    },
)
async def asyncapi_document() -> Response:
    """The socket events, as an AsyncAPI document."""
    return Response(asyncapi(), media_type="application/yaml")
