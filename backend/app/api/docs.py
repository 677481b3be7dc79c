"""`/docs` and `/openapi.json`: the REST room described, for people and for generators.

The page is FastAPI's own, which loads its script and style from another origin; its policy names exactly the
origins that this version of FastAPI uses.
"""

import inspect
from functools import cache
from urllib.parse import urlsplit

from fastapi import APIRouter, Request
from fastapi.openapi.docs import get_swagger_ui_html
from starlette.responses import JSONResponse, Response

router = APIRouter(include_in_schema=False)

OPENAPI_PATH = "/openapi.json"


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
