"""What operators did, told in three places: counters of what was revoked, a line of the log, an event of the audit trail.

The last two name the admin token that was used, by its place. The line is written at once; the event is on its way.
"""

import logging
from dataclasses import dataclass
from typing import Final

from gateway.admin.call import Call
from gateway.audit.event import Action, Event, Outcome
from gateway.audit.trail import Trail
from gateway.clock import Clock
from gateway.revocation.receipt import Receipt
from gateway.telemetry.log import SecurityLog
from gateway.telemetry.metrics import WorkerMetrics

SOURCE: Final = "api"

logger: Final = logging.getLogger("gateway.admin")


@dataclass(frozen=True, slots=True)
class Act:
    """One act. `kinds` are the facts it revoked, as metrics call them (`lift`: it lifted one): the line is a security line then.
    `subject` is for the line, what follows `kinds` for the trail."""

    action: Action
    subject: str
    kinds: tuple[str, ...] = ()
    user: str = ""
    session: str = ""
    token_id: str = ""
    target: str = ""
    reason: str = ""
    text: str = ""


class Acts:
    """Per process: where acts are told."""

    def __init__(self, metrics: WorkerMetrics, security: SecurityLog, trail: Trail, clock: Clock) -> None:
        self._metrics = metrics
        self._security = security
        self._trail = trail
        self._clock = clock

    def tell(self, call: Call, act: Act, receipt: Receipt | None = None) -> None:
        """The act was done; with a receipt where workers have to know of it."""
        for kind in act.kinds:
            self.count(kind)
        if receipt is not None and act.kinds:
            self.log(call, act.kinds[0], act.subject, receipt)
        else:
            logger.info("%s: %s, by %s", act.action.value, act.subject, call.by)
        self._trail.record(
            Event(
                self._clock.wall(),
                act.action,
                Outcome.SUCCESS,
                reason=act.reason,
                user=act.user,
                session=act.session,
                token_id=act.token_id,
                source=call.by,
                target=act.target or (receipt.id if receipt is not None else ""),
                text=act.text,
            )
        )

    def tell_failed(self, call: Call, error: Exception) -> None:
        """An act that was begun could not be done to its end: how far it came."""
        text = f"{call.request.method}: {'; '.join(call.happened)}; then {type(error).__name__}"
        self._trail.record(Event(self._clock.wall(), Action.ADMIN, Outcome.FAILURE, source=call.by, text=text))

    def count(self, kind: str) -> None:
        """A fact was revoked; `lift`: one was lifted."""
        self._metrics.revocation(kind, SOURCE)

    def log(self, call: Call, kind: str, subject: str, receipt: Receipt) -> None:
        """The line alone: of what is counted and recorded where it happens."""
        self._security.revocation(kind=kind, subject=subject, by=call.by, receipt=receipt.id, is_complete=receipt.complete)
