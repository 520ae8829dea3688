"""The decisions of the last hour, minute by minute: what a picture of them is drawn from where nobody scrapes `/metrics`.

    minute that ends at   12:01  12:02  …  12:59  now
    allow, none             310    295        402   117
    deny, revoked-token                         3     1

Every counter lives in memory that the workers share with the supervisor, so the supervisor sums it up by itself, once a minute:
no worker does anything for it, and a worker that is replaced leaves no dent. The minute that has just begun is summed when
somebody asks.

Owns the sums of sixty minutes (700 bytes each), bounded by count and by age, and forgets them with its process: whoever wants
more has Prometheus.
"""

import asyncio
from array import array
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from operator import add
from typing import Any, Final

from gateway.telemetry.metrics import DECISIONS, REASONS, Layout
from gateway.telemetry.slots import Cells

EVERY_S: Final = 60.0
MINUTES: Final = 60
_LABELS: Final = tuple((decision, reason) for decision in DECISIONS for reason in REASONS)


@dataclass(frozen=True, slots=True)
class Sums:
    """How often each of `_LABELS` was decided until a moment, since the gateway was started."""

    at: float
    values: Sequence[float]


class History:
    """Per process. `run` takes a look every minute; `document` is the hour until now. `wall` is the wall clock."""

    def __init__(self, layout: Layout, cells: Cells, wall: Callable[[], float]) -> None:
        self._places = [route.decisions for route in layout.routes.values()]
        self._cells = cells
        self._wall = wall
        self._kept: deque[Sums] = deque([self._look()], maxlen=MINUTES)

    def move(self, layout: Layout, cells: Cells) -> None:
        """From here on sum up other cells, those of a new configuration."""
        self._places = [route.decisions for route in layout.routes.values()]
        self._cells = cells

    async def run(self) -> None:
        """Look when a minute is over; to be cancelled."""
        while True:
            await asyncio.sleep(until_the_minute(self._wall()))
            self.take()

    def take(self) -> None:
        """Remember the sums as they are now, and forget what is older than an hour."""
        self._kept.append(self._look())
        while self._kept[0].at < self._kept[-1].at - MINUTES * EVERY_S:  # the machine was suspended
            self._kept.popleft()

    def document(self) -> dict[str, Any]:
        """`{"since", "times", "series": [{"decision", "reason", "counts"}]}`: `counts[i]` were decided until `times[i]`.

        Times are whole seconds since 1970; a series that has nothing but zeros is left out.
        """
        looks = [*self._kept, self._look()]
        # A route that a new configuration does without takes its sums with it: that is no minute of negative decisions.
        grown = [[max(0, int(b - a)) for a, b in zip(one.values, two.values, strict=True)] for one, two in pairwise(looks)]
        series = zip(_LABELS, zip(*grown, strict=True), strict=True)
        return {
            "since": int(looks[0].at),
            "times": [int(look.at) for look in looks[1:]],
            "series": [
                {"decision": decision, "reason": reason, "counts": list(counts)}
                for (decision, reason), counts in series
                if any(counts)
            ],
        }

    def _look(self) -> Sums:
        totals: Sequence[float] = [0.0] * len(_LABELS)
        for cells in self._cells.every_block():
            for place in self._places:
                totals = list(map(add, totals, cells[place : place + len(_LABELS)]))
        return Sums(self._wall(), array("d", totals))


def until_the_minute(now: float) -> float:
    """Seconds until a full minute, half of one at least: a timer that comes a moment early is not asked to come again at once."""
    half = EVERY_S / 2
    return EVERY_S + half - (now + half) % EVERY_S
