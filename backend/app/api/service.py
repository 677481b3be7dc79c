"""`/` and `/asyncapi.yaml`: what runs here and how to speak to it."""

from functools import cache

from fastapi import APIRouter, Response

from .. import __version__
from ..contracts import rest
from ..contracts.generate import asyncapi
from .deps import AppServices
from .problems import documented

router = APIRouter(tags=["service"])


@router.get("/", responses=documented())
async def service(services: AppServices) -> rest.ServiceOut:
    """Name, version, and where the sockets, the documentation and the web UI are."""
    return rest.ServiceOut(version=__version__, node=services.node)


@router.head("/", include_in_schema=False)
async def service_head() -> Response:
    """For probes that only look at the status."""
    return Response()


@router.get(
    "/asyncapi.yaml",
    response_class=Response,
    responses={
        200: {"content": {"application/yaml": {}}, "description": "AsyncAPI 3 document"},
        **documented(),
    },
)
async def asyncapi_document() -> Response:
    """The socket events, as an AsyncAPI document."""
    return Response(_asyncapi(), media_type="application/yaml")


@cache
def _asyncapi() -> str:
    return asyncapi()
