"""A receiver of OTLP over HTTP on a loopback port, in threads of this process: it keeps the spans it is sent, decoded.

It may also be told to refuse, to send elsewhere, or to take a request and never answer.
"""

import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest, ExportTraceServiceResponse
from opentelemetry.proto.trace.v1.trace_pb2 import Span as Message
from opentelemetry.proto.trace.v1.trace_pb2 import Status
from patience import PATIENCE_S


@dataclass(frozen=True)
class Seen:
    """One span as it came."""

    name: str
    kind: str
    trace_id: str
    span_id: str
    parent_id: str
    start_ns: int
    end_ns: int
    attributes: dict[str, Any]
    is_error: bool
    resource: dict[str, Any]
    raw: bytes = field(repr=False)


class OtlpReceiver:
    """Listens from `start` to `stop`. `status` answers with something else than 200, `is_hanging` not at all."""

    def __init__(self, certificate: tuple[Path, Path] | None = None) -> None:
        self.spans: list[Seen] = []
        self.headers: list[dict[str, str]] = []
        self.paths: list[str] = []
        self.status = 200
        self.location = ""
        self.is_hanging = False
        self.requests = 0
        self._released = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._scheme = "http"
        if certificate is not None:
            self._scheme = "https"
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*certificate)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    @property
    def endpoint(self) -> str:
        return f"{self._scheme}://127.0.0.1:{self._server.server_address[1]}"

    def start(self) -> "OtlpReceiver":
        self._thread.start()
        return self

    def stop(self) -> None:
        self._released.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def wait_for(self, is_enough: Callable[[list[Seen]], bool], within_s: float = PATIENCE_S) -> list[Seen]:
        """The spans once there are enough of them."""
        deadline = time.monotonic() + within_s
        while not is_enough(self.spans):
            assert time.monotonic() < deadline, f"not within {within_s:.0f} s; there are {self.spans}"
            time.sleep(0.01)
        return list(self.spans)

    def trace(self, trace_id: str, spans: int = 1) -> list[Seen]:
        """The spans of one trace, of which there are to be so many, in the order in which they began."""
        self.wait_for(lambda seen: sum(span.trace_id == trace_id for span in seen) >= spans)
        found = [span for span in self.spans if span.trace_id == trace_id]
        assert len(found) == spans, found
        return sorted(found, key=lambda span: (span.start_ns, span.kind != "SERVER"))

    def take(self, body: bytes) -> None:
        for of_resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            resource = _attributes(of_resource.resource.attributes)
            self.spans += [_seen(span, resource) for scope in of_resource.scope_spans for span in scope.spans]

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                receiver.requests += 1
                receiver.paths.append(self.path)
                receiver.headers.append({name.lower(): value for name, value in self.headers.items()})
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if receiver.is_hanging:
                    receiver._released.wait()
                    self.close_connection = True
                    return
                if receiver.status == 200:
                    receiver.take(body)
                answer = ExportTraceServiceResponse().SerializeToString()
                self.send_response(receiver.status)
                if receiver.location:
                    self.send_header("Location", receiver.location)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *arguments: Any) -> None:
                pass

        return Handler


def _seen(span: Message, resource: dict[str, Any]) -> Seen:
    return Seen(
        span.name,
        Message.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_"),
        span.trace_id.hex(),
        span.span_id.hex(),
        span.parent_span_id.hex(),
        span.start_time_unix_nano,
        span.end_time_unix_nano,
        _attributes(span.attributes),
        span.status.code == Status.STATUS_CODE_ERROR,
        resource,
        span.SerializeToString(),
    )


def _attributes(pairs: Any) -> dict[str, Any]:
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in pairs}
