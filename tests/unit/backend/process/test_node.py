"""What a node says to a client that it does not wait for: whole answers, readable like its other problems."""

import pytest

from backend.app.contracts.rest import Problem
from backend.app.process.node import REFUSALS


def parts(status: int) -> tuple[dict[str, str], bytes]:
    """The headers, names in small letters, and the body."""
    head, _, body = REFUSALS[status].partition(b"\r\n\r\n")
    lines = head.decode("ascii").split("\r\n")[1:]
    return {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}, body


@pytest.mark.parametrize("status", REFUSALS)
def test_the_declared_length_is_that_of_the_body(status: int) -> None:
    headers, body = parts(status)
    assert int(headers["content-length"]) == len(body)


@pytest.mark.parametrize("status", REFUSALS)
def test_the_body_is_a_problem_of_the_same_status(status: int) -> None:
    headers, body = parts(status)
    problem = Problem.model_validate_json(body)
    assert (headers["content-type"], problem.status) == ("application/problem+json", status)


@pytest.mark.parametrize("status", REFUSALS)
def test_the_status_line_says_the_status(status: int) -> None:
    assert REFUSALS[status].startswith(f"HTTP/1.1 {status} ".encode())


def test_a_head_that_is_too_large_has_a_code_of_its_own() -> None:
    assert Problem.model_validate_json(parts(431)[1]).code == "head_too_large"
