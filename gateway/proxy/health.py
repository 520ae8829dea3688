"""Whether an address of an upstream is used: a circuit breaker for its connects, and ejection for its answers.

    up ────── connects fail in a row ──────> down ── its time is over ──> probing ── connected ──> up
    │ ^                                       ^ └─ connected after all ──> up        │
    │ └─ its time is over, the check passes   └────────────── not connected ─────────┘  (twice as long)
    └─ answers fail in a row, or the check ─> ejected ── connects fail ──> down

In the words of circuit breakers `up` is closed, `down` open and `probing` half-open: one attempt at a time, made by the gateway
and not by a request. `ejected` is milder: who answers badly, but answers, is still better than nobody (`balancer`).

Owns the state of one address in one worker. It connects nowhere; the clock is the caller's.
"""

import random
from collections.abc import Callable
from enum import Enum
from math import inf
from typing import Final

from gateway.config.schema import Ejection

FIRST_EJECTION_S: Final = 1.0
FIRST_BREAK_S: Final = 0.5
# A probe is one connect per worker. Longer would only keep requests out of an application that is back.
LONGEST_BREAK_S: Final = 5.0
CHECKS_TO_EJECT: Final = 2


class State(Enum):
    """What an address is good for."""

    UP = "up"
    EJECTED = "ejected"
    DOWN = "down"
    PROBING = "probing"


class Event(Enum):
    """What was learnt about an address."""

    UNREACHABLE = "unreachable"  # connects failed, so many in a row, or the probe
    CONNECTED = "connected"
    UNFIT = "unfit"  # answers failed, so many in a row, or the check
    FIT = "fit"  # its time is over, or the check passed
    PROBED = "probed"  # a probe begins


NEXT: Final[dict[State, dict[Event, State]]] = {
    State.UP: {Event.UNREACHABLE: State.DOWN, Event.UNFIT: State.EJECTED},
    State.EJECTED: {Event.UNREACHABLE: State.DOWN, Event.FIT: State.UP},
    State.DOWN: {Event.PROBED: State.PROBING, Event.CONNECTED: State.UP},
    State.PROBING: {Event.UNREACHABLE: State.DOWN, Event.CONNECTED: State.UP},
}


class Health:
    """What is known of one address. Each method says whether the state changed."""

    def __init__(self, config: Ejection, chance: Callable[[], float] = random.random) -> None:
        self.state = State.UP
        self.is_troubled = False  # asked for at every answer: only then a good one is news
        self._config = config
        self._chance = chance
        self._failed_connects = 0  # in a row
        self._failed_answers = 0  # in a row
        self._failed_checks = 0  # in a row
        self._ejections = 0  # since the last good answer: each is twice as long as the one before
        self._breaks = 0  # the same for `down`
        self._until = inf

    @property
    def _is_check_failed(self) -> bool:
        return self._failed_checks >= CHECKS_TO_EJECT

    @property
    def is_reachable(self) -> bool:
        """Connects are worth while."""
        return self.state is State.UP or self.state is State.EJECTED

    def connected(self, now: float) -> bool:
        """A connection was made, by a probe or by anybody."""
        self._failed_connects = 0
        if self.is_reachable:
            return False
        self._meet(Event.CONNECTED)
        self.is_troubled = True  # only an answer proves that it is well
        if self._is_check_failed:
            self._eject(inf)
        return True

    def connect_failed(self, now: float) -> bool:
        """Nobody accepted, or not in time. Attempts that began before it was known to be down say nothing new."""
        self._failed_connects += 1
        is_probe = self.state is State.PROBING
        if not is_probe and (not self.is_reachable or self._failed_connects < self._config.failures):
            return False
        self._meet(Event.UNREACHABLE)
        self._until = now + self._drawn(FIRST_BREAK_S, self._breaks, LONGEST_BREAK_S)
        self._breaks += 1
        return not is_probe

    def answered(self) -> None:
        """A request was answered, whatever the status."""
        self.is_troubled = False
        self._failed_answers = self._ejections = self._breaks = 0

    def answer_failed(self, now: float, *, may_eject: bool) -> bool:
        """No answer came, or one that was cut off. `may_eject`: enough others are left."""
        self.is_troubled = True
        self._failed_answers += 1
        if self.state is not State.UP or not may_eject or self._failed_answers < self._config.failures:
            return False
        self._eject(now + self._drawn(FIRST_EJECTION_S, self._ejections, self._config.longest))
        self._ejections += 1
        self._failed_answers -= 1  # when it is used again, the next failure is one too many
        return True

    def checked(self, *, is_well: bool) -> bool:
        """The application answered its check, as it should or not."""
        self._failed_checks = 0 if is_well else self._failed_checks + 1
        if is_well and self.state is State.EJECTED and self._until == inf:
            self._meet(Event.FIT)
            return True
        if self._is_check_failed and self.state is State.UP:
            self._eject(inf)
            return True
        if self._is_check_failed and self.state is State.EJECTED:
            self._until = inf
        return False

    def tick(self, now: float) -> bool:
        """Time passes: an ejection may be over, a probe may be due (`wants_probe`)."""
        if now < self._until:
            return False
        if self.state is State.EJECTED:
            self._meet(Event.FIT)
            return True
        return False

    def wants_probe(self, now: float) -> bool:
        """Whether it is time to try again. The caller does, and tells `connected` or `connect_failed`."""
        if self.state is not State.DOWN or now < self._until:
            return False
        self._meet(Event.PROBED)
        return True

    def _eject(self, until: float) -> None:
        self._meet(Event.UNFIT)
        self._until = until

    def _meet(self, event: Event) -> None:
        following = NEXT[self.state].get(event)
        if following is None:
            raise AssertionError(f"{event.value} in {self.state.value}")
        self.state = following
        self._until = inf

    def _drawn(self, first_s: float, times: int, longest_s: float) -> float:
        """Twice as long as the last time, less up to half: workers shall not come back in step."""
        return min(first_s * 2.0 ** min(times, 16), longest_s) * (1.0 - self._chance() / 2.0)
