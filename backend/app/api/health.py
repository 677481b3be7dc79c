"""`/healthz`, `/readyz`, `/metrics`: for orchestrators, load balancers and Prometheus."""

from typing import Literal

from fastapi import APIRouter, Response

from ..contracts.rest import Out
from ..observability.metrics import CONTENT_TYPE
from .deps import AppServices

router = APIRouter(tags=["health"])


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
