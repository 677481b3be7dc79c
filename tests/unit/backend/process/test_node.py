"""What a node says to a client that it does not wait for: a whole answer, like its other problems."""

from backend.app.contracts.rest import Problem
from backend.app.process.node import HEAD_TOO_LARGE


def test_a_head_that_is_too_large_is_answered_with_a_whole_problem() -> None:
    head, _, body = HEAD_TOO_LARGE.partition(b"\r\n\r\n")
    status_line, *lines = head.decode("ascii").lower().split("\r\n")
    headers = dict(line.split(": ") for line in lines)
    problem = Problem.model_validate_json(body)
    assert status_line.startswith("http/1.1 431 ")
    assert (problem.status, problem.code) == (431, "head_too_large")
    assert headers["content-type"] == "application/problem+json"
    assert int(headers["content-length"]) == len(body)
