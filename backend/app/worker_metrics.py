"""One `/metrics` for all workers: each serves its own page on a private loopback port, and whichever worker
is asked fetches the others' and merges them.

A worker that does not answer in time is left out and counted. Called by `worker.py`; the merging itself is
`aggregate.py`.
"""

import asyncio
import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from .aggregate import GroupFacts, group_page, merge
from .observability.metrics import CONTENT_TYPE

LOOPBACK = "127.0.0.1"
FETCH_TIMEOUT_S = 1.0
"""Well below the scrape timeout of Prometheus."""
MAX_PAGE_BYTES = 16 * 1024 * 1024

Render = Callable[[], bytes]


@dataclass(frozen=True, slots=True)
class Group:
    """The living workers: slot -> port of its private page; and what the supervisor counted."""

    ports: Mapping[str, int] = field(default_factory=dict)
    facts: GroupFacts = field(default_factory=GroupFacts)


def news(group: Group) -> str:
    """The line that tells a worker about its group."""
    facts = {"workers": group.facts.workers, "restarts": group.facts.restarts}
    return json.dumps({"ports": dict(group.ports), **facts}) + "\n"


def parse_news(line: str) -> Group:
    """The inverse of `news`."""
    said = json.loads(line)
    return Group(said["ports"], GroupFacts(said["workers"], said["restarts"]))


class PrivatePage:
    """This worker's own metrics on 127.0.0.1, port chosen by the system.

    A thread answers, so that the page is served even while the event loop is busy.
    """

    def __init__(self, render: Render) -> None:
        self._server = ThreadingHTTPServer((LOOPBACK, 0), _handler(render))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, name="metrics", daemon=True)

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _handler(render: Render) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = 5.0

        def do_GET(self) -> None:  # the name is the base class's
            page = render()
            self.send_response(200)
            self.send_header("Content-Type", CONTENT_TYPE)
            self.send_header("Content-Length", str(len(page)))
            self.end_headers()
            self.wfile.write(page)

        def log_message(self, format: str, *args: object) -> None:
            """Scrapes are not logged."""

    return Handler


async def fetch(port: int) -> str:
    """The page of one worker. Raises OSError, ValueError; takes as long as it takes."""
    reader, writer = await asyncio.open_connection(LOOPBACK, port)
    try:
        writer.write(b"GET / HTTP/1.0\r\n\r\n")
        await writer.drain()
        answer = await reader.read(MAX_PAGE_BYTES)
        while more := await reader.read(MAX_PAGE_BYTES - len(answer)):
            answer += more
    finally:
        writer.close()
    head, separator, page = answer.partition(b"\r\n\r\n")
    if not separator or b" 200 " not in head.split(b"\r\n", 1)[0]:
        raise ValueError(f"the worker's page on port {port} is no answer")
    return page.decode()


async def collect(slot: str, own: str, group: Group, timeout_s: float = FETCH_TIMEOUT_S) -> str:
    """The pages of all workers as one.

    slot, own: name and page of the worker that was asked.
    """
    others = [name for name in group.ports if name != slot]
    answers = await asyncio.gather(*(_try_fetch(group.ports[name], timeout_s) for name in others))
    pages = {slot: own} | {name: page for name, page in zip(others, answers, strict=True) if page is not None}
    missing = max(len(others) + 1, group.facts.workers) - len(pages)
    ordered = dict(sorted(pages.items()))
    return merge(ordered) + group_page(group.facts, len(pages), missing)


async def _try_fetch(port: int, timeout_s: float) -> str | None:
    """None stands for a worker that is counted as missing."""
    try:
        async with asyncio.timeout(timeout_s):
            return await fetch(port)
    except (OSError, ValueError):  # TimeoutError is an OSError
        return None


class GroupMetrics:
    """ASGI: answers `GET /metrics` for all workers and leaves everything else to the application."""

    def __init__(self, application: Any, slot: str, render: Render, group: Callable[[], Group]) -> None:
        self._application = application
        self._slot = slot
        self._render = render
        self._group = group

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http" or scope["path"] != "/metrics" or scope["method"] != "GET":
            await self._application(scope, receive, send)
            return
        page = (await collect(self._slot, self._render().decode(), self._group())).encode()
        headers = [(b"content-type", CONTENT_TYPE.encode()), (b"content-length", str(len(page)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": page})
