"""`/docs` and `/openapi.json`: the REST room described, for people and for generators.

The page is FastAPI's own, which loads its script and style from another origin; its policy names exactly the
origins that this version of FastAPI uses. The document is corrected where the framework cannot say it.
"""

import inspect
from functools import cache
from itertools import chain
from typing import Any
from urllib.parse import urlsplit

from fastapi import APIRouter, FastAPI, Request
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.openapi.utils import get_openapi
from starlette.responses import JSONResponse, Response

from .problems import MEDIA_TYPE

router = APIRouter(include_in_schema=False)

OPENAPI_PATH = "/openapi.json"
_PROBLEM_REF = "#/components/schemas/Problem"
_DESCRIPTION = """\
Claims, validations, consensus, notifications. Errors are RFC 9457 problem documents with a stable `code`.
Live events travel over Socket.IO: see [`/asyncapi.yaml`](/asyncapi.yaml).
"""


@router.get("/docs")
async def docs() -> Response:
    """The page to read and try the routes."""
    page = get_swagger_ui_html(openapi_url=OPENAPI_PATH, title="Vouchstorm REST")
    page.headers["Content-Security-Policy"] = _policy()
    return page


@router.get(OPENAPI_PATH)
async def openapi(request: Request) -> Response:
    """The OpenAPI document."""
    return JSONResponse(request.app.openapi())


@cache
def _policy() -> str:
    parameters = inspect.signature(get_swagger_ui_html).parameters
    script, style, icon = (
        "{0.scheme}://{0.netloc}".format(urlsplit(parameters[name].default))
        for name in ("swagger_js_url", "swagger_css_url", "swagger_favicon_url")
    )
    # The page starts its script inline, without a nonce.
    return (
        f"default-src 'none'; script-src 'unsafe-inline' {script}; style-src 'unsafe-inline' {style}; "
        f"img-src 'self' data: {icon}; connect-src 'self'; base-uri 'none'; frame-ancestors 'none'"
    )


def document(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI document of an application's routes, with problems under their own media type."""
    schema = get_openapi(title=app.title, version=app.version, description=_DESCRIPTION, routes=app.routes)
    operations = chain.from_iterable(methods.values() for methods in schema["paths"].values())
    for response in chain.from_iterable(operation["responses"].values() for operation in operations):
        content = response.get("content", {})
        if content.get("application/json", {}).get("schema", {}).get("$ref") == _PROBLEM_REF:
            content[MEDIA_TYPE] = content.pop("application/json")
    return schema
