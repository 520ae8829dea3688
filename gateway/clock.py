"""The clocks. The only file that reads them; everything else is told the time.

Three times exist here, and mixing them up lets a revoked token in:

* wall time, seconds since 1970: what `exp` and `iat` speak of. Ours never goes back (a token that was expired stays so);
* boot time, seconds since boot *counting suspension*: the age of a proof of freshness. `CLOCK_MONOTONIC` stops
  while a laptop or a virtual machine sleeps, and would call an hour-old replica fresh;
* loop time, `loop.time()`: deadlines of connections.
"""

import time
from collections.abc import Callable
from functools import partial
from typing import Final

LARGEST_STORE_OFFSET_S: Final = 1.0
"""Beyond it our wall clock and the store's cannot both be right, and a worker is not ready [T6]."""

_BOOTTIME: Final = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class Clock:
    """Wall and boot time of one process. `store_offset_s` is the store's wall clock minus ours, set by the follower."""

    __slots__ = ("_latest", "boot", "store_offset_s")

    def __init__(self) -> None:
        self._latest = 0.0
        self.store_offset_s = 0.0
        #: Seconds since boot, suspension included. An attribute and not a method: it is read three times per request.
        self.boot: Callable[[], float] = partial(time.clock_gettime, _BOOTTIME)

    def wall(self) -> float:
        """Seconds since 1970, never less than what was answered before."""
        now = time.time()
        if now > self._latest:
            self._latest = now
            return now
        return self._latest
