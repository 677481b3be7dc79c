"""Logging: what a line holds, and what it must never hold."""

import io
import json
import logging
import timeit
from collections.abc import Iterator

import pytest

from backend.app.observability.logs import (
    MAX_CHARS,
    JsonFormatter,
    PrettyFormatter,
    Seldom,
    configure_logging,
    redact,
    request_id,
)

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


def at(second: float, message: str = "somebody sent %s", level: int = logging.WARNING) -> logging.LogRecord:
    made = logging.LogRecord("vouch", level, __file__, 1, message, ("nonsense",), None)
    made.created = second
    return made


def test_the_same_line_again_and_again_is_left_out() -> None:
    seldom = Seldom()
    assert sum(seldom.filter(at(0)) for _ in range(1_000)) == Seldom.TIMES


def test_other_lines_are_written_meanwhile() -> None:
    seldom = Seldom()
    for _ in range(1_000):
        seldom.filter(at(0))
    assert seldom.filter(at(0, "something else"))


def test_after_a_while_the_line_says_how_many_were_left_out() -> None:
    seldom = Seldom()
    for _ in range(Seldom.TIMES + 7):
        seldom.filter(at(0))
    again = at(Seldom.PERIOD_S)
    assert seldom.filter(again)
    assert vars(again)["left_out"] == 7


def test_debug_lines_are_all_written() -> None:
    seldom = Seldom()
    assert all(seldom.filter(at(0, level=logging.DEBUG)) for _ in range(1_000))


def test_what_is_remembered_of_lines_is_bounded() -> None:
    seldom = Seldom()
    for number in range(5 * Seldom.MAX_MESSAGES):
        seldom.filter(at(0, f"line {number}"))
    assert len(seldom._seen) <= Seldom.MAX_MESSAGES


@pytest.mark.parametrize("part", ["/", "eyJ-", "eyJabcd.", "?", "/?", "a/?'", "eyJaaaa.b.", "x"])
def test_no_text_takes_long_to_clean(part: str) -> None:
    def costs(text: str) -> float:
        return min(timeit.repeat(lambda: redact(text[:MAX_CHARS]), number=1, repeat=3))

    harmless = "some words and /a/path and more " * MAX_CHARS
    # A pattern that goes back and forth needs ten thousand times as long.
    assert costs(part * MAX_CHARS) < 1_000 * costs(harmless)


def test_a_line_is_not_longer_than_the_bound() -> None:
    assert len(redact("x" * 100_000)) == MAX_CHARS
