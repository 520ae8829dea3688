"""Spans to a receiver of OTLP over HTTP: a collector, Tempo, Jaeger. The only file that knows OpenTelemetry (the extra `otel`).

The library makes spans by a tracer that keeps the current one in a context variable; an exchange is stepped by hand, by whoever
has news for it, so its spans are made here, in the sending thread, from what `Span` holds. What remains is what we do not want to
own: the format, attempts and their pauses, the resource's attributes from the environment (`OTEL_RESOURCE_ATTRIBUTES`).

The receiver is asked directly: no proxy and no password from the environment or from a `.netrc`, no redirect, which would take
our headers to where nobody sent them.

Imported by the worker, when spans are sent, and by nothing else.
"""

import logging
import os
import ssl
import time
from collections.abc import Callable, Sequence
from typing import Final, overload
from uuid import uuid4

import requests
from opentelemetry.exporter.otlp.proto.http import trace_exporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags

from gateway import __version__
from gateway.config.schema import Tracing
from gateway.telemetry.tracing import Kind, Span

SELDOM_S: Final = 60.0
_SAMPLED: Final = TraceFlags(TraceFlags.SAMPLED)
_KINDS: Final = {Kind.SERVER: SpanKind.SERVER, Kind.CLIENT: SpanKind.CLIENT, Kind.INTERNAL: SpanKind.INTERNAL}
_UNSET: Final = Status(StatusCode.UNSET)
_ERROR: Final = Status(StatusCode.ERROR)


class OtlpReceiver:
    """Per process: a connection to the receiver. For one thread."""

    def __init__(self, config: Tracing) -> None:
        assert config.endpoint is not None
        session = requests.Session()
        session.trust_env = False
        session.max_redirects = 0
        authorities = ssl.get_default_verify_paths()
        self._exporter = trace_exporter.OTLPSpanExporter(
            endpoint=config.endpoint,
            headers=dict(line.split(": ", 1) for line in config.headers),
            certificate_file=str(config.ca) if config.ca is not None else authorities.cafile or authorities.capath,
            timeout=config.timeout,
            session=session,
        )
        self._resource = Resource.create(
            {
                "service.name": config.service_name,
                "service.version": __version__,
                "service.instance.id": str(uuid4()),
                "process.pid": os.getpid(),
            }
        )
        self._scope = InstrumentationScope("gateway", __version__)
        logging.getLogger(trace_exporter.__name__).addFilter(Seldom())

    def take(self, spans: Sequence[Span]) -> bool:
        """Send them; whether the receiver took them. Waits for it, up to its timeout."""
        return self._exporter.export(_OneByOne(spans, self._read)) is SpanExportResult.SUCCESS

    def _read(self, span: Span) -> ReadableSpan:
        parent = None
        if span.parent_id is not None:
            parent = SpanContext(span.trace_id, span.parent_id, span.is_parent_remote, _SAMPLED)
        return ReadableSpan(
            name=span.name,
            context=SpanContext(span.trace_id, span.span_id, False, _SAMPLED),
            parent=parent,
            resource=self._resource,
            attributes=span.attributes,
            kind=_KINDS[span.kind],
            status=_ERROR if span.is_error else _UNSET,
            start_time=span.start_ns,
            end_time=span.end_ns,
            instrumentation_scope=self._scope,
        )


class _OneByOne(Sequence[ReadableSpan]):
    """The library's spans, each made when it is written, and before each the interpreter is offered to the event loop.

    Writing a span takes 20 µs of Python. A thread that writes hundreds of them keeps the interpreter for 5 ms at a time, and the
    loop waits for so long each time it wants it back: an echo beside such a thread took 1.4 ms (one in ten 10 ms), with the offer
    0.08 ms (0.12 ms), without a thread 0.04 ms. A shorter `sys.setswitchinterval` was tried: 0.3 ms (2.7 ms).
    """

    def __init__(self, spans: Sequence[Span], read: Callable[[Span], ReadableSpan]) -> None:
        self._spans = spans
        self._read = read

    def __len__(self) -> int:
        return len(self._spans)

    @overload
    def __getitem__(self, place: int) -> ReadableSpan: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[ReadableSpan]: ...
    def __getitem__(self, place: int | slice) -> ReadableSpan | Sequence[ReadableSpan]:
        if isinstance(place, slice):
            return _OneByOne(self._spans[place], self._read)
        time.sleep(0)
        return self._read(self._spans[place])


class Seldom(logging.Filter):
    """Lets one line a minute through: a receiver that is away is told of with each batch."""

    def __init__(self) -> None:
        super().__init__()
        self._next = 0.0

    def filter(self, record: logging.LogRecord) -> bool:
        now = time.monotonic()
        if now < self._next:
            return False
        self._next = now + SELDOM_S
        return True
