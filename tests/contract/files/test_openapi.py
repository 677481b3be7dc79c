"""`docs/openapi.json`: true to the contract's paths, problems and bounds."""

import json
import re
from typing import Any

import pytest

from backend.app.contracts.errors import STATUS, Code
from backend.app.reference import openapi

DOCUMENT: dict[str, Any] = json.loads(openapi())
OPERATIONS = [
    (method.upper(), path, operation)
    for path, operations in DOCUMENT["paths"].items()
    for method, operation in operations.items()
]
NAMES = [f"{method} {path}" for method, path, _ in OPERATIONS]
CONTRACT = {
    "POST /api/auth/register", "POST /api/auth/login", "POST /api/auth/logout", "GET /api/auth/me",
    "GET /api/claims", "POST /api/claims", "GET /api/claims/{claim_id}",
    "POST /api/claims/{claim_id}/validations", "GET /api/claims/{claim_id}/validations",
    "GET /api/notifications", "GET /api/notifications/unread-count",
    "POST /api/notifications/{notification_id}/read", "POST /api/notifications/read-all",
    "GET /api/users/{user_id}", "GET /api/leaderboard", "GET /api/badges",
    "GET /", "GET /healthz", "GET /readyz", "GET /metrics", "GET /asyncapi.yaml",
}  # fmt: skip


def test_the_routes_are_those_of_the_contract() -> None:
    assert set(NAMES) == CONTRACT


def test_operation_ids_are_unique() -> None:
    ids = [operation["operationId"] for _, _, operation in OPERATIONS]
    assert len(set(ids)) == len(ids)


PROBLEMS = [
    pytest.param(int(status), answer, id=f"{method} {path} {status}")
    for method, path, operation in OPERATIONS
    for status, answer in operation["responses"].items()
    if status >= "400" and path != "/readyz"  # its 503 is the same report as its 200
]


@pytest.mark.parametrize(("status", "answer"), PROBLEMS)
def test_every_error_is_a_problem(status: int, answer: dict[str, Any]) -> None:
    assert list(answer["content"]) == ["application/problem+json"]


@pytest.mark.parametrize(("status", "answer"), PROBLEMS)
def test_every_error_names_codes_of_its_status(status: int, answer: dict[str, Any]) -> None:
    codes = re.findall(r"`(\w+)`", answer["description"])
    assert {STATUS[Code(code)] for code in codes} == {status}


@pytest.mark.parametrize(("method", "path", "operation"), OPERATIONS, ids=NAMES)
def test_every_route_says_what_it_does(method: str, path: str, operation: dict[str, Any]) -> None:
    assert operation["description"].endswith(".")


@pytest.mark.parametrize("path", ["/api/claims", "/api/claims/{claim_id}/validations", "/api/leaderboard"])
def test_lists_are_bounded(path: str) -> None:
    parameters = DOCUMENT["paths"][path]["get"]["parameters"]
    limit = next(item["schema"] for item in parameters if item["name"] == "limit")
    assert (limit["minimum"], limit["maximum"], limit["default"]) == (1, 100, 20)


def test_notification_pages_are_bounded() -> None:
    parameters = DOCUMENT["paths"]["/api/notifications"]["get"]["parameters"]
    limit = next(item["schema"] for item in parameters if item["name"] == "limit")
    assert (limit["minimum"], limit["maximum"], limit["default"]) == (1, 500, 20)


@pytest.mark.parametrize(("method", "path", "operation"), OPERATIONS, ids=NAMES)
def test_private_routes_ask_for_a_token(method: str, path: str, operation: dict[str, Any]) -> None:
    private = "401" in operation["responses"] and path != "/api/auth/login"
    assert ("security" in operation) == private
