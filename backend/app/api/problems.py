"""Errors to HTTP, in one table: every refusal leaves as an RFC 9457 problem document with a stable code.

Knows our own errors, those of the framework and those of request validation. What nobody expected becomes a
500 that says nothing but the request id.
"""

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.responses import Response

from ..contracts.errors import STATUS, Code
from ..contracts.rest import FieldProblem, Problem
from ..errors import UnavailableError, VouchstormError
from ..observability.logs import request_id

MEDIA_TYPE = "application/problem+json"
DEFAULT_RETRY_AFTER_S = 1

_log = logging.getLogger(__name__)

_CODE_OF_STATUS = {
    401: Code.NOT_AUTHENTICATED,
    403: Code.FORBIDDEN,
    404: Code.NOT_FOUND,
    405: Code.METHOD_NOT_ALLOWED,
    413: Code.BODY_TOO_LARGE,
    429: Code.RATE_LIMITED,
    503: Code.STORE_UNAVAILABLE,
}
_SENTENCES = {
    Code.NOT_AUTHENTICATED: "This needs a token: log in and send `Authorization: Bearer <token>`.",
    Code.NOT_FOUND: "There is nothing at this address.",
    Code.METHOD_NOT_ALLOWED: "This address does not know that method.",
    Code.BODY_TOO_LARGE: "The request body is too large.",
    Code.INVALID_INPUT: "The request could not be read.",
    Code.INTERNAL: "Something went wrong on our side; tell us the request id if it stays.",
}


def problem_response(
    code: Code,
    detail: str | None = None,
    *,
    errors: Sequence[FieldProblem] = (),
    headers: Mapping[str, str] | None = None,
    retry_after_s: int = DEFAULT_RETRY_AFTER_S,
) -> Response:
    """The problem document of a code, with the headers that its status asks for."""
    status = STATUS[code]
    current = request_id.get()
    problem = Problem.of(
        code.value,
        status,
        detail or _SENTENCES.get(code),
        instance=None if current is None else f"urn:vouchstorm:request:{current}",
        errors=list(errors) or None,
    )
    return Response(
        problem.model_dump_json(exclude_none=True),
        status,
        {**(headers or {}), **_headers_of(code, status, retry_after_s)},
        MEDIA_TYPE,
    )


def _headers_of(code: Code, status: int, retry_after_s: int) -> dict[str, str]:
    if status in (429, 503):
        return {"Retry-After": str(retry_after_s)}
    if status != 401:
        return {}
    if code in (Code.INVALID_TOKEN, Code.TOKEN_EXPIRED, Code.TOKEN_REVOKED):
        # RFC 6750: the three are one error to OAuth clients; ours read `code`.
        return {"WWW-Authenticate": 'Bearer error="invalid_token"'}
    return {"WWW-Authenticate": "Bearer"}


def documented(*codes: Code, replays: type[BaseModel] | None = None) -> dict[int | str, dict[str, Any]]:
    """`responses=` of a route: its problems by status, each naming its codes; any may be refused as too many.

    replays: what a route that honours idempotency keys answers with 200 to a repeated request.
    """
    by_status: dict[int, list[str]] = {}
    for code in (*codes, Code.RATE_LIMITED):
        by_status.setdefault(STATUS[code], []).append(f"`{code.value}`")
    responses: dict[int | str, dict[str, Any]] = {
        status: {"model": Problem, "description": "Problem: " + ", ".join(names)}
        for status, names in sorted(by_status.items())
    }
    if replays is not None:
        responses[200] = {"model": replays, "description": "Made by an earlier request with the same key"}
    return responses


async def _of_ours(request: Request, error: Exception) -> Response:
    assert isinstance(error, VouchstormError)  # noqa: S101 - registered for this class only
    if STATUS[error.code] >= 500:
        _log.warning("%s: %s", error.code.value, error, exc_info=error)
    if error.code is Code.INTERNAL:
        return problem_response(Code.INTERNAL)
    retry_after_s = error.retry_after_s if isinstance(error, UnavailableError) else DEFAULT_RETRY_AFTER_S
    return problem_response(error.code, str(error), retry_after_s=retry_after_s)


async def _of_validation(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - registered for this class only
    errors = [_field_problem(item) for item in error.errors()]
    sentence = "; ".join(f"{item.field}: {item.message}" for item in errors[:3])
    return problem_response(Code.INVALID_INPUT, f"The request is not valid: {sentence}.", errors=errors)


async def _of_framework(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for this class only
    fallback = Code.INVALID_INPUT if error.status_code < 500 else Code.INTERNAL
    headers = dict(error.headers or {})
    if error.status_code == 405:
        path = getattr(request.scope.get("route"), "path", None)
        headers["Allow"] = request.app.state.allowed_methods.get(path, headers.get("Allow", ""))
    return problem_response(_CODE_OF_STATUS.get(error.status_code, fallback), headers=headers)


def _field_problem(item: Mapping[str, Any]) -> FieldProblem:
    """One pydantic error without the input it complains about, which may hold a password."""
    where, *path = item["loc"]
    if item["type"] == "json_invalid":
        return FieldProblem(field="body", message="must be valid JSON")
    message = _sentence(item["type"], item.get("ctx", {})) or str(item["msg"]).removeprefix("Value error, ")
    return FieldProblem(field=".".join(str(part) for part in path) or str(where), message=message)


def _sentence(kind: str, facts: Mapping[str, Any]) -> str | None:
    """Ours, where pydantic speaks of items although people typed characters."""
    if facts.get("field_type") == "Value" and kind == "too_short":
        return f"must have at least {facts['min_length']} characters"
    if facts.get("field_type") == "Value" and kind == "too_long":
        return f"must have at most {facts['max_length']} characters"
    return None


def add_problem_handlers(app: FastAPI, routes: Iterable[APIRoute]) -> None:
    """Answer every expected error of this application with a problem document.

    routes: where `Allow` comes from: the framework names only the methods of the first route of a path.
    """
    methods: dict[str, set[str]] = {}
    for route in routes:
        methods.setdefault(route.path, set()).update(route.methods or ())
    app.state.allowed_methods = {path: ", ".join(sorted(known)) for path, known in methods.items()}
    app.add_exception_handler(VouchstormError, _of_ours)
    app.add_exception_handler(RequestValidationError, _of_validation)
    app.add_exception_handler(HTTPException, _of_framework)
