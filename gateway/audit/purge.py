"""Dropping what the trail has kept for long enough: events by age, and the names of people no event speaks of any more.

The length is bounded where events are appended. Here is the second bound; it runs now and then, in the background or by
`gateway purge`, in portions after each of which others have their turn at the store.
"""

from dataclasses import dataclass
from typing import Final

from gateway.audit.erase import FORGOTTEN_S
from gateway.audit.keys import KEYS, PURGE
from gateway.store.client import Store
from gateway.store.scripts import run_script

PORTION: Final = 2000
_MOST_PORTIONS: Final = 100_000


@dataclass(frozen=True, slots=True)
class Purged:
    """What was dropped: events, names of people, and memories of erasures."""

    events: int
    names: int
    erasures: int


async def purge(store: Store, *, keep_s: float, forgotten_s: float = FORGOTTEN_S) -> Purged:
    """Drop events older than `keep_s`, names not seen since, erasures older than `forgotten_s`. Raises `StoreUnavailable`."""
    events = names = erasures = 0
    for _ in range(_MOST_PORTIONS):
        portion = [int(count) for count in await run_script(store, PURGE, KEYS, [keep_s, forgotten_s, PORTION])]
        events, names, erasures = events + portion[0], names + portion[1], erasures + portion[2]
        if not portion[3]:
            break
    return Purged(events, names, erasures)
