"""Who waits to be sent, and when who may be tried again. Pure: it is told the time and never looks.

    join ──▶ waiting ──▶ next: the least tried, then the oldest ──▶ settle       delivered, or given up
                ▲                                               └─▶ fail ─┐
                └──────────────── due again after a pause ────────────────┘

Events wait as their ids: the trail has the rest. Two kinds of failure, because one event that its receiver cannot stomach must
not hold up the others, and a receiver that is away must not be asked once for each that waits:

    the receiver is away      everybody waits: 1 s, 2 s, 4 s … a minute; then another one is tried
    this event is refused     it alone waits: 5 s, 20 s, 80 s … an hour. The third refusal in a row is the receiver's trouble, too

Of a thousand places, half are for events that need no credential: a stranger's flood displaces only strangers [B1].
"""

import random
from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain
from typing import Final

MOST_NAMED: Final = 500
MOST_OF_STRANGERS: Final = 500
_IN_A_ROW: Final = 3


@dataclass(frozen=True, slots=True)
class Pauses:
    """First pause, factor, longest pause: of everybody when the receiver is away, of one event that is refused. Seconds."""

    away_s: tuple[float, float, float] = (1.0, 2.0, 60.0)
    refused_s: tuple[float, float, float] = (5.0, 4.0, 3600.0)
    longest_asked_s: float = 3600.0
    """What `Retry-After` may ask for at most."""


@dataclass(slots=True, eq=False)
class Waiting:
    """One event. `failures`: how often it was tried by this process, in vain. `due_at`: boot clock."""

    id: str
    failures: int = 0
    due_at: float = 0.0


class Line:
    """Per process that holds the lease; it dies with it. `revision` grows with every change of who waits."""

    __slots__ = ("_again_at", "_chance", "_failures", "_named", "_pauses", "_strangers", "revision")

    def __init__(self, pauses: Pauses | None = None, chance: Callable[[], float] = random.random) -> None:
        self._pauses = pauses or Pauses()
        self._chance = chance
        self._named: dict[str, Waiting] = {}
        self._strangers: dict[str, Waiting] = {}
        self._failures = 0  # in a row, whoever failed
        self._again_at = 0.0  # nobody is tried before; boot clock
        self.revision = 0

    def __len__(self) -> int:
        return len(self._named) + len(self._strangers)

    @property
    def has_room(self) -> bool:
        """For one more whose event needed a credential. Where there is none, nothing more is read."""
        return len(self._named) < MOST_NAMED

    @property
    def named(self) -> tuple[str, ...]:
        """Ids, as they came."""
        return tuple(self._named)

    @property
    def strangers(self) -> tuple[str, ...]:
        """Ids of those that needed no credential."""
        return tuple(self._strangers)

    def join(self, identifier: str, is_stranger: bool) -> bool:
        """False: it is dropped, because too many of its kind wait."""
        kind = self._strangers if is_stranger else self._named
        if is_stranger and len(kind) >= MOST_OF_STRANGERS:
            return False
        kind.setdefault(identifier, Waiting(identifier))
        self.revision += 1
        return True

    def next(self, now: float) -> Waiting | None:
        """Who is to be tried now, if anybody may."""
        if now < self._again_at:
            return None
        due = (one for one in self._everybody() if one.due_at <= now)
        return min(due, key=_order, default=None)

    def wait_s(self, now: float) -> float | None:
        """Until somebody may be tried; None: nobody waits."""
        first = min((one.due_at for one in self._everybody()), default=None)
        return None if first is None else max(0.0, max(first, self._again_at) - now)

    def settle(self, one: Waiting, *, is_delivered: bool) -> None:
        """It waits no longer."""
        if is_delivered:
            self._failures = 0
            self._again_at = 0.0
        self._named.pop(one.id, None)
        self._strangers.pop(one.id, None)
        self.revision += 1

    def fail(self, one: Waiting, now: float, *, is_away: bool, asked_s: float = 0.0) -> None:
        """It was tried in vain. `is_away`: nothing speaks against the event itself. `asked_s`: what the receiver asked for."""
        pauses = self._pauses
        asked_s = min(asked_s, pauses.longest_asked_s)
        one.failures += 1
        self._failures += 1
        if is_away:
            self._again_at = now + max(asked_s, self._pause_s(pauses.away_s, self._failures))
            return
        one.due_at = now + max(asked_s, self._pause_s(pauses.refused_s, one.failures))
        if self._failures >= _IN_A_ROW:
            self._again_at = now + self._pause_s(pauses.away_s, self._failures - _IN_A_ROW + 1)

    def _pause_s(self, pauses: tuple[float, float, float], failures: int) -> float:
        """Grows with the failures. A quarter more or less, so that senders who stopped together do not come back together."""
        first, factor, longest = pauses
        grown = first * factor ** min(failures - 1, 30)
        return min(longest, grown) * (0.75 + 0.5 * self._chance())

    def _everybody(self) -> "chain[Waiting]":
        return chain(self._named.values(), self._strangers.values())


def _order(one: Waiting) -> tuple[int, ...]:
    """By failures, so that one at which the receiver chokes does not stand in front; then by when it was written."""
    return one.failures, *map(int, one.id.split("-"))
