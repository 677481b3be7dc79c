"""`docs/openapi.json`: not drifted, and true to the contract's paths, problems and bounds."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from backend.app.api import openapi
from backend.app.contracts.errors import STATUS, Code

ROOT = Path(__file__).resolve().parents[3]
DOCUMENT: dict[str, Any] = json.loads(openapi.render())
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


def test_the_committed_file_has_not_drifted() -> None:
    assert (ROOT / openapi.OPENAPI_FILE).read_text(encoding="utf-8") == openapi.render()


def test_checking_an_unchanged_file_succeeds() -> None:
    assert openapi.main(["--check"]) == 0


def test_checking_a_drifted_file_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / openapi.OPENAPI_FILE).write_text("{}")
    monkeypatch.setattr(openapi, "_ROOT", tmp_path)
    assert openapi.main(["--check"]) == 1


def test_writing_makes_the_check_succeed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "docs").mkdir()
    monkeypatch.setattr(openapi, "_ROOT", tmp_path)
    openapi.main([])
    assert openapi.main(["--check"]) == 0


def test_an_unknown_argument_is_a_usage_error() -> None:
    assert openapi.main(["--chekc"]) == 2


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
