"""A webhook between a real store with a real trail and a real receiver, with pauses that a test can wait for."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from audit.auditing import ALICE, NETWORK, StillClock, trail_of
from store_process import until_awaited
from webhook.receiving import SECRET, Receiver

from gateway.audit.event import Action, Event, Outcome
from gateway.audit.trail import Trail
from gateway.clock import Clock
from gateway.config.schema import Webhook as Settings
from gateway.store.client import Store, connect
from gateway.telemetry.metrics import WEBHOOK_OUTCOMES, Layout, WorkerMetrics
from gateway.telemetry.slots import Cells
from gateway.webhook.line import Pauses
from gateway.webhook.turn import Timing
from gateway.webhook.webhook import Webhook

QUICK = Timing(
    lease_s=2.0,
    renew_s=0.2,
    keep_s=0.05,
    claim_s=0.05,
    store_s=0.05,
    deadline_s=0.5,
    pauses=Pauses(away_s=(0.02, 2.0, 0.1), refused_s=(0.02, 2.0, 0.1)),
)


class Telling:
    """One gateway's webhook. `counted` is what its metrics say."""

    def __init__(self, store_url: str, receiver_url: str, timing: Timing = QUICK, **settings: Any) -> None:
        self.layout = Layout([], [], [])
        self._cells = Cells.create(self.layout.block, 1)
        self.cells = self._cells.block(0)
        self.store = connect(store_url)
        context = {"directory": Path.cwd()}
        written = {"url": receiver_url, "secret": SECRET, "events": ["replay", "refusal", "login-flood"]} | settings
        self.webhook = Webhook(
            Settings.model_validate(written, context=context),
            self.store,
            Clock(),
            WorkerMetrics(self.layout, self.cells),
            keep_s=3600.0,
            timing=timing,
        )

    def counted(self, outcome: str) -> int:
        return int(self.cells[self.layout.webhook_events + WEBHOOK_OUTCOMES.index(outcome)])

    @property
    def retries(self) -> int:
        return int(self.cells[self.layout.webhook_retries])

    @property
    def waiting(self) -> int:
        return int(self.cells[self.layout.webhook_waiting])

    async def close(self) -> None:
        await self.webhook.close()
        await self.store.aclose()
        self._cells.close()


@asynccontextmanager
async def telling(
    store: Store, store_url: str, receiver: Receiver, timing: Timing = QUICK, **settings: Any
) -> AsyncIterator[Telling]:
    """One that has its place already: what is recorded from now on is for it."""
    made = Telling(store_url, receiver.url, timing, **settings)
    made.webhook.start()
    try:
        await has_begun(store)
        yield made
    finally:
        await made.close()


async def has_begun(store: Store) -> None:
    async def is_there() -> bool:
        (place,) = await store.keys("gateway:{webhook}:place:*") or (None,)
        return place is not None and bool(await store.hget(place, "cursor"))  # type: ignore[misc]

    await until_awaited(is_there)


class Told:
    """Events for the trail, one a second, so that each is a row of its own."""

    def __init__(self, store: Store, **options: object) -> None:
        self.trail: Trail = trail_of(store, StillClock(), **options)
        self._number = 0

    async def happens(self, *events: Event) -> None:
        for event in events:
            self.trail.record(event)
        await self.trail.flush()

    def replay(self, **changes: object) -> Event:
        self._number += 1
        event = Event(
            1_735_732_800.0 + self._number,
            Action.REPLAY,
            Outcome.DENIED,
            reason="revoked-session",
            user=ALICE,
            session=f"s{self._number}",
            network=NETWORK,
        )
        return replace(event, **changes)  # type: ignore[arg-type]

    def of_strangers(self) -> Event:
        """Not aggregated, however many there are."""
        self._number += 1
        return Event(
            1_735_732_800.0, Action.LOGIN_FLOOD, Outcome.OBSERVED, reason="network", network=f"10.0.{self._number % 250}.0/24"
        )
