"""What is told of an exchange that is recorded, when it is over: its spans, and an exemplar for each of its histograms.

    SERVER         from the complete head to the end of the answer; its parent is what the client sent
    ├─ INTERNAL    what was waited for before the request could go on: the store, a connection
    └─ CLIENT      from the head's departure to the end of the answer; its id is the parent that the application saw

Names and attributes are those of OpenTelemetry's semantic conventions for HTTP, and our own below `gateway.`. There is never a
user in them, a token, a query or a client's address: who may look at traces is seldom who may look at an access log.
"""

from collections.abc import Iterator
from typing import Final

from gateway.config.schema import Config
from gateway.denials import Denials
from gateway.enforce.known import Known
from gateway.enforce.verdict import Allow
from gateway.proxy.connector import Place
from gateway.proxy.report import Record, Report
from gateway.proxy.traced import Trace
from gateway.telemetry.access import AccessLog, redact
from gateway.telemetry.metrics import ALLOW, ALLOW_STALE, DECISIONS, DENY, WorkerMetrics
from gateway.telemetry.trace_queue import SpanQueue
from gateway.telemetry.tracing import Attributes, Kind, Span
from gateway.wire.trace import new_span_id

_METHODS: Final = frozenset((b"GET", b"HEAD", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS"))
_OTHER: Final = "_OTHER"  # the conventions' word for what is none of a few
_CUT: Final = "cut"


class TracedReport(Report):
    """A report that tells traces too; without `spans` it has exemplars only."""

    __slots__ = ("_scheme", "_spans")

    def __init__(
        self,
        metrics: WorkerMetrics,
        access: AccessLog,
        denials: Denials,
        known: Known,
        routes: list[str],
        spans: SpanQueue | None,
        config: Config,
    ) -> None:
        super().__init__(metrics, access, denials, known, routes)
        self._spans = spans
        self._scheme = "https" if config.tls else "http"

    def finish(self, record: Record, boot: float) -> None:
        super().finish(record, boot)
        if record.trace is None:
            return
        duration = boot - record.started_at
        upstream = (record.answered_at or boot) - record.asked_at if record.asked_at else -1.0
        route = record.route.name if record.route is not None else ""
        self._routes[route].exemplify(record.trace_id, duration, upstream, record.started_wall + duration)
        if self._spans is not None:
            self._spans.put(list(self._tell(record, record.trace, boot)))

    def _tell(self, record: Record, trace: Trace, boot: float) -> Iterator[Span]:
        make = _Maker(record, trace)
        yield make.server(boot, self._scheme)
        for what, began, ended, failure in trace.waits:
            yield make.wait(what, began, ended, failure)
        route = record.route
        if record.asked_at and route is not None and not route.is_own:  # our own endpoints are nobody else
            yield from make.clients(record.answered_at or boot, route.upstream)


class _Maker:
    """Makes the spans of one exchange."""

    __slots__ = ("_method", "_record", "_since_1970", "_trace", "_trace_id")

    def __init__(self, record: Record, trace: Trace) -> None:
        self._record = record
        self._trace = trace
        self._trace_id = int(record.trace_id, 16)
        self._since_1970 = record.started_wall - record.started_at
        self._method = record.method.decode() if record.method in _METHODS else _OTHER

    def server(self, ended: float, scheme: str) -> Span:
        record, parent = self._record, self._trace.parent
        attributes: Attributes = {
            "http.request.method": self._method,
            "url.scheme": scheme,
            "url.path": redact(record.path).decode("ascii", "backslashreplace"),
            "gateway.decision": _decision(record),
        }
        if record.head is not None:
            attributes["network.protocol.version"] = f"1.{record.head.minor}"
            attributes |= _of_host(record.head.host)
        if record.status:
            attributes["http.response.status_code"] = record.status
        is_error = record.status >= 500 or not record.status
        if record.reason is not None:
            attributes["gateway.reason"] = attributes["error.type"] = record.reason.value
        elif record.cut_by is not None:
            attributes |= {"gateway.cut_by": record.cut_by, "error.type": _CUT}
        elif is_error:
            attributes["error.type"] = str(record.status or _OTHER)
        name = "HTTP" if self._method is _OTHER else self._method
        if record.route is not None:
            attributes["http.route"] = record.route.name
            name = f"{name} {record.route.name}"
        times = self._ns(record.started_at), self._ns(ended)
        parent_id = None if parent is None else int(parent[36:52], 16)
        return Span(name, Kind.SERVER, self._trace_id, self._trace.span_id, parent_id, True, *times, attributes, is_error)

    def wait(self, what: str, began: float, ended: float, failure: str | None) -> Span:
        return self._child(what, Kind.INTERNAL, new_span_id(), began, ended, {}, failure)

    def clients(self, ended: float, upstream: str) -> Iterator[Span]:
        """One for each time that the head was sent."""
        record, trace = self._record, self._trace
        attributes: Attributes = {"http.request.method": self._method, "gateway.upstream": upstream}
        for resent, (span_id, began, met_closed, place) in enumerate(trace.repeats):
            yield self._client(span_id, began, met_closed, attributes | _of_place(place), resent, "StaleConnection")
        if trace.repeats and record.asked_at == trace.repeats[-1][1]:
            return  # there was no other connection
        attributes |= _of_place(trace.place)
        is_its_answer = record.is_answered and record.reason is None
        if is_its_answer:
            attributes["http.response.status_code"] = record.status
        failure = None
        if record.cut_by is not None:
            failure = _CUT
        elif record.status >= 400 or not is_its_answer:
            failure = record.reason.value if record.reason is not None else str(record.status or _OTHER)
        yield self._client(trace.asking, record.asked_at, ended, attributes, len(trace.repeats), failure)

    def _client(self, span_id: int, began: float, ended: float, attributes: Attributes, resent: int, failure: str | None) -> Span:
        if resent:
            attributes = attributes | {"http.request.resend_count": resent}
        name = "HTTP" if self._method is _OTHER else self._method
        return self._child(name, Kind.CLIENT, span_id, began, ended, attributes, failure)

    def _child(
        self, name: str, kind: Kind, span_id: int, began: float, ended: float, attributes: Attributes, failure: str | None
    ) -> Span:
        if failure is not None:
            attributes = attributes | {"error.type": failure}
        times = self._ns(began), self._ns(ended)
        is_error = failure is not None
        return Span(name, kind, self._trace_id, span_id, self._trace.span_id, False, *times, attributes, is_error)

    def _ns(self, boot: float) -> int:
        return int((self._since_1970 + boot) * 1e9)


def _decision(record: Record) -> str:
    verdict = record.verdict
    is_stale = type(verdict) is Allow and verdict.is_stale
    return DECISIONS[DENY if record.reason is not None else ALLOW_STALE if is_stale else ALLOW]


def _of_host(host: bytes) -> Attributes:
    """What the client asked for, which has been judged to be a host, or nothing."""
    if not host:
        return {}
    name, colon, port = host.decode("ascii").rpartition(":")
    if not colon or "]" in port:
        return {"server.address": host.decode("ascii")}
    return {"server.address": name, "server.port": int(port)}


def _of_place(place: Place | None) -> Attributes:
    """The address that was asked: as it is configured, and, of a name, which of its addresses it was."""
    if place is None:
        return {}
    named, address = place.named, place.address
    if named.is_unix:
        return {"server.address": named.path or "", "network.transport": "unix"}
    found: Attributes = {"server.address": named.host or "", "server.port": named.port or 0}
    return (
        found
        if address == named
        else found | {"network.peer.address": address.host or "", "network.peer.port": address.port or 0}
    )
