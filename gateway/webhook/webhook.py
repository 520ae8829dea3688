"""Tells a receiver of security events: follows the audit trail, and sends one signed message for each event that was chosen.

    workers ──▶ trail ──read──▶ line ──send──▶ receiver        turn.py
                                  └──every second──▶ place     place.py

Nothing of it is on the way of a request: workers write the trail, the supervisor reads it. Of several gateways on one store the
one that holds the lease does all this, and the others ask for it. An event is sent at least once; twice only when its sender
died, or lost the store, between sending it and writing that down, and then under the same id.

Owns the task. What is lost when: docs/how-to/webhook.md.
"""

import asyncio
import logging
from contextlib import suppress
from typing import Final
from urllib.parse import urlsplit

from gateway.audit.read import Reader
from gateway.clock import Clock
from gateway.config.schema import Webhook as Settings
from gateway.errors import StoreError
from gateway.store.client import Store
from gateway.telemetry.metrics import WorkerMetrics
from gateway.webhook.place import Places
from gateway.webhook.post import Poster
from gateway.webhook.turn import Receiver, Timing, Turn

FAREWELL_S: Final = 2.0

logger: Final = logging.getLogger("gateway.webhook")


class Webhook:
    """Per supervisor. `start` it, and end it with `close`. `keep_s`: so long events are kept."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        clock: Clock,
        metrics: WorkerMetrics,
        *,
        keep_s: float,
        timing: Timing | None = None,
    ) -> None:
        self._timing = timing = timing or Timing()
        self._reader = Reader(store)
        self._places = Places(store, settings.url, timing.lease_s, keep_s)
        self._poster = Poster(settings.url, settings.ca, deadline_s=timing.deadline_s)
        host = urlsplit(settings.url).hostname or ""
        self._receiver = Receiver(host, frozenset(settings.events), settings.secret, self._poster)
        self._clock = clock
        self._metrics = metrics
        self._stop = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="webhook")

    async def close(self) -> None:
        """Let the attempt under way end, for a moment; write down how far it came; give the lease away."""
        self._stop.set()
        if self._task is not None:
            await asyncio.wait([self._task], timeout=FAREWELL_S)
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._poster.close()

    async def _run(self) -> None:
        while not self._stop.is_set():
            try:
                turn = await self._claim()
                if turn is not None:
                    await turn.run()
            except StoreError as error:
                logger.debug("the store gives no answer: %s", error)
            except Exception:  # the task's root: a defect of ours must not end what tells of attacks
                logger.exception("the webhook stumbled")
            with suppress(TimeoutError):
                async with asyncio.timeout(self._timing.claim_s):
                    await self._stop.wait()

    async def _claim(self) -> Turn | None:
        asked_at = self._clock.boot()
        place = await self._places.claim()
        if place is None:
            return None
        return Turn(
            place,
            asked_at + self._timing.lease_s,
            self._receiver,
            self._places,
            self._reader,
            self._clock,
            self._metrics,
            self._timing,
            self._stop,
        )
