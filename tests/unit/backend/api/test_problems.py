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


def add_failing(world: World, error: Exception) -> None:
    async def fail(request: Request) -> None:
        raise error

    world.app.add_api_route("/fail", fail)


async def failed(world: World, error: Exception) -> httpx.Response:
    add_failing(world, error)
    return await world.client.get("/fail")


def test_every_code_has_a_status() -> None:
    assert set(STATUS) == set(Code)


@pytest.mark.parametrize("code", Code)
def test_every_code_makes_a_valid_problem(code: Code) -> None:
    response = problem_response(code)
    problem = Problem.model_validate_json(bytes(response.body))
    assert (problem.status, problem.code) == (response.status_code, code)


@pytest.mark.parametrize("code", Code)
def test_every_problem_has_a_sentence(code: Code) -> None:
    problem = Problem.model_validate_json(bytes(problem_response(code).body))
    assert problem.detail.endswith(".")


async def test_problems_have_their_media_type(world: World) -> None:
    assert (await world.client.get("/nothing")).headers["content-type"] == "application/problem+json"


async def test_a_problem_names_its_occurrence(world: World) -> None:
    answer = await world.client.get("/nothing", headers={"X-Request-ID": "r-7"})
    assert answer.json()["instance"] == "urn:vouchstorm:request:r-7"


async def test_an_unknown_address_is_a_problem(world: World) -> None:
    answer = await world.client.get("/api/nothing")
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


async def test_a_trailing_slash_is_another_address(world: World) -> None:
    assert (await world.client.get("/api/claims/")).status_code == 404


async def test_a_wrong_method_is_a_problem(world: World) -> None:
    answer = await world.client.delete("/api/claims")
    assert (answer.status_code, answer.json()["code"]) == (405, "method_not_allowed")


async def test_a_wrong_method_tells_the_right_ones(world: World) -> None:
    answer = await world.client.put("/api/claims")
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


async def test_an_unavailable_store_is_a_503_that_says_when_to_come_back(world: World) -> None:
    answer = await failed(world, UnavailableError("The store does not answer.", retry_after_s=7))
    assert (answer.status_code, answer.json()["code"]) == (503, "store_unavailable")
    assert answer.headers["retry-after"] == "7"


async def test_too_many_requests_say_when_to_come_back(world: World) -> None:
    answer = await failed(world, UnavailableError("Slowly.", Code.RATE_LIMITED, retry_after_s=2))
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "2")


async def test_a_refusal_tells_its_sentence(world: World) -> None:
    answer = await failed(world, RefusedError("That is taken.", Code.USERNAME_TAKEN))
    assert answer.json()["detail"] == "That is taken."


@pytest.mark.parametrize(
    "error", [RuntimeError("a secret"), SetupError("a secret"), VouchstormError("a secret")]
)
async def test_what_nobody_expected_tells_no_detail(world: World, error: Exception) -> None:
    answer = await failed(world, error)
    assert (answer.status_code, answer.json()["code"]) == (500, "internal")
    assert "secret" not in answer.text


async def test_what_nobody_expected_is_logged(world: World, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        await failed(world, RuntimeError("the cause"))
    assert "the cause" in caplog.text


async def test_what_nobody_expected_still_carries_its_request_id(world: World) -> None:
    add_failing(world, RuntimeError("x"))
    answer = await world.client.get("/fail", headers={"X-Request-ID": "r-7"})
    assert answer.headers["x-request-id"] == "r-7"
