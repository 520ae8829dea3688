"""One turn: while the lease is ours. Three jobs at once, and one line between them.

    read    the trail from the cursor on; what was chosen joins the line
    send    one after the other, signed, and judged by the answer
    keep    the place in the store, once a second while it changes; and with it the lease

The trail is the queue: what waits, waits there, and is read again for each attempt. So an erased name is not sent, however
late the attempt, and memory holds ids. What has left the trail cannot be sent any more.

The lease is trusted for its life, counted from before it was asked for, and nothing is sent that might come to its end after
that: whoever has the next turn does not send what is on its way still.
"""

import asyncio
import logging
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from gateway.audit.event import needs_no_credential
from gateway.audit.outline import document, json_line
from gateway.audit.read import CursorRefused, Query, Reader, Recorded
from gateway.clock import Clock
from gateway.errors import StoreError
from gateway.telemetry.metrics import WorkerMetrics
from gateway.webhook.line import Line, Pauses, Waiting
from gateway.webhook.place import Place, Places
from gateway.webhook.post import DEADLINE_S, Answer, Poster
from gateway.webhook.signature import signed

PAGE: Final = 250
READ_WAIT_S: Final = 5.0

logger: Final = logging.getLogger("gateway.webhook")


@dataclass(frozen=True, slots=True)
class Timing:
    """How patient it is, in seconds. A test passes its own."""

    lease_s: float = 30.0
    renew_s: float = 5.0  # the lease, where nothing changed
    keep_s: float = 1.0  # the place, where something did
    claim_s: float = 2.0  # between two questions for somebody else's lease
    store_s: float = 1.0  # after the store gave no answer
    deadline_s: float = DEADLINE_S  # of one attempt
    give_up_s: float = 86_400.0  # after an event was written
    pauses: Pauses = field(default_factory=Pauses)


@dataclass(frozen=True, slots=True)
class Receiver:
    """Who is told of what. `host` is for people."""

    host: str
    wanted: frozenset[str]
    secrets: tuple[str, ...]
    poster: Poster


class Turn:
    """From a claim to the loss of the lease, or to `stop`. `held_until`: boot clock."""

    def __init__(
        self,
        place: Place,
        held_until: float,
        receiver: Receiver,
        places: Places,
        reader: Reader,
        clock: Clock,
        metrics: WorkerMetrics,
        timing: Timing,
        stop: asyncio.Event,
    ) -> None:
        self._name = place.name
        self._cursor = place.cursor
        self._held_until = held_until
        self._receiver = receiver
        self._places = places
        self._reader = reader
        self._clock = clock
        self._metrics = metrics
        self._timing = timing
        self._stop = stop
        self._moved = asyncio.Event()  # somebody joined the line, or left it
        self._why = ""  # the receiver takes nothing: said once
        self._line = Line(timing.pauses)
        for identifiers, are_strangers in ((place.named, False), (place.strangers, True)):
            for identifier in identifiers:
                self._line.join(identifier, are_strangers)

    async def run(self) -> None:
        """Until it is over. At its end the place is written and the lease given away, if it is ours still."""
        jobs = [asyncio.create_task(job) for job in (self._keep(), self._read(), self._send())]
        try:
            await asyncio.wait(jobs, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for job in jobs:
                job.cancel()
            results = await asyncio.gather(*jobs, return_exceptions=True)
            self._metrics.webhook_waiting(0)
            with suppress(StoreError):
                await self._places.keep(self._place(), is_last=True)
        for result in results:
            if isinstance(result, Exception):
                raise result

    def _place(self) -> Place:
        return Place(self._name, self._cursor, self._line.named, self._line.strangers)

    def _is_held(self) -> bool:
        """For as long as an attempt may take."""
        return self._clock.boot() + self._timing.deadline_s <= self._held_until

    # Keeping.

    async def _keep(self) -> None:
        """Returns when the lease is somebody else's."""
        kept, renew_at = (-1, self._cursor), 0.0
        while True:
            asked_at, present = self._clock.boot(), (self._line.revision, self._cursor)
            if present != kept or asked_at >= renew_at:
                with suppress(StoreError):
                    if not await self._places.keep(self._place()):
                        logger.warning("another gateway tells %s from now on", self._receiver.host)
                        return
                    self._held_until = asked_at + self._timing.lease_s
                    kept, renew_at = present, asked_at + self._timing.renew_s
            await asyncio.sleep(self._timing.keep_s)

    # Reading.

    async def _read(self) -> None:
        while True:
            try:
                if self._cursor is None:
                    self._cursor = await self._reader.position()
                page = await self._reader.following(Query(), self._cursor, PAGE, READ_WAIT_S)
            except StoreError:
                await asyncio.sleep(self._timing.store_s)
            except CursorRefused:
                logger.error("the place in the audit trail cannot be read: %s is told what is new", self._receiver.host)
                self._cursor = None
            else:
                for recorded in page.events:
                    await self._take(recorded)
                self._cursor = page.cursor

    async def _take(self, recorded: Recorded) -> None:
        """Let it join the line. Where there is no room for one that needed a credential, nothing is read until there is."""
        if str(recorded.event.action) not in self._receiver.wanted:
            return
        is_stranger = needs_no_credential(recorded.event.action, recorded.pseudonym)
        while not is_stranger and not self._line.has_room:
            self._moved.clear()
            await self._moved.wait()
        if not self._line.join(recorded.id, is_stranger):
            self._metrics.webhook_event("dropped")
        self._cursor = recorded.id
        self._moved.set()

    # Sending.

    async def _send(self) -> None:
        """Returns when all is to end, and no attempt is under way."""
        while not self._stop.is_set():
            self._metrics.webhook_waiting(len(self._line))
            one = self._line.next(self._clock.boot()) if self._is_held() else None
            if one is None:
                self._moved.clear()
                await self._wait()
            else:
                await self._attempt(one)
                self._moved.set()

    async def _wait(self) -> None:
        """For somebody to be tried, for the lease, for the end."""
        wait_s = self._line.wait_s(self._clock.boot())
        if wait_s is not None and not self._is_held():
            wait_s = max(wait_s, self._timing.keep_s)
        waits = [asyncio.create_task(event.wait()) for event in (self._moved, self._stop)]
        try:
            await asyncio.wait(waits, timeout=wait_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    async def _attempt(self, one: Waiting) -> None:
        try:
            recorded = await self._reader.find(one.id)
        except StoreError:
            await asyncio.sleep(self._timing.store_s)
            return
        if recorded is None:  # it is older than the trail goes back
            self._metrics.webhook_event("dropped")
            self._line.settle(one, is_delivered=False)
        elif self._is_held():
            if one.failures:
                self._metrics.webhook_retry()
            body, now = message(recorded), self._clock.wall()
            headers = signed(self._receiver.secrets, f"{self._name}-{one.id}", int(now), body)
            self._judge(one, await self._receiver.poster.post(headers, body, now))

    def _judge(self, one: Waiting, answer: Answer) -> None:
        self._tell(answer.why)
        if not answer.why:
            self._metrics.webhook_event("delivered")
            self._line.settle(one, is_delivered=True)
            return
        self._line.fail(one, self._clock.boot(), is_away=answer.is_away, asked_s=answer.asked_s)
        if answer.is_final or self._clock.wall() - written_at(one.id) > self._timing.give_up_s:
            self._metrics.webhook_event("failed")
            self._line.settle(one, is_delivered=False)
            logger.error("%s is never told of the event %s: %s", self._receiver.host, one.id, answer.why)

    def _tell(self, why: str) -> None:
        """Say it when it changes, not for each message."""
        if why and not self._why:
            logger.warning("%s does not take security events, they wait: %s", self._receiver.host, why)
        elif self._why and not why:
            logger.info("%s takes security events again", self._receiver.host)
        self._why = why


def message(recorded: Recorded) -> bytes:
    """The body: the event as `GET /v1/audit` tells it, in the envelope that Standard Webhooks recommends."""
    told = document(recorded)
    return json_line({"type": told["action"], "timestamp": told["time"], "data": told}).rstrip()


def written_at(identifier: str) -> float:
    """When an event was written, wall time of the store: its id says."""
    return int(identifier.partition("-")[0]) / 1000
