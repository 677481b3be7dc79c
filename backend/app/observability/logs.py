"""Logging of a node: one handler, two formats, and what must never be written.

Query strings and anything that looks like a token are taken out before a line is written, whoever logged it.
The same line again and again is left out and counted: what strangers send must not fill the disk.
Configured once, by the composition root or the command line.
"""

import json
import logging
import re
import sys
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, Literal, TextIO

request_id: ContextVar[str | None] = ContextVar("request_id", default=None)
"""Id of the HTTP request that the current task answers."""

MAX_CHARS = 32_768
"""What is longer is cut: some of it may have been sent by a stranger."""
# Both are linear in the text, however it was made: it is read on the event loop.
_TOKEN = re.compile(r"\beyJ[\w-]{4,256}\.[\w-]+\.[\w-]+")
_WORD = re.compile(r"[^\s\"']+")
_STANDARD_FIELDS = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_CHATTY_LOGGERS = (
    "uvicorn.access",
    "uvicorn.error",
    "pymongo",
    "websockets",
    "asyncio",
)
_PROTOCOL_LOGGERS = ("socketio", "engineio")
"""Their warnings are about what clients send: any client could fill the log."""


def redact(text: str) -> str:
    """The text without query strings and tokens, cut to `MAX_CHARS`."""
    return _WORD.sub(_without_query, _TOKEN.sub("[token]", text[:MAX_CHARS]))


def _without_query(match: re.Match[str]) -> str:
    word = match[0]
    slash = word.find("/")
    mark = word.find("?", slash) if slash >= 0 else -1
    return word if mark < 0 else word[:mark]


class PrettyFormatter(logging.Formatter):
    """One line per record for people: time, level, logger, sentence, facts."""

    def format(self, record: logging.LogRecord) -> str:
        time = datetime.fromtimestamp(record.created, UTC).strftime("%H:%M:%S.%f")[:-3]
        facts = "".join(f" {name}={value}" for name, value in _facts(record).items())
        line = f"{time} {record.levelname.lower():<7} {record.name}: {record.getMessage()}{facts}"
        if record.exc_info:
            line += "\n" + self.formatException(record.exc_info)
        return redact(line)


class JsonFormatter(logging.Formatter):
    """One JSON object per line for log collectors."""

    def __init__(self, node: str) -> None:
        super().__init__()
        self._node = node

    def format(self, record: logging.LogRecord) -> str:
        entry: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "node": self._node,
            "message": redact(record.getMessage()),
        }
        entry |= {name: redact(str(value)) for name, value in _facts(record).items()}
        if record.exc_info:
            entry["exception"] = redact(self.formatException(record.exc_info))
        return json.dumps(entry, ensure_ascii=False)


class Seldom(logging.Filter):
    """Lets a message of a logger through `TIMES` in `PERIOD_S` seconds, then says how many were left out.

    Messages are the same when they are before their arguments are put in; `debug` is let through.
    """

    TIMES = 50
    PERIOD_S = 10.0
    MAX_MESSAGES = 1_000

    def __init__(self) -> None:
        super().__init__()
        self._seen: dict[tuple[str, str], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno <= logging.DEBUG:
            return True
        key = (record.name, str(record.msg))
        since_s, times = self._seen.get(key, (record.created, 0))
        if record.created - since_s >= self.PERIOD_S:
            if times > self.TIMES:
                record.left_out = times - self.TIMES
            since_s, times = record.created, 0
        if len(self._seen) >= self.MAX_MESSAGES:
            self._seen.clear()
        self._seen[key] = (since_s, times + 1)
        return times < self.TIMES


def _facts(record: logging.LogRecord) -> dict[str, object]:
    """What the caller passed as `extra`, and the request it happened in."""
    facts = {name: value for name, value in vars(record).items() if name not in _STANDARD_FIELDS}
    current = request_id.get()
    return facts if current is None else {"request_id": current, **facts}


def configure_logging(
    level: str, form: Literal["pretty", "json"], node: str, stream: TextIO | None = None
) -> None:
    """Send all logging of this process to one stream (None: standard error), replacing earlier handlers."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter(node) if form == "json" else PrettyFormatter())
    handler.addFilter(Seldom())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    # These say at `info` what metrics say better, or what we log ourselves.
    for name in _CHATTY_LOGGERS:
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))
    for name in _PROTOCOL_LOGGERS:
        logging.getLogger(name).setLevel(max(logging.ERROR, root.level))
