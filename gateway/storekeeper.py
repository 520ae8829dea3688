"""The supervisor's side of the store: the embedded server if there is one, its own connection, and whether it answers.

It starts the embedded server again when it ends (same socket, same data), declares its first use, and knocks every half
second. Not being answered is said once, and the recovery once; in between it just keeps knocking. Nobody waits for it:
workers find the store by themselves.

Owns the server process, one client and the `RevocationLog` on it. Receipts and rules are the log's.
"""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Final, Self

from gateway.admin.health import StoreStatus
from gateway.clock import Clock
from gateway.config.schema import Config
from gateway.config.store_url import without_password
from gateway.errors import GatewayError, StoreError, StoreUnfit
from gateway.revocation.lifetimes import Lifetimes
from gateway.revocation.log import RevocationLog
from gateway.store.client import Store, connect, store_errors
from gateway.store.embedded import EmbeddedServer
from gateway.store.fitness import refuse_unfit

KNOCK_EVERY_S: Final = 0.5
JUDGE_EVERY_S: Final = 10.0
STRIKE_EVERY_S: Final = 5.0
EMBEDDED: Final = "embedded"
# A member is struck off after so long a silence anyway [W2].
REMOVAL_TRIES: Final = 60
REMOVAL_PAUSE_S: Final = 1.0
# Half as many revocations can wait for their receipts at once.
MOST_CONNECTIONS: Final = 512

logger: Final = logging.getLogger("gateway.supervisor")


class Storekeeper:
    """Per process: everything. `knocked` is told how long each knock took."""

    __slots__ = (
        "_client",
        "_clock",
        "_is_told",
        "_judge_at",
        "_knocked",
        "_problem",
        "_server",
        "_strike_at",
        "_unfit",
        "log",
        "shown_url",
    )

    def __init__(
        self,
        shown_url: str,
        server: EmbeddedServer | None,
        client: Store,
        log: RevocationLog,
        clock: Clock,
        knocked: Callable[[float], None],
    ) -> None:
        self.shown_url = shown_url
        self.log = log
        self._server = server
        self._client = client
        self._clock = clock
        self._knocked = knocked
        self._problem = "not asked yet"
        self._is_told = False
        self._strike_at = 0.0
        self._judge_at = 0.0
        self._unfit: StoreUnfit | None = None

    @classmethod
    async def open(cls, config: Config, clock: Clock, knocked: Callable[[float], None]) -> Self:
        """Start what is ours to start. An external store is not asked here: it may come later."""
        server = None
        url = config.store.url
        if url == EMBEDDED:
            server = EmbeddedServer(config.store.directory)
            url = await server.start()
        client = connect(url, max_connections=MOST_CONNECTIONS)
        log = _log(client, clock, config)
        keeper = cls(without_password(config.store.url), server, client, log, clock, knocked)
        with suppress(StoreError, OSError):  # then the watch does it, and says what is wrong
            await keeper._declare()
        return keeper

    def log_for(self, config: Config) -> RevocationLog:
        """The log by the rules of a new configuration."""
        return _log(self._client, self._clock, config)

    @property
    def embedded_url(self) -> str:
        """Where the embedded server answers; empty: the store is somebody else's."""
        return self._server.url if self._server is not None else ""

    @property
    def client(self) -> Store:
        """The supervisor's connection to the store."""
        return self._client

    @property
    def status(self) -> StoreStatus:
        return StoreStatus(self.shown_url, not self._problem, self._problem)

    async def watch(self) -> None:
        """Knock for ever; to be cancelled."""
        while True:
            try:
                await self._revive()
                await self._knock()
                await self._declare()
                await self._strike_silent()
                await self._judge()
                self._note("")
            except GatewayError as error:
                self._note(str(error))
            except Exception as error:  # the task's root: a full disk must not end the watch over the store
                self._note(f"{type(error).__name__}: {error}")
            await asyncio.sleep(KNOCK_EVERY_S)

    async def remove(self, incarnation: str) -> None:
        """Strike a dead worker off the log's registry, so that no receipt waits for it [W2]."""
        for _ in range(REMOVAL_TRIES):
            try:
                await self.log.remove(incarnation)
            except StoreError:
                await asyncio.sleep(REMOVAL_PAUSE_S)
            else:
                return

    async def close(self) -> None:
        await self._client.aclose()
        if self._server is not None:
            await self._server.stop()

    async def _revive(self) -> None:
        if self._server is not None and self._server.process_id is None:
            logger.error("The embedded store has ended and is started again")
            await self._server.start()

    async def _knock(self) -> None:
        asked_at = self._clock.boot()
        try:
            with store_errors():
                await self._client.execute_command("PING")  # type: ignore[no-untyped-call]
        finally:
            self._knocked(self._clock.boot() - asked_at)

    async def _declare(self) -> None:
        """An empty embedded store is new exactly once; later it is a lost one [L5]."""
        if self._server is not None and self._server.is_first_start:
            await self.log.declare()
            self._server.mark_declared()

    async def _strike_silent(self) -> None:
        """Members whose supervisor died with them are struck off by whoever is left [W2]."""
        now = self._clock.boot()
        if now >= self._strike_at:
            self._strike_at = now + STRIKE_EVERY_S
            await self.log.remove_silent()

    async def _judge(self) -> None:
        """An external store that may forget revocations is told as one that cannot be used, for as long as it may [L3]."""
        now = self._clock.boot()
        if self._server is None and now >= self._judge_at:
            self._judge_at = now + JUDGE_EVERY_S
            try:
                await refuse_unfit(self._client)
                self._unfit = None
            except StoreUnfit as unfit:
                self._unfit = unfit
        if self._unfit is not None:
            raise self._unfit

    def _note(self, problem: str) -> None:
        """Say it when it changes, not at every knock."""
        if problem and not self._is_told:
            logger.error("The store %s cannot be used, waiting for it: %s", self.shown_url, problem)
        elif not problem and self._is_told:
            logger.info("The store %s answers again", self.shown_url)
        self._is_told = bool(problem)
        self._problem = problem


def _log(client: Store, clock: Clock, config: Config) -> RevocationLog:
    return RevocationLog(
        client,
        clock,
        config.store.max_staleness,
        issuers=Lifetimes.of(config),
        not_fenced_routes=[route.name for route in config.routes if route.on_outage != "deny"],
    )
