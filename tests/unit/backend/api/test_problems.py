"""Every error is an RFC 9457 problem document with a stable code."""

import logging
from typing import Any

import httpx
import pytest
from fastapi import Request

from backend.app.api.problems import problem_response
from backend.app.contracts.errors import STATUS, Code
from backend.app.contracts.rest import Problem
from backend.app.errors import RefusedError, SetupError, UnavailableError, VouchstormError
from tests.support.backend.rest_app import Person, World


async def failed(world: World, error: Exception) -> httpx.Response:
    """The answer of a route that raises."""

    async def fail(request: Request) -> None:
        raise error

    world.app.add_api_route("/fail", fail)
    return await world.client.get("/fail", headers={"X-Request-ID": "r-7"})


def test_every_code_has_a_status() -> None:
    assert set(STATUS) == set(Code)


@pytest.mark.parametrize("code", Code)
def test_every_code_makes_a_valid_problem_with_a_sentence(code: Code) -> None:
    response = problem_response(code)
    problem = Problem.model_validate_json(bytes(response.body))
    assert (problem.status, problem.code) == (response.status_code, code)
    assert problem.detail.endswith(".")


async def test_an_unknown_address_is_a_problem_that_names_its_occurrence(world: World) -> None:
    answer = await world.client.get("/api/nothing", headers={"X-Request-ID": "r-7"})
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["instance"] == "urn:vouchstorm:request:r-7"


async def test_a_trailing_slash_is_another_address(world: World) -> None:
    assert (await world.client.get("/api/claims/")).status_code == 404


async def test_a_wrong_method_is_a_problem_that_tells_the_right_ones(world: World) -> None:
    answer = await world.client.put("/api/claims")
    assert (answer.status_code, answer.json()["code"]) == (405, "method_not_allowed")
    assert answer.headers["allow"] == "GET, POST"


@pytest.mark.parametrize(
    "content",
    [
        b"{",
        b"",
        b"\xff\xfe",
        b"nul",
        b'{"username": "\xc3\x28"}',
        b"[" * 5_000,
        b'{"a": 1' + b"0" * 5000 + b"}",
    ],
    ids=["cut", "empty", "binary", "word", "broken utf-8", "deep", "huge number"],
)
async def test_malformed_json_is_refused(world: World, content: bytes) -> None:
    answer = await world.client.post(
        "/api/auth/login", content=content, headers={"Content-Type": "application/json"}
    )
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_input")


async def test_cut_json_names_the_body(world: World) -> None:
    answer = await world.client.post(
        "/api/auth/login", content=b"{", headers={"Content-Type": "application/json"}
    )
    assert answer.json()["errors"] == [{"field": "body", "message": "must be valid JSON"}]


@pytest.mark.parametrize("body", [[], "text", 7, None])
async def test_json_that_is_no_object_is_refused(world: World, body: Any) -> None:
    answer = await world.client.post("/api/auth/login", json=body)
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "body")


async def test_a_body_of_another_type_is_refused(world: World) -> None:
    answer = await world.client.post("/api/auth/login", data={"username": "anna", "password": "x"})
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_input")


async def test_lone_surrogates_are_refused(world: World, anna: Person) -> None:
    content = b'{"title": "A title \\ud800"}'
    answer = await world.client.post(
        "/api/claims", content=content, headers=anna.auth | {"Content-Type": "application/json"}
    )
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "title")


async def test_every_bad_field_is_named_at_once(world: World) -> None:
    answer = await world.client.post("/api/auth/register", json={"username": "x", "password": "y"})
    assert [error["field"] for error in answer.json()["errors"]] == ["username", "password"]


async def test_input_is_not_repeated_in_the_answer(world: World) -> None:
    answer = await world.client.post("/api/auth/register", json={"username": "anna", "password": "hunter2"})
    assert "hunter2" not in answer.text


async def test_lengths_are_told_in_characters(world: World, anna: Person) -> None:
    answer = await world.client.post("/api/claims", json={"title": "x"}, headers=anna.auth)
    assert answer.json()["detail"] == "The request is not valid: title: must have at least 3 characters."


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (UnavailableError("No answer.", retry_after_s=7), 503, "store_unavailable"),
        (UnavailableError("Slowly.", Code.RATE_LIMITED, retry_after_s=7), 429, "rate_limited"),
    ],
)
async def test_what_is_worth_another_try_says_when_to_come_back(
    world: World, error: Exception, status: int, code: str
) -> None:
    answer = await failed(world, error)
    assert (answer.status_code, answer.json()["code"], answer.headers["retry-after"]) == (status, code, "7")


async def test_a_refusal_tells_its_sentence(world: World) -> None:
    answer = await failed(world, RefusedError("That is taken.", Code.USERNAME_TAKEN))
    assert answer.json()["detail"] == "That is taken."


@pytest.mark.parametrize(
    "error", [RuntimeError("a secret"), SetupError("a secret"), VouchstormError("a secret")]
)
async def test_what_nobody_expected_is_logged_and_tells_nothing_but_the_request_id(
    world: World, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        answer = await failed(world, error)
    assert (answer.status_code, answer.json()["code"]) == (500, "internal")
    assert "secret" not in answer.text
    assert answer.headers["x-request-id"] == "r-7"
    assert "a secret" in caplog.text
