"""What the supervisor holds for one configuration beside its workers: the office, the admin API's endpoints, the webhook.

A new configuration gets new ones. Requests that are being answered are answered by those who began; what happens once per gateway
(rotation, purge, the webhook's turn) is safe to begin anew, because several gateways on one store do it side by side.

Owns the office's tasks. The admin port's socket, the metrics page and the history belong to the supervisor and stay.
"""

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from aiohttp import web

from gateway.admin.app import Admin
from gateway.admin.health import Overview
from gateway.admin.history import History
from gateway.admin.office import Office
from gateway.clock import Clock
from gateway.config.load import Loaded
from gateway.revocation.log import RevocationLog
from gateway.store.client import Store
from gateway.tasks import Tasks
from gateway.telemetry.exposition import Exposition
from gateway.telemetry.log import SecurityLog
from gateway.telemetry.metrics import WorkerMetrics

if TYPE_CHECKING:
    from gateway.webhook.webhook import Webhook

ANSWERS_WITHIN_S: Final = 10.0  # of requests under way when it closes; a receipt takes 5 s at most


class ControlPlane:
    """Per configuration. `start` it, and end it with `close`."""

    def __init__(
        self,
        loaded: Loaded,
        store: Store,
        log: RevocationLog,
        clock: Clock,
        metrics: WorkerMetrics,
        overview: Overview,
        exposition: Exposition,
        security: SecurityLog,
        history: History,
    ) -> None:
        """Asks nobody anything yet. Raises GatewayError."""
        config = loaded.config
        self.office = Office(config, store, log, clock, metrics)
        self._admin = Admin(config, str(loaded.path), overview, self.office, exposition, metrics, security, history)
        self._webhook: Webhook | None = None
        if config.webhook is not None:
            from gateway.webhook.webhook import Webhook as Teller

            self._webhook = Teller(config.webhook, store, clock, metrics, keep_s=config.audit.keep)
        self._tasks = Tasks()
        self._answering = 0
        self._is_quiet = asyncio.Event()
        self._is_quiet.set()

    def start(self) -> None:
        for part in self.office.parts():
            self._tasks.keep(part)
        if self._webhook is not None:
            self._webhook.start()

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        """What the admin port answers."""
        self._answering += 1
        self._is_quiet.clear()
        try:
            return await self._admin.answer(request)
        finally:
            self._answering -= 1
            if not self._answering:
                self._is_quiet.set()

    async def close(self, within_s: float = ANSWERS_WITHIN_S) -> None:
        """End the tasks, let answers end, and then what they need."""
        await self._tasks.end()
        if self._webhook is not None:
            await self._webhook.close()
        with suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                await self._is_quiet.wait()
        await self.office.close()
