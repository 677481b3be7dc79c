"""The OpenAPI document of the routes, corrected where the framework cannot say what we do.

Pure. Called by `router.Api` for `/docs` and by `openapi.py` for the committed file.
"""

from collections.abc import Iterator
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from .problems import MEDIA_TYPE

_PROBLEM_REF = "#/components/schemas/Problem"
_DESCRIPTION = """\
Claims, validations, consensus, notifications. Errors are RFC 9457 problem documents with a stable `code`.
Live events travel over Socket.IO: see [`/asyncapi.yaml`](/asyncapi.yaml).
"""


def document(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI document of an application's routes, with problems under their own media type."""
    schema = get_openapi(title=app.title, version=app.version, description=_DESCRIPTION, routes=app.routes)
    for response in _responses(schema):
        content = response.get("content", {})
        if content.get("application/json", {}).get("schema", {}).get("$ref") == _PROBLEM_REF:
            content[MEDIA_TYPE] = content.pop("application/json")
    return schema


def _responses(schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for operations in schema["paths"].values():
        for operation in operations.values():
            yield from operation["responses"].values()
