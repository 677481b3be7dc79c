"""OpenTelemetry: one validation is one trace from its request to its pushes; off, nothing of it is loaded."""

import asyncio
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from backend.app.errors import SetupError
from backend.app.main import create_app
from backend.app.observability.tracing import open_tracing
from backend.app.process.node import listen
from backend.app.realtime.websocket import FanoutProtocol
from backend.app.settings import Settings, load_settings
from simulator.processes import free_port
from tests.support.backend.node import LOOPBACK, ROOT, SECRET, running_node
from tests.support.backend.rest import Account, Rest
from tests.support.backend.sockets import connected
from tests.support.waiting import until

NOWHERE = "http://127.0.0.1:9/v1/traces"
TRACE = "0af7651916cd43dd8448eb211c80319c"
CALLER = "b7ad6b7169203331"
SECRET_WORDS = "do-not-tell"


@asynccontextmanager
async def traced_node(data_dir: Path, exporter: InMemorySpanExporter) -> AsyncIterator[str]:
    """A whole application in this process; its spans are complete when it has ended."""
    settings = Settings(data_dir=data_dir, jwt_secret=SECRET, password_time_cost=1, password_memory_kib=8)
    application = create_app(settings, open_tracing(NOWHERE, "traced", "0", exporter))
    options: dict[str, Any] = {"ws": FanoutProtocol, "log_config": None, "ws_per_message_deflate": False}
    server = uvicorn.Server(uvicorn.Config(application, lifespan="on", **options))
    sock = listen(LOOPBACK, 0)
    serving = asyncio.create_task(server.serve(sockets=[sock]))
    try:
        await until(lambda: server.started, "the node serves")
        yield f"http://{LOOPBACK}:{sock.getsockname()[1]}"
    finally:
        server.should_exit = True
        await serving
        sock.close()


async def validated(url: str, **headers: str) -> None:
    """Ben vouches for Ann's claim, and Ann's socket is told."""
    async with Rest(url) as rest:
        ann, ben = await rest.accounts(2)
        claim_id = await rest.claim(ann)
        async with connected(url, ann) as socket:
            await vouch(url, ben, claim_id, headers)
            await socket.hear("new_notification")
            await socket.settle()


async def vouch(url: str, who: Account, claim_id: str, headers: dict[str, str]) -> None:
    async with httpx.AsyncClient(base_url=url) as client:
        answer = await client.post(
            f"/api/claims/{claim_id}/validations?note={SECRET_WORDS}",
            json={"action": "vouch"},
            headers=who.auth | headers,
        )
        assert answer.status_code == 201, answer.text


@pytest.fixture
async def spans(tmp_path: Path) -> list[ReadableSpan]:
    """Those of one validation by a caller who traces."""
    exporter = InMemorySpanExporter()
    async with traced_node(tmp_path, exporter) as url:
        await validated(url, traceparent=f"00-{TRACE}-{CALLER}-01", **{"X-Request-ID": "ours-1"})
    return [span for span in exporter.get_finished_spans() if f"{span.context.trace_id:032x}" == TRACE]


def named(spans: list[ReadableSpan], name: str) -> list[dict[str, Any]]:
    return [dict(span.attributes or {}) for span in spans if span.name == name]


async def test_one_validation_is_one_trace_from_request_to_push(spans: list[ReadableSpan]) -> None:
    [request] = [span for span in spans if span.parent and f"{span.parent.span_id:016x}" == CALLER]
    facts = dict(request.attributes or {})
    assert request.name == "POST /api/claims/{claim_id}/validations"
    assert (facts["http.request.method"], facts["http.response.status_code"]) == ("POST", 201)
    [validation] = named(spans, "process_validation")
    assert validation["claim_id"]
    assert validation["version"] > 0
    created = named(spans, "notification created")
    assert {facts["seq"] for facts in created} == {1}
    assert len({facts["id"] for facts in created}) == len(created) > 0
    pushed = {facts["event"]: facts["sockets"] for facts in named(spans, "push")}
    assert pushed["validation_received new_notification"] == 1


async def test_every_span_of_a_request_has_its_id(spans: list[ReadableSpan]) -> None:
    assert {dict(span.attributes or {}).get("request_id") for span in spans} == {"ours-1"}


async def test_no_span_tells_a_query_string(spans: list[ReadableSpan]) -> None:
    assert SECRET_WORDS not in "".join(span.to_json() for span in spans)


# -------------------------------------------------------------- the exporter


@contextmanager
def collector() -> Iterator[tuple[str, list[bytes]]]:
    """An OTLP/HTTP endpoint, and what was sent to it."""
    bodies: list[bytes] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    with HTTPServer((LOOPBACK, 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://{LOOPBACK}:{server.server_port}/v1/traces", bodies
        finally:
            server.shutdown()
            thread.join()


def register(url: str) -> int:
    body = {"username": "traced", "password": "a long password"}
    return httpx.post(f"{url}/api/auth/register?{SECRET_WORDS}", json=body).status_code


def test_what_waits_is_sent_before_a_node_ends(tmp_path: Path) -> None:
    with collector() as (url, bodies):
        with running_node(tmp_path, traces_url=url) as node:
            assert register(node.url) == 201
            node.stop()
        sent = b"".join(bodies)
    assert b"POST /api/auth/register" in sent
    assert SECRET_WORDS.encode() not in sent


def test_a_collector_that_is_not_there_costs_no_request_and_no_orderly_end(tmp_path: Path) -> None:
    with running_node(tmp_path, traces_url=f"http://{LOOPBACK}:{free_port()}/v1/traces") as node:
        assert register(node.url) == 201
        node.stop()


# -------------------------------------------------------------- off, and refusals

OFF = """
import sys
from pathlib import Path
import fastapi, redis.asyncio  # these load parts of it for their own use
before = {name for name in sys.modules if name.split(".")[0] == "opentelemetry"}
from backend.app.main import create_app
from backend.app.settings import Settings
create_app(Settings(data_dir=Path(sys.argv[1])))
print(sorted({name for name in sys.modules if name.split(".")[0] == "opentelemetry"} - before))
"""


def test_off_a_node_loads_nothing_of_it(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", OFF, str(tmp_path)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


FOREIGN = """
import asyncio
import httpx
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from backend.app.api.router import new_api

async def ask():
    transport = httpx.ASGITransport(app=new_api())
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        assert (await client.get("/nowhere?secret=word")).status_code == 404

spans = InMemorySpanExporter()
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(spans))
trace.set_tracer_provider(provider)
asyncio.run(ask())
print(len(spans.get_finished_spans()))
"""


def test_the_framework_makes_no_spans_of_its_own() -> None:
    """It would, with whole URLs, for a tracer that somebody else set up in the process."""
    done = subprocess.run(
        [sys.executable, "-c", FOREIGN], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "0"


def test_without_the_extra_a_node_refuses_to_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    with pytest.raises(SetupError) as caught:
        create_app(Settings(data_dir=tmp_path, jwt_secret=SECRET, traces_url=NOWHERE))
    assert str(caught.value) == (
        "VOUCHSTORM_TRACES_URL needs the extra `otel`: pip install 'vouchstorm[otel]'."
    )


@pytest.mark.parametrize(
    "url", ["nonsense", "ftp://host/v1", "http://user:word@host/", "http://host/?key=word", "http://"]
)
def test_a_bad_url_is_one_sentence(url: str) -> None:
    with pytest.raises(SetupError) as caught:
        load_settings(traces_url=url)
    assert str(caught.value) == (
        "Bad settings. VOUCHSTORM_TRACES_URL: must look like http://host:4318/v1/traces, "
        "without user, password or query"
    )
