"""What is told of every refresh: one count, one audit event, one line when the store is found to have lost a write."""

import logging
from typing import Final

from gateway.audit.event import Action, Event
from gateway.audit.event import Outcome as Told
from gateway.audit.trail import Trail
from gateway.clock import Clock
from gateway.sessions.keeper import Refreshed
from gateway.sessions.rotation import Outcome, Presented
from gateway.telemetry.metrics import REFRESH_OUTCOMES, WorkerMetrics

# What the metric has no word of its own for.
_COUNTED_AS: Final = {Outcome.RECOVERED.value: Outcome.ROTATED.value}

_log = logging.getLogger("gateway.security")


class RefreshObserver:
    """Per worker: counts and records refreshes."""

    def __init__(self, metrics: WorkerMetrics, trail: Trail, clock: Clock) -> None:
        self._metrics = metrics
        self._trail = trail
        self._clock = clock

    def refreshed(self, outcome: str, presented: Presented, refreshed: Refreshed | None) -> None:
        """A refresh token was shown and judged; `refreshed` is None when the store did not answer. What is told of the client is
        who showed it, who may be another than the session's."""
        counted = _COUNTED_AS.get(outcome, outcome)
        self._metrics.refresh(counted if counted in REFRESH_OUTCOMES else "refused")
        if refreshed is None or refreshed.record is None:
            return
        record = refreshed.record
        if outcome == Outcome.RECOVERED:
            _log.warning("the store lost a rotation of session %s; it goes on from generation %d", record.sid, record.generation)
        self._trail.record(
            Event(
                self._clock.wall(),
                Action.REFRESH,
                Told.SUCCESS if refreshed.minted is not None else Told.DENIED,
                reason=outcome,
                user=record.user,
                session=record.sid,
                network=presented.network,
                device=presented.device,
            )
        )
