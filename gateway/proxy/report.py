"""What is told of an exchange when it is over: one access line, one set of counters, one security line where it matters.

`Record` is filled on the way; `Report.finish` is where every exit of an exchange meets.
"""

import logging
from typing import Final

from gateway.enforce.verdict import Allow, Deny, Verdict
from gateway.reasons import Reason
from gateway.revocation.entry import Kind
from gateway.routes.route import Route
from gateway.telemetry.access import AccessLog
from gateway.telemetry.log import SecurityLog
from gateway.telemetry.metrics import ALLOW, ALLOW_STALE, DENY, RouteMetrics, WorkerMetrics

# Within this many seconds of the revocation a use is the tail of requests already on their way, not a replay [B6].
TAIL_S: Final = 10
_USE_KINDS: Final = {Kind.TOKEN: "token", Kind.SESSION: "session", Kind.USER: "version", Kind.VERSION: "version", Kind.KEY: "key"}
_SUSPICIOUS: Final = frozenset((Reason.BAD_SIGNATURE, Reason.UNKNOWN_KEY))

CLIENT_CLOSED: Final = 499  # nginx's word for a client that left before its answer


class Record:
    """What is known about one exchange so far."""

    __slots__ = (
        "address",
        "answered_at",
        "asked_at",
        "is_answered",
        "method",
        "path",
        "reason",
        "request_id",
        "route",
        "started_at",
        "started_wall",
        "status",
        "verdict",
    )

    def __init__(self, method: bytes, path: bytes, request_id: bytes, address: str, now: float, boot: float) -> None:
        self.method = method
        self.path = path
        self.request_id = request_id
        self.address = address
        self.started_wall = now
        self.started_at = boot  # boot clock, like the two below
        self.asked_at = 0.0  # the head went to the upstream
        self.answered_at = 0.0  # the answer's head came back; 0: it has not, or what follows it is still being relayed
        self.route: Route | None = None
        self.verdict: Verdict | None = None
        self.reason: Reason | None = None
        self.status = 0
        self.is_answered = False  # the client got an answer's head; nothing else can be said any more


class Report:
    """Metrics, access log and security log of one worker."""

    __slots__ = ("_access", "_log", "_routes", "_security", "metrics")

    def __init__(self, metrics: WorkerMetrics, access: AccessLog, security: SecurityLog, routes: list[str]) -> None:
        self.metrics = metrics
        self._access = access
        self._security = security
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
            route.upstream if route is not None and record.asked_at else None,
        )
        if type(verdict) is Deny:
            self._denied(verdict, record, name, now)

    def _denied(self, verdict: Deny, record: Record, route: str, now: float) -> None:
        token = verdict.token
        if verdict.kind in _USE_KINDS and token is not None:
            age = "tail" if now - verdict.revoked_at <= TAIL_S else "replay"
            self.metrics.revoked_use(_USE_KINDS[verdict.kind], age)
            self._security.revoked_token(
                reason=verdict.reason.value,
                user=token.user,
                age=age,
                route=route,
                client=record.address,
                request_id=record.request_id.decode("ascii"),
                token_id=token.token_id,
                session=token.session,
                version=token.version,
                expected_version=verdict.revoked_at if verdict.kind is Kind.VERSION else None,
            )
        if verdict.reason in _SUSPICIOUS:
            self._security.bad_signature(
                reason=verdict.reason.value,
                issuer=token.issuer if token is not None else verdict.issuer,
                key_id=token.key_id if token is not None else verdict.key_id,
                route=route,
                client=record.address,
                request_id=record.request_id.decode("ascii"),
            )

    def upstream_unreachable(self, name: str, error: BaseException) -> None:
        self._log.warning("upstream %s cannot be reached: %s", name, type(error).__name__)

    def broken(self, error: BaseException) -> None:
        """A defect of ours: the exchange was ended, the worker goes on."""
        self._log.error("an exchange failed", exc_info=error)
