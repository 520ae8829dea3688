"""Who serves, who comes, and who still finishes: the generations of workers, and how one takes the place of another.

    started ──▶ coming ──▶ present ──▶ past ──▶ over
                   │                    ▲
                   └── cannot serve ────┘

One that comes must be prepared, and live, before it is lent a socket, and listen on all of them before it is the present one.
Whatever goes wrong until then changes nothing: the present one serves on, and what was started of the other one ends. Only then
does the one before finish what it has begun, for at most its `timeouts.drain`.

Owns the generations and what past ones have counted. Reads no files and opens no addresses: that is `supervisor.py`'s.
"""

import asyncio
import logging
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import count
from typing import Final

from gateway.child import Child
from gateway.errors import GatewayError
from gateway.generation import BEYOND_DRAIN_S, Generation, Surroundings
from gateway.telemetry.former_counts import FormerCounts

LOOK_S: Final = 0.02
PREPARED_WITHIN_S: Final = 30.0
LISTENING_WITHIN_S: Final = 10.0
KILLED_WITHIN_S: Final = 5.0
MOST_PAST: Final = 4  # generations that still finish; with one more, the oldest is told to end

logger: Final = logging.getLogger("gateway.supervisor")


class CannotSucceed(GatewayError):
    """The workers of a new configuration did not come to serve. Those of the present one serve on."""


class Succession:
    """Per supervisor. `present` serves. `restarts` counts workers that were started again, in all generations."""

    __slots__ = ("_boot", "_coming", "_former", "_restarts_before", "_told_to_stop", "past", "present")

    def __init__(self, first: Generation, boot: Callable[[], float], told_to_stop: asyncio.Event) -> None:
        """`boot` is the boot clock. Once `told_to_stop`, nobody succeeds any more."""
        self.present = first
        self.past: list[Generation] = []
        self._coming: Generation | None = None
        self._boot = boot
        self._told_to_stop = told_to_stop
        self._former = FormerCounts()
        self._restarts_before = 0

    def begin(self, around: Surroundings) -> None:
        """Start the first workers."""
        self.present.start(self._boot(), around, self._free_seats(), (0, 0))

    async def succeed(self, after: Generation, around: Surroundings) -> None:
        """Start this one's workers and have them take the place of the present ones. One at a time.

        Raises CannotSucceed, with nothing changed. When it returns, `after` is the present one, and the one before finishes.
        """
        assert self._coming is None
        self._coming = after
        try:
            after.start(self._boot(), around, self._free_seats(), self.log_seen())
            await self._wait(after, self._can_serve, PREPARED_WITHIN_S, "ready to serve")
            await self._wait(after, self._listens, LISTENING_WITHIN_S, "listening")
        except BaseException:
            self._retire(after)
            raise
        finally:
            self._coming = None
        before, self.present = self.present, after
        self._restarts_before += sum(child.restarts for child in before.children)
        self._retire(before)
        self._tell_on()

    def watch(self, now: float, judged_from: float) -> bool:
        """What is due: bury, kill and start workers, lend sockets, forget who is over. Whether somebody was forgotten."""
        for generation in (*self.past, self.present):
            generation.watch(now, judged_from)
        self.present.lend(now)
        return self._forget()

    async def end(self, told_to_hurry: asyncio.Event) -> None:
        """SIGTERM to all workers, and SIGKILL to those that do not finish in time, or once `told_to_hurry`."""
        deadline = time.monotonic() + self.present.config.timeouts.drain + BEYOND_DRAIN_S
        for child in self.children():
            child.end()
        while self._reap_all() and time.monotonic() < deadline and not told_to_hurry.is_set():
            await _moment(told_to_hurry)
        for child in self.children():
            if child.is_running:
                logger.warning("Worker %d (process %d) did not finish in time and is killed", child.index, child.pid)
                child.signal(signal.SIGKILL)
        deadline = time.monotonic() + KILLED_WITHIN_S
        while self._reap_all() and time.monotonic() < deadline:  # noqa: ASYNC110 - what was killed is gone within milliseconds
            await asyncio.sleep(LOOK_S)
        for child in self.children():
            if child.is_running:  # in the kernel's hands, waiting for a disk
                logger.error("Worker %d (process %d) was killed and is not gone", child.index, child.pid)

    def log_seen(self) -> tuple[int, int]:
        """How far the log came, for workers that start later: they must not believe a store that was rolled back [L5]."""
        return max(generation.log_seen() for generation in (*self.past, self.present))

    def children(self) -> list[Child]:
        """Of all generations."""
        coming = [self._coming] if self._coming is not None else []
        return [child for generation in (*self.past, self.present, *coming) for child in generation.children]

    def past_children(self) -> list[Child]:
        return [child for generation in self.past for child in generation.children]

    @property
    def restarts(self) -> int:
        return self._restarts_before + sum(child.restarts for child in self.present.children)

    def close(self) -> None:
        """Give back what was to be inherited. When no worker lives any more."""
        for generation in (*self.past, self.present):
            generation.close()

    async def _wait(self, after: Generation, is_so: Callable[[Generation, float], bool], within_s: float, what: str) -> None:
        deadline = time.monotonic() + within_s
        while not is_so(after, now := self._boot()):
            if self._told_to_stop.is_set():
                raise CannotSucceed("the gateway is told to end")
            if after.has_lost_one(now):
                raise CannotSucceed("a new worker ended as soon as it was started; its own message says why")
            if time.monotonic() > deadline:
                raise CannotSucceed(f"the new workers were not {what} within {within_s:.0f} s")
            await _moment(self._told_to_stop)

    def _reap_all(self) -> bool:
        """Bury who has ended; whether somebody is left."""
        now = self._boot()
        for child in self.children():
            child.reap(now)
        return any(child.is_running for child in self.children())

    def _can_serve(self, after: Generation, now: float) -> bool:
        """All are prepared, and live.

        Unless nobody here knows the log: during an outage the present ones know what is revoked, and serve routes that may go on
        with that; new ones would know nothing. Where nobody knows anything, new ones are no worse.
        """
        if not after.is_prepared():
            return False
        is_live = all(worker.reading.state == "live" for worker in after.workers(now))
        return is_live or all(worker.reading.lag_s == float("inf") for worker in self.present.workers(now))

    def _listens(self, after: Generation, now: float) -> bool:
        """All do, beside the present ones."""
        after.lend(now)
        return all(worker.reading.is_listening for worker in after.workers(now))

    def _retire(self, generation: Generation) -> None:
        """Let it finish. One that never served is told on too: what it has counted of the store has happened."""
        self._former.retire(generation.layout, generation.cells)
        self.past.append(generation)
        generation.retire(self._boot())
        for oldest in self.past[:-MOST_PAST]:
            logger.warning("The workers of %d configurations still finish: the oldest are told to end", len(self.past))
            for child in oldest.children:
                child.end()

    def _forget(self) -> bool:
        """Let go of generations whose last worker has ended, and tell on what the others count meanwhile."""
        over = [generation for generation in self.past if generation.is_over]
        for generation in over:
            self._former.settle(generation.cells)
            generation.close()
            logger.info("The workers of the configuration before have finished")
        if self.past:
            self.past = [generation for generation in self.past if generation not in over]
            self._tell_on()
        return bool(over)

    def _tell_on(self) -> None:
        self._former.write(self.present.layout, self.present.cells.block(self.present.count + 1))

    def _free_seats(self) -> Iterator[int]:
        """Those that no living worker has."""
        taken = {child.seat for child in self.children()}
        return (seat for seat in count() if seat not in taken)


async def _moment(event: asyncio.Event) -> None:
    """Until the event, or for as long as one may wait between two looks."""
    with suppress(TimeoutError):
        async with asyncio.timeout(LOOK_S):
            await event.wait()
