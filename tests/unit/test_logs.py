"""Logging: what a line holds, and what it must never hold."""

import io
import json
import logging
from collections.abc import Iterator

import pytest

from backend.app.logs import JsonFormatter, PrettyFormatter, configure_logging, redact, request_id

TOKEN = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ1MSJ9.c2lnbmF0dXJl"


def record(message: str, **facts: object) -> logging.LogRecord:
    made = logging.LogRecord("vouch", logging.INFO, __file__, 1, message, (), None)
    vars(made).update(facts)
    return made


@pytest.fixture
def root_logger() -> Iterator[logging.Logger]:
    root = logging.getLogger()
    names = ("", "uvicorn.access", "socketio", "engineio", "pymongo", "websockets", "asyncio")
    before = [(logging.getLogger(name), logging.getLogger(name).level) for name in names]
    handlers = list(root.handlers)
    yield root
    root.handlers[:] = handlers
    for logger, level in before:
        logger.setLevel(level)


def test_tokens_are_taken_out() -> None:
    assert redact(f"got {TOKEN} from a client") == "got [token] from a client"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ('"GET /ws/socket.io/?EIO=4&token=abc HTTP/1.1" 200', '"GET /ws/socket.io/ HTTP/1.1" 200'),
        ("/api/claims?cursor=x", "/api/claims"),
        ("is it well? yes", "is it well? yes"),
    ],
)
def test_query_strings_are_taken_out(line: str, expected: str) -> None:
    assert redact(line) == expected


def test_a_pretty_line_ends_with_its_facts() -> None:
    line = PrettyFormatter().format(record("stored", claim_id="c1"))
    assert line.endswith("info    vouch: stored claim_id=c1")


def test_a_json_line_holds_its_facts() -> None:
    entry = json.loads(JsonFormatter("n1").format(record("stored", claim_id="c1")))
    assert (entry["message"], entry["claim_id"], entry["node"]) == ("stored", "c1", "n1")


def test_facts_are_redacted_too() -> None:
    entry = json.loads(JsonFormatter("n1").format(record("refused", token=TOKEN)))
    assert entry["token"] == "[token]"


def test_a_line_names_the_request_it_belongs_to() -> None:
    token = request_id.set("r1")
    try:
        assert json.loads(JsonFormatter("n1").format(record("stored")))["request_id"] == "r1"
    finally:
        request_id.reset(token)


def test_a_traceback_stays_inside_one_json_line() -> None:
    try:
        raise ValueError(TOKEN)
    except ValueError as error:
        made = record("failed")
        made.exc_info = (type(error), error, error.__traceback__)
    line = JsonFormatter("n1").format(made)
    assert "\n" not in line
    assert TOKEN not in line


def test_configuring_twice_writes_each_line_once(root_logger: logging.Logger) -> None:
    stream = io.StringIO()
    for _ in range(2):
        configure_logging("info", "pretty", "n1", stream)
    logging.getLogger("vouch").info("once")
    assert stream.getvalue().count("once") == 1


def test_chatty_libraries_are_quiet_at_info(root_logger: logging.Logger) -> None:
    stream = io.StringIO()
    configure_logging("info", "pretty", "n1", stream)
    logging.getLogger("uvicorn.access").info("GET /")
    assert stream.getvalue() == ""
