"""The states of a worker's replica, as a table.

    empty         nothing was read yet
    catching_up   a snapshot is being read, or the log behind it is not yet read to its head
    live          a member: everything up to the head of the log was applied at the moment of the newest proof
    lost          the store that answers is not the one we knew, or was never declared. Nothing is read as "not revoked"

`stale` is not a state: a live replica whose newest proof is too old is stale, and that is computed when it is asked
(L3), because a timer that sets a flag does not run while the process hangs.

What happens in a lost store's time is decided by the events: `returned` is the store we knew, with our last entry
where we left it; `declared` is an epoch that is younger than ours, and an epoch is only ever made by an operator or at
the embedded store's very first start. Anything else keeps us lost.
"""

from enum import StrEnum
from typing import Final


class State(StrEnum):
    """Of a replica."""

    EMPTY = "empty"
    CATCHING_UP = "catching_up"
    LIVE = "live"
    LOST = "lost"


WHY_LOST: Final = "the store was never declared (gateway store init), or it lost what it had and is given it back"
"""What `lost` means, for people."""


class Event(StrEnum):
    """What the follower found out from one answer of the store."""

    DECLARED = "declared"
    GRANTED = "granted"
    BELOW_FLOOR = "below_floor"
    BROKEN = "broken"
    RETURNED = "returned"


TRANSITIONS: Final[dict[State, dict[Event, State]]] = {
    State.EMPTY: {
        Event.DECLARED: State.CATCHING_UP,
        Event.BROKEN: State.LOST,
    },
    State.CATCHING_UP: {
        Event.DECLARED: State.CATCHING_UP,
        Event.GRANTED: State.LIVE,
        Event.BELOW_FLOOR: State.CATCHING_UP,
        Event.BROKEN: State.LOST,
    },
    State.LIVE: {
        Event.GRANTED: State.LIVE,
        Event.BELOW_FLOOR: State.CATCHING_UP,
        Event.BROKEN: State.LOST,
    },
    State.LOST: {
        Event.DECLARED: State.CATCHING_UP,
        Event.RETURNED: State.CATCHING_UP,
        Event.BROKEN: State.LOST,
    },
}


def next_state(state: State, event: Event) -> State:
    """The state after the event. A pair that is not in the table is a mistake of ours and raises with both names."""
    try:
        return TRANSITIONS[state][event]
    except KeyError:
        raise ValueError(f"a replica that is {state} cannot meet {event}") from None
