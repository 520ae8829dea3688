"""What is told of an exchange when it is over: one access line, one set of counters, and of a refusal what `denials` tells.

`Record` is filled on the way; `Report.finish` is where every exit of an exchange meets.
"""

import logging
from typing import TYPE_CHECKING, Final

from gateway.config.address import Address
from gateway.denials import Asker, Denials
from gateway.enforce.verdict import Allow, Deny, Verdict
from gateway.reasons import Reason
from gateway.routes.route import Route
from gateway.telemetry.access import AccessLog
from gateway.telemetry.metrics import ALLOW, ALLOW_STALE, DENY, RouteMetrics, WorkerMetrics

if TYPE_CHECKING:
    from gateway.enforce.known import Known
    from gateway.enforce.verified import Verified
    from gateway.proxy.renewal import Renewal
    from gateway.proxy.traced import Trace
    from gateway.wire.head import RequestHead

CLIENT_CLOSED: Final = 499  # nginx's word for a client that left before its answer


class Record:
    """What is known about one exchange so far."""

    __slots__ = (
        "address",
        "answered_at",
        "asked_at",
        "cut_by",
        "head",
        "is_answered",
        "method",
        "path",
        "reason",
        "renewal",
        "request_id",
        "route",
        "started_at",
        "started_wall",
        "status",
        "trace",
        "trace_id",
        "traceparent",
        "verdict",
    )

    def __init__(self, method: bytes, path: bytes, request_id: bytes, address: str, now: float, boot: float) -> None:
        self.head: RequestHead | None = None
        self.method = method
        self.path = path
        self.request_id = request_id
        self.trace_id = request_id
        self.traceparent: bytes | None = None  # what the application is told; None: a trace begins here, and nobody records it
        self.trace: Trace | None = None  # somebody does
        self.address = address
        self.started_wall = now
        self.started_at = boot  # boot clock, like the two below
        self.asked_at = 0.0  # the head went to the upstream
        self.answered_at = 0.0  # the answer's head came back; 0: it has not, or what follows it is still being relayed
        self.route: Route | None = None
        self.verdict: Verdict | None = None
        self.reason: Reason | None = None
        self.renewal: Renewal | None = None  # the session was renewed on the way; its cookies go out with the answer
        self.cut_by: str | None = None  # what ended it while it was live
        self.status = 0
        self.is_answered = False  # the client got an answer's head; nothing else can be said any more


class Report:
    """Metrics, access log and security log of one worker. `spans.TracedReport` adds traces."""

    __slots__ = ("_access", "_denials", "_fingerprints", "_log", "_prefix_of", "_routes", "_sessions", "_unchecked", "metrics")

    def __init__(self, metrics: WorkerMetrics, access: AccessLog, denials: Denials, known: "Known", routes: list[str]) -> None:
        self.metrics = metrics
        self._access = access
        self._denials = denials
        self._fingerprints = known.fingerprint
        self._prefix_of = known.fingerprint.reader.networks.prefix_of
        self._sessions = known.sessions
        self._unchecked = known.unchecked
        self._routes: dict[str, RouteMetrics] = {name: metrics.route(name) for name in ["", *routes]}
        self._log = logging.getLogger("gateway.proxy")

    def finish(self, record: Record, boot: float) -> None:
        """The exchange is over, whatever came of it. `boot` is the boot clock's present."""
        verdict, reason, route = record.verdict, record.reason, record.route
        token = verdict.token if verdict is not None else None
        is_stale = type(verdict) is Allow and verdict.is_stale
        decision = DENY if reason is not None else ALLOW_STALE if is_stale else ALLOW
        duration = boot - record.started_at
        now = record.started_wall + duration
        upstream = (record.answered_at or boot) - record.asked_at if record.asked_at else -1.0
        name = route.name if route is not None else ""
        self._routes[name].finish(record.method, record.status, decision, reason, duration, upstream)
        self._access.write(
            now,
            name,
            record.method,
            record.path,
            record.status,
            decision,
            reason,
            token.user if token is not None else None,
            token.session if token is not None else None,
            record.address,
            duration,
            upstream,
            record.request_id,
            record.trace_id,
            route.upstream if route is not None and record.asked_at else None,
            record.cut_by,
        )
        if type(verdict) is Deny:
            asker = Asker(record.address, record.request_id.decode("ascii"), record.head)
            self._denials.tell(verdict, asker, name, now)
        elif token is not None and (entry := token.entry) is not None:
            self._sessions.note(entry, now, self._prefix_of(record.address))
        if self._fingerprints.noticed:
            self._denials.tell_noticed(now)

    def admitted_unchecked(self, token: "Verified", route: Route, now: float, boot: float) -> None:
        """Its head goes to the application by a decision of just now, and revocation could not be checked.

        NB: now, not when it began: it may have waited since, and been revoked meanwhile. Nor at its end, which a stream has late.
        """
        self._unchecked.note(token, route.name, now, boot)

    def upstream_unreachable(self, name: str, address: Address, error: BaseException) -> None:
        self._log.warning("upstream %s cannot be reached at %s: %s", name, address, type(error).__name__)

    def upstream_changed(self, name: str, address: Address, state: str) -> None:
        self._log.log(logging.INFO if state == "up" else logging.WARNING, "upstream %s at %s is %s", name, address, state)

    def upstream_resolved(self, name: str, host: str, addresses: int, failure: str) -> None:
        """A host name means other addresses now, or cannot be looked up: then those that are known go on."""
        if failure:
            self._log.warning("upstream %s: %s cannot be looked up: %s", name, host, failure)
        else:
            self._log.info("upstream %s: %s has %d addresses", name, host, addresses)

    def broken(self, error: BaseException) -> None:
        """A defect of ours: the exchange was ended, the worker goes on."""
        self._log.error("an exchange failed", exc_info=error)
