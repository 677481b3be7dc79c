"""OpenTelemetry spans of a node, sent to an OTLP/HTTP endpoint; only where VOUCHSTORM_TRACES_URL is set.

This module alone imports OpenTelemetry, and only when `open_tracing` is called; `Tracing` does nothing.
(FastAPI and redis-py load its API for themselves; `api/router.py` keeps FastAPI silent.) No span has a query
string, a title, a message or a token. A collector that does not answer costs spans, never a request.
"""

import asyncio
import logging
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from ..errors import SetupError
from .logs import request_id

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SpanExporter

log = logging.getLogger(__name__)

SPANS_WAITING = 2_048
"""Spans that wait for the exporter's thread; more are dropped by it, and it says so in the log."""
EXPORT_TIMEOUT_S = 5.0
STOP_TIMEOUT_S = 2.0

Fact = str | int


@dataclass(frozen=True, slots=True)
class Mark:
    """Where a trace stands when something is handed to another task. since_ns: Unix time."""

    context: "Context"
    request_id: str | None
    since_ns: int


class Span(Protocol):
    """What a block may say of its span."""

    def update_name(self, name: str) -> None: ...

    def set_attribute(self, key: str, value: Fact) -> None: ...


class _NoSpan:
    def update_name(self, name: str) -> None: ...

    def set_attribute(self, key: str, value: Fact) -> None: ...


_NO_SPAN = nullcontext(_NoSpan())


class Tracing:
    """No spans: what a node has where nobody traces."""

    def start(self) -> None:
        """Begin to export."""

    async def stop(self) -> None:
        """Export what waits."""

    def span(
        self, name: str, caller: Mapping[str, str] | None = None, **facts: Fact
    ) -> AbstractContextManager[Span]:
        """A span around a block, child of the one around it.

        caller: headers of an outside caller whose `traceparent`, if it is one, names the parent instead.
        """
        return _NO_SPAN

    def mark(self) -> Mark | None:
        """Where the trace of the current task stands; None where nobody traces."""
        return None

    def ended(self, name: str, since: Mark, **facts: Fact) -> None:
        """A span from a mark to now, of the trace that was marked."""


class OtlpTracing(Tracing):
    """The spans of one node. Nothing is exported before `start`."""

    def __init__(self, provider: "TracerProvider", exporter: "SpanExporter") -> None:
        self._provider = provider
        self._exporter = exporter
        self._tracer = provider.get_tracer("vouchstorm")

    def start(self) -> None:
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        processor = BatchSpanProcessor(self._exporter, max_queue_size=SPANS_WAITING)
        self._provider.add_span_processor(processor)

    async def stop(self) -> None:
        thread = threading.Thread(target=self._provider.shutdown, name="last spans", daemon=True)
        thread.start()
        await asyncio.to_thread(thread.join, STOP_TIMEOUT_S)
        if thread.is_alive():
            log.warning("the collector of traces does not answer, the last spans are lost")

    @contextmanager
    def span(self, name: str, caller: Mapping[str, str] | None = None, **facts: Fact) -> Iterator[Span]:
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        context = None if caller is None else TraceContextTextMapPropagator().extract(caller)
        with self._tracer.start_as_current_span(
            name,
            context,
            attributes=_with_request(facts),
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            try:
                yield span
            except BaseException as error:
                # Its text may hold what somebody sent.
                span.set_attribute("error.type", type(error).__name__)
                raise

    def mark(self) -> Mark:
        from opentelemetry.context import get_current

        return Mark(get_current(), request_id.get(), time.time_ns())

    def ended(self, name: str, since: Mark, **facts: Fact) -> None:
        attributes = _with_request(facts, since.request_id)
        self._tracer.start_span(name, since.context, attributes=attributes, start_time=since.since_ns).end()


def _with_request(facts: dict[str, Fact], known: str | None = None) -> dict[str, Fact]:
    current = known or request_id.get()
    return facts if current is None else {"request_id": current, **facts}


def open_tracing(url: str, node: str, version: str, exporter: "SpanExporter | None" = None) -> Tracing:
    """Tracing to an OTLP/HTTP endpoint; connects nothing yet. exporter: where spans go instead.

    Raises SetupError without the extra `otel`.
    """
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
    except ImportError as error:
        raise SetupError(
            "VOUCHSTORM_TRACES_URL needs the extra `otel`: pip install 'vouchstorm[otel]'."
        ) from error
    facts = {"service.name": "vouchstorm", "service.instance.id": node, "service.version": version}
    provider = TracerProvider(resource=Resource.create(facts), shutdown_on_exit=False)
    return OtlpTracing(provider, exporter or OTLPSpanExporter(endpoint=url, timeout=EXPORT_TIMEOUT_S))
