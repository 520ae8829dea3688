"""How often one may fail: counters in the store, shared by all workers.

A place is taken before the password is looked at and given back when it was right, so failures alone count, and a thousand
guesses sent at once are counted before the first is judged. Several counters are taken in one step, all or none: an attempt
that is refused by one of them uses up nothing of the others.

    gateway:{limit}:account:<digest>    10 a minute, also for names that no account has
    gateway:{limit}:network:<digest>    50 a minute
    gateway:{limit}:device:<digest>     10 a minute, instead of both, for a device that logged in before [B2]

Beside them are watches, which limit nobody: they say when a hundred attempts failed within ten minutes, and then begin anew. They
are counted in the same step, so noticing a flood costs no way to the store.

    gateway:{limit}:failed-account:<digest>    failures by the minute, of one name
    gateway:{limit}:failed-network:<digest>    of one network

Names reach a key only as digests, so nobody chooses its length or its slot. A counter's key expires when it is empty, within a
period, a watch's after eleven minutes; and since each taken place is one of the network's too, and one that was not to be had is
counted only for a counter that is full, strangers make at most 50 keys of each kind a minute and network [L11].

It owns no data but in the store. Not here: which counters concern an attempt (known_devices.py, authenticate.py).
"""

import contextlib
from base64 import urlsafe_b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Final

from gateway.errors import StoreError
from gateway.login.turns import Turns
from gateway.store.client import Argument
from gateway.store.scripts import load_script

_LIMIT: Final = load_script(Path(__file__).parent / "lua" / "limit.lua")
_MICROSECONDS: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Rate:
    """So many at once, and again as they become old enough: `count` in `period_s`."""

    count: int
    period_s: float


PER_ACCOUNT: Final = Rate(10, 60)
PER_NETWORK: Final = Rate(50, 60)
PER_DEVICE: Final = Rate(10, 60)
REGISTRATIONS_PER_NETWORK: Final = Rate(600, 3600)

FLOOD_FAILURES: Final = 100
FLOOD_WINDOW_S: Final = 600


@dataclass(frozen=True, slots=True)
class Counter:
    """One counter: what is counted (`account`, `network`…), of whom, and how many are allowed."""

    kind: str
    names: tuple[str, ...]
    rate: Rate

    @property
    def key(self) -> str:
        """Where the store keeps it."""
        return f"gateway:{{limit}}:{self.kind}:{digest(*self.names)}"

    @property
    def arguments(self) -> tuple[int, int]:
        """Interval and period for the script. Rounded down, so that `count` intervals fit into the period."""
        period = round(self.rate.period_s * _MICROSECONDS)
        return period // self.rate.count, period


@dataclass(frozen=True, slots=True)
class Watch:
    """Failures of one `account` or `network`. `counter` is the place, among those of the attempt, of the one that limits it."""

    kind: str
    names: tuple[str, ...]
    counter: int

    @property
    def key(self) -> str:
        """Where the store keeps it."""
        return f"gateway:{{limit}}:failed-{self.kind}:{digest(*self.names)}"


@dataclass(frozen=True, slots=True)
class Limited:
    """Too often. `counter` is the kind of the one that was full; it has room again after `retry_after_s`."""

    counter: str
    retry_after_s: float


async def take(store: Turns, counters: Sequence[Counter]) -> Limited | None:
    """Take a place of each counter, or none and say which was full. Raises `StoreUnavailable`."""
    return (await take_watched(store, counters, ()))[0]


async def take_watched(
    store: Turns, counters: Sequence[Counter], watches: Sequence[Watch]
) -> tuple[Limited | None, tuple[Watch, ...]]:
    """The same, and which watches this attempt fills, should it fail: it has, if it is limited. Raises `StoreUnavailable`."""
    number, wait, *reached = await _run(store, "take", counters, watches, [watch.counter + 1 for watch in watches])
    limited = Limited(counters[int(number) - 1].kind, int(wait) / _MICROSECONDS) if number else None
    return limited, tuple(watches[int(place) - 1] for place in reached)


async def give_back(
    store: Turns, counters: Sequence[Counter], watches: Sequence[Watch] = (), reached: Sequence[Watch] = ()
) -> None:
    """Undo a `take`, with what it answered. Raises `StoreUnavailable`."""
    await _run(store, "give back", counters, watches, [int(watch in reached) for watch in watches])


async def give_back_if_possible(
    store: Turns, counters: Sequence[Counter], watches: Sequence[Watch] = (), reached: Sequence[Watch] = ()
) -> None:
    """The same on the way out of another failure, which it does not hide: the place runs out by itself."""
    with contextlib.suppress(StoreError):
        await give_back(store, counters, watches, reached)


def digest(*names: str) -> str:
    """24 characters for names of any length and kind. Each goes in with its length, so none flows into the next."""
    hashed = blake2b(digest_size=18)
    for name in names:
        raw = name.encode("utf-8", "surrogatepass")
        hashed.update(len(raw).to_bytes(4, "big") + raw)
    return urlsafe_b64encode(hashed.digest()).decode()


async def _run(
    store: Turns, what: str, counters: Sequence[Counter], watches: Sequence[Watch], about_watches: Sequence[int]
) -> Sequence[int]:
    arguments: list[Argument] = [what, len(counters), FLOOD_FAILURES, FLOOD_WINDOW_S // 60]
    arguments += (argument for counter in counters for argument in counter.arguments)
    arguments += about_watches
    keys = [counter.key for counter in counters] + [watch.key for watch in watches]
    answer: Sequence[int] = await store.run(_LIMIT, keys, arguments)
    return answer
