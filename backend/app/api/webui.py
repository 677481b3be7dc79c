"""`/app/`: the built web UI, or a page that says how to build it.

Serves only regular files inside one directory (symbolic links that lead out are refused); addresses that
look like pages get `index.html`, because the browser routes them. Hashed assets are immutable, everything
else is asked for again each time.
"""

import re
from pathlib import Path

from fastapi import APIRouter, Request
from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.staticfiles import StaticFiles

from ..settings import Settings

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; font-src 'self'; manifest-src 'self'; base-uri 'none'; "
    "form-action 'self'; frame-ancestors 'none'"
)
_INDEX = "index.html"
_HASHED = re.compile(r"assets/.+-[A-Za-z0-9_-]{8,}\.[a-z0-9.]+")
_IMMUTABLE = "public, max-age=31536000, immutable"
_REVALIDATE = "no-cache"

_PACKAGE_DIR = Path(__file__).parent.parent
_PLACES = (_PACKAGE_DIR / "static", _PACKAGE_DIR.parent.parent / "frontend" / "dist")

_NOT_BUILT = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Vouchstorm</title></head><body>
<h1>The web UI is not built yet</h1>
<p>The service itself runs: see <a href="/docs">/docs</a>. To build the web UI, run this in the repository
and start the service again:</p>
<pre>make setup</pre>
<p>or, for the web UI alone:</p>
<pre>cd frontend &amp;&amp; npm ci &amp;&amp; npm run build</pre>
</body></html>
"""


def find_web_ui(settings: Settings) -> Path | None:
    """The directory of the built web UI: as set, the package's own, or the repository's; None: not built."""
    places = _PLACES if settings.static_dir is None else (settings.static_dir,)
    return next((place for place in places if (place / _INDEX).is_file()), None)


def web_ui_router(directory: Path | None) -> APIRouter:
    """Routes for `/app`; directory None answers with the page on how to build it."""
    router = APIRouter(include_in_schema=False)
    files = None if directory is None else StaticFiles(directory=directory)

    async def redirect() -> Response:
        return RedirectResponse("/app/", 308)

    async def serve(request: Request, path: str) -> Response:
        response = HTMLResponse(_NOT_BUILT) if files is None else await _file(files, path, request)
        response.headers["Content-Security-Policy"] = CONTENT_SECURITY_POLICY
        response.headers.setdefault("Cache-Control", _REVALIDATE)
        return response

    router.add_api_route("/app", redirect, methods=["GET", "HEAD"])
    router.add_api_route("/app/{path:path}", serve, methods=["GET", "HEAD"])
    return router


async def _file(files: StaticFiles, path: str, request: Request) -> Response:
    if _is_page(path):
        return await files.get_response(_INDEX, request.scope)
    response = await files.get_response(path, request.scope)
    if _HASHED.fullmatch(path):
        response.headers["Cache-Control"] = _IMMUTABLE
    return response


def _is_page(path: str) -> bool:
    """Whether the browser routes this address: its last part is no file name."""
    if "\\" in path or ".." in path.split("/"):
        raise HTTPException(404)
    return "." not in path.rsplit("/", 1)[-1]
