"""Counting what repeats: at most one event at once and one at the end of the minute, however often it happens [B1]. Pure.

    first of its row      told at once, count 1
    every other           count += 1, in place: this is what a flood of refusals costs
    the minute is over    one event for the rest, with its count, from when and until when

A row is (action, reason, user, session); for nobody known, (action, reason, network). Network and route are told with the
count if they were the same for all. Rows are bounded, those that need no credential apart from the others, so that no
stranger crowds out a user; what finds no place is counted in a row of its reason alone.

The minute's end only puts the table aside: it may be seen from inside a request, and turning thousands of rows into events
takes milliseconds. Whoever writes takes them in small portions.
"""

from collections import deque
from typing import Final

from gateway.audit.event import Event, needs_no_credential

MINUTE_S: Final = 60.0
MOST_ROWS: Final = 4096
MOST_OF_STRANGERS: Final = 256
MOST_OVERFLOWS: Final = 64  # reasons are a fixed list; this bounds a mistake
MOST_MINUTES: Final = 3  # put aside while the store is away

_Key = tuple[str, str, str, str]


class Row:
    """One kind of event in one minute. `count` includes the first, which was told by itself."""

    __slots__ = ("count", "last", "network", "outcome", "route", "since")

    def __init__(self, now: float, outcome: str, network: str, route: str) -> None:
        self.count = 1
        self.since = now
        self.last = now
        self.outcome = outcome
        self.network = network
        self.route = route


class Rows:
    """Per process: the present minute's rows, and the minutes that are over."""

    __slots__ = ("_closed", "_ends", "_most", "_most_strangers", "_overflows", "_rows", "_strangers", "dropped")

    def __init__(self, most: int = MOST_ROWS, most_strangers: int = MOST_OF_STRANGERS) -> None:
        self._most = most
        self._most_strangers = most_strangers
        self._rows: dict[_Key, Row] = {}
        self._closed: deque[dict[_Key, Row]] = deque()
        self._ends = 0.0
        self._strangers = 0
        self._overflows = 0
        self.dropped = 0  # events counted in minutes that nobody took in time

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def is_waiting(self) -> bool:
        """Whether minutes that are over wait to be taken."""
        return bool(self._closed)

    def add(self, now: float, action: str, reason: str, user: str, session: str, network: str, route: str, outcome: str) -> bool:
        """Count one event. True: it is the first of its row, to be told by itself. `now` is wall clock."""
        if now >= self._ends:
            self.close_minute(now)
        row = self._rows.get((action, reason, user, session if user else network))
        if row is None:
            return self._place(now, action, reason, user, session, network, route, outcome)
        row.count += 1
        row.last = now
        if row.network != network:
            row.network = ""
        if row.route != route:
            row.route = ""
        return False

    def close_minute(self, now: float, *, early: bool = False) -> None:
        """Put the minute aside if it is over; `early`: over or not."""
        if now < self._ends and not early:
            return
        self._ends = (now // MINUTE_S + 1) * MINUTE_S
        if self._rows:
            if len(self._closed) < MOST_MINUTES:
                self._closed.append(self._rows)
            else:
                self.dropped += sum(row.count - 1 for row in self._rows.values())
            self._rows = {}
            self._strangers = self._overflows = 0

    def take(self, most: int) -> list[Event]:
        """At most so many of the events that minutes which are over became. Costs about 3 µs each."""
        events: list[Event] = []
        looked_at = 0
        while self._closed and len(events) < most and looked_at < 8 * most:
            minute = self._closed[0]
            while minute and len(events) < most and looked_at < 8 * most:
                key, row = minute.popitem()
                looked_at += 1
                if row.count > 1:
                    events.append(_summary(key, row))
            if not minute:
                self._closed.popleft()
        return events

    def drop(self) -> int:
        """Forget everything that was counted and not told; how many events that was."""
        dropped = self.dropped + sum(row.count - 1 for rows in (*self._closed, self._rows) for row in rows.values())
        self._closed.clear()
        self._rows = {}
        self._strangers = self._overflows = self.dropped = 0
        return dropped

    def _place(
        self, now: float, action: str, reason: str, user: str, session: str, network: str, route: str, outcome: str
    ) -> bool:
        is_stranger = needs_no_credential(action, user)
        if self._has_room(is_stranger):
            self._strangers += is_stranger
            key = (action, reason, user, session if user else network)
        else:
            network = route = ""
            key = (action, reason if self._overflows < MOST_OVERFLOWS else "", "", "")
            row = self._rows.get(key)
            if row is not None:
                row.count += 1
                row.last = now
                return False
            self._overflows += 1
        self._rows[key] = Row(now, outcome, network, route)
        return True

    def _has_room(self, is_stranger: bool) -> bool:
        if is_stranger:
            return self._strangers < self._most_strangers
        return len(self._rows) - self._strangers - self._overflows < self._most


def _summary(key: _Key, row: Row) -> Event:
    action, reason, user, session_or_network = key
    return Event(
        time=row.last,
        action=action,
        outcome=row.outcome,
        reason=reason,
        user=user,
        session=session_or_network if user else "",
        network=row.network,
        route=row.route,
        count=row.count - 1,
        since=row.since,
    )
