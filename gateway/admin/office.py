"""What operators act on beside the log: signing keys, sessions, accounts, the audit trail, the purge.

Lives in the supervisor, on the supervisor's connection to the store. Its tasks are what has to happen once per gateway and
not per worker: the rotation of keys, the scheduled purge, counting sessions. Several gateways on one store may all have one;
each step is safe to take twice."""

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any, Final

from gateway.audit.purge import purge as purge_trail
from gateway.audit.trail import Trail
from gateway.clock import Clock
from gateway.config.schema import Config
from gateway.errors import GatewayError, StoreError
from gateway.keys.rotation import Rotation
from gateway.keys.secrets import token_secrets
from gateway.revocation.log import RevocationLog
from gateway.sessions.rotation import Rules
from gateway.sessions.store import SessionStore
from gateway.store.client import Store
from gateway.telemetry.metrics import WorkerMetrics
from gateway.tokens.ring import Ring

LOOK_EVERY_S: Final = 2.0

logger: Final = logging.getLogger("gateway.office")


class Office:
    """Per process. `ring` and `sessions_count` are as of the last look."""

    def __init__(self, config: Config, store: Store, log: RevocationLog, clock: Clock, metrics: WorkerMetrics) -> None:
        self.config = config
        self.log = log
        self.clock = clock
        self._store = store
        self.sessions = SessionStore(store, Rules.of(config))
        self.rotation = Rotation(store, log, config, token_secrets(config.tokens.secrets, config.store.directory), clock)
        self.trail = Trail(
            store, clock, max_length=config.audit.max_length, keep_s=config.audit.keep, on_lost=metrics.audit_lost
        )
        self.ring = Ring()
        self.sessions_count = 0

    def tasks(self) -> tuple[Coroutine[Any, Any, None], ...]:
        """What runs for as long as the gateway does; to be cancelled."""
        return self.rotation.run(), self.trail.run(), self._watch(), self._purge_now_and_then()

    async def close(self) -> None:
        await self.trail.close()

    def key_ages(self) -> tuple[tuple[str, float], ...]:
        """Of each key in the ring, its age in seconds."""
        now = self.clock.wall()
        return tuple((key.kid, max(0.0, now - key.created)) for key in self.ring.keys)

    async def purge(self) -> dict[str, int]:
        """Remove what has expired, and nothing else. How many of each. Raises StoreError."""
        sessions = await self.sessions.everyone.purge(self.clock.wall())
        trail = await purge_trail(self._store, keep_s=self.config.audit.keep)
        return {"sessions": len(sessions), "audit_events": trail.events, "audit_names": trail.names}

    async def _watch(self) -> None:
        while True:
            try:
                self.ring = await self.rotation.ring()
                self.sessions_count = await self.sessions.count()
            except GatewayError as error:
                logger.debug("not seen this time: %s", error)
            await asyncio.sleep(LOOK_EVERY_S)

    async def _purge_now_and_then(self) -> None:
        while True:
            await asyncio.sleep(self.config.purge.every)
            try:
                logger.info("Purged: %s", ", ".join(f"{count} {what}" for what, count in (await self.purge()).items()))
            except StoreError as error:
                logger.warning("the purge has to wait: %s", error)
