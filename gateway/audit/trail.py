"""Writing the audit trail: an event is never waited for, and one that is lost is counted.

    record ──────────────▶ buffer, at most 10 000 ──64 at a time──▶ one script ──▶ streams in the store
    refused ──▶ rows ──a minute later──▲                                 │
                                       └─ kept, and sent again under the same number, until there is an answer

Whoever records returns at once. While the store is away the buffer fills, then events are dropped: `on_lost` counts them at
that moment, and the trail itself tells of them when the store is back. When the store's memory is short nothing is written
at all [B1]. A batch whose answer was lost is sent again under its number, and appended once.

A flush costs the event loop about 1 ms per batch, and the store 0.5 ms; it waits for the store's answer after each, and the rest
of the loop goes on in between.
"""

import asyncio
import logging
import secrets
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from gateway.audit.event import AGGREGATED, RETURNS, Action, Event, Outcome, encode, needs_no_credential, shown_name
from gateway.audit.keys import APPEND, KEYS, NOBODY_ANY_MORE, PSEUDONYM_MARK, batch_key, digest_of
from gateway.audit.pressure import Memory, Use
from gateway.audit.rows import Rows
from gateway.clock import Clock
from gateway.errors import StoreUnavailable
from gateway.store.client import Argument, Store
from gateway.store.scripts import run_script
from gateway.tokens import base64url

FLUSH_EVERY_S: Final = 0.5
LONGEST_BUFFER: Final = 10_000
BATCH: Final = 64
CLOSE_WITHIN_S: Final = 1.0
STRANGERS_SHARE: Final = 10
"""One in so many of the events that are kept may be of the kind that needs no credential."""

_PSEUDONYM_BYTES: Final = 12

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Statistics:
    """Of one process since its start; counts are of events, aggregated ones by their number."""

    waiting: int
    rows: int
    written: int
    lost: int


class Trail:
    """Per process: what waits to be written.

    `max_length` and `keep_s` bound the trail in the store. `on_lost` and `on_written` are told numbers of events. Run `run()`
    as a task, and end with `close()`.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        *,
        max_length: int,
        keep_s: float,
        memory: Memory | None = None,
        on_lost: Callable[[int], None] = lambda _: None,
        on_written: Callable[[int], None] = lambda _: None,
        longest_buffer: int = LONGEST_BUFFER,
    ) -> None:
        self._store = store
        self._clock = clock
        self._memory = memory or Memory(store, clock.boot)
        self._on_lost = on_lost
        self._on_written = on_written
        self._longest_buffer = longest_buffer
        of_strangers = max_length // STRANGERS_SHARE
        self._bounds: list[Argument] = [max_length - of_strangers, of_strangers, max(1, int(keep_s)), NOBODY_ANY_MORE]
        self._keys = (*KEYS, batch_key(secrets.token_hex(8)))
        self._buffer: deque[Event] = deque()
        self._rows = Rows()
        self._unsent: _Batch | None = None
        self._number = 0
        self._flushing = asyncio.Lock()
        self._is_stopped = False  # memory is short
        self._is_away = False  # the store gave no answer the last time
        self._written = 0
        self._lost = 0
        self._untold: dict[str, int] = {}  # lost, by why, and not yet told by an event

    def record(self, event: Event) -> None:
        """Keep one event to be written. Returns at once; never raises."""
        if event.action in AGGREGATED and not self._rows.add(
            event.time, event.action, event.reason, event.user, event.session, event.network, event.route, event.outcome
        ):
            return
        self._keep(event)

    def refused(
        self,
        now: float,
        reason: str,
        network: str,
        user: str = "",
        session: str = "",
        route: str = "",
        token_id: str = "",
        device: str = "",
        request_id: str = "",
        action: Action = Action.REFUSAL,
    ) -> None:
        """A request was refused; `action` is REPLAY for the use of something revoked that is no tail [B6].

        The same as `record`, but a repetition makes no event: it costs 0.3 µs instead of 2. `now` is wall clock; `user`,
        `session` and `token_id` are those of a genuine token, or empty.
        """
        if self._rows.add(now, action, reason, user, session, network, route, Outcome.DENIED):
            self._keep(
                Event(
                    time=now,
                    action=action,
                    outcome=Outcome.DENIED,
                    reason=reason,
                    user=user,
                    session=session,
                    token_id=token_id,
                    network=network,
                    device=device,
                    route=route,
                    request_id=request_id,
                )
            )

    def statistics(self) -> Statistics:
        """What is waiting, and what became of the rest."""
        unsent = self._unsent.events if self._unsent else 0
        return Statistics(len(self._buffer) + unsent, len(self._rows), self._written, self._lost)

    async def run(self) -> None:
        """Write every half second, until cancelled."""
        while True:
            try:
                await self._memory.refresh()
                await self.flush()
            except Exception:  # the root of a task: a defect of ours ends one flush, not the trail
                _log.exception("audit events could not be written")
            await asyncio.sleep(FLUSH_EVERY_S)

    async def flush(self) -> None:
        """Write what is waiting. What the store does not take now is kept. Raises nothing of the store's."""
        async with self._flushing:
            self._rows.close_minute(self._clock.wall())
            self._lose("store", self._rows.dropped)
            self._rows.dropped = 0
            self._is_stopped = not self._memory.allows(Use.AUDIT)
            if self._is_stopped:
                self._drop_everything("memory")
                return
            if self._unsent is None:
                self._unsent = self._next_batch(with_loss=True)
            while self._unsent is not None:
                if not await self._send(self._unsent):
                    return
                self._unsent = self._next_batch()

    async def close(self) -> None:
        """Write what is left, the unfinished minute included, for at most a second; then nothing is kept any more."""
        self._rows.close_minute(self._clock.wall(), early=True)
        try:
            async with asyncio.timeout(CLOSE_WITHIN_S):
                await self.flush()
        except TimeoutError:
            pass
        self._drop_everything("end")
        self._is_stopped = True

    def _keep(self, event: Event) -> None:
        if self._is_stopped:
            self._lose("memory", event.count)
        elif len(self._buffer) >= self._longest_buffer:
            self._lose("store" if self._is_away else "flood", event.count)
        else:
            self._buffer.append(event)

    def _lose(self, why: str, events: int) -> None:
        if events:
            self._lost += events
            self._untold[why] = self._untold.get(why, 0) + events
            self._on_lost(events)

    def _drop_everything(self, why: str) -> None:
        lost = self._rows.drop() + sum(event.count for event in self._buffer)
        if self._unsent is not None:  # its answer may have been lost: rather counted than missed
            lost += self._unsent.counted
            for earlier, events in self._unsent.told.items():
                self._untold[earlier] = self._untold.get(earlier, 0) + events
            self._unsent = None
        self._buffer.clear()
        self._lose(why, lost)

    async def _send(self, batch: "_Batch") -> bool:
        """Whether the store has it now."""
        try:
            await run_script(self._store, APPEND, self._keys, [batch.number, *self._bounds, *batch.arguments])
        except StoreUnavailable as error:
            if not self._is_away:
                _log.warning("the audit trail cannot be written, its events are kept for now: %s", error)
            self._is_away = True
            return False
        self._is_away = False
        self._written += batch.counted
        self._on_written(batch.counted)
        return True

    def _next_batch(self, *, with_loss: bool = False) -> "_Batch | None":
        """At most BATCH events, encoded. Losses are told once per flush: a buffer that stays full would fill the trail."""
        told: dict[str, int] = {}
        if with_loss:
            told, self._untold = self._untold, {}
        now = self._clock.wall()
        events = [Event(now, Action.EVENTS_LOST, Outcome.OBSERVED, why, count=lost, since=now) for why, lost in told.items()]
        while self._buffer and len(events) < BATCH:
            events.append(self._buffer.popleft())
        while self._rows.is_waiting and len(events) < BATCH:
            events += self._rows.take(BATCH - len(events))
        if not events:
            return None
        self._number += 1
        return _Batch(self._number, events, told)


class _Batch:
    """Events on their way, as the script takes them; and the losses that it tells."""

    __slots__ = ("arguments", "counted", "events", "number", "told")

    def __init__(self, number: int, events: list[Event], told: dict[str, int]) -> None:
        self.told = told
        self.number = number
        self.events = len(events)
        self.counted = sum(event.count for event in events if event.action != Action.EVENTS_LOST)
        random = secrets.token_bytes(_PSEUDONYM_BYTES * len(events))
        self.arguments: list[Argument] = []
        for place, event in enumerate(events):
            pseudonym = base64url.encode(random[place * _PSEUDONYM_BYTES : (place + 1) * _PSEUDONYM_BYTES])
            self.arguments += _arguments(event, pseudonym)


def _arguments(event: Event, pseudonym: bytes) -> tuple[Argument, ...]:
    user = event.user
    is_stranger = needs_no_credential(event.action, user)
    if not user:
        return ("1" if is_stranger else "", encode(event), "", "", "", "", "")
    return (
        "1" if is_stranger else "",
        encode(event),
        digest_of(user),
        shown_name(user),
        PSEUDONYM_MARK.encode() + pseudonym,
        "1" if event.action in RETURNS else "",
        f"{event.time:.3f}",
    )
