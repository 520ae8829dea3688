"""The breaker of the fingerprint: when everybody seems to have moved at once, nobody has [S2].

Owns the names of the sessions that differed within the last minute. It refuses nothing: `fingerprint.act` asks it.
"""

from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from gateway.config.schema import Fingerprint
from gateway.enforce.fingerprint import Mismatch, Signal, configured


class Calm:
    """The breaker [S2]: when many sessions change their network or country at once, it is not they who changed.

    A wrong `trusted_proxies` makes everybody come from the proxy, and a broken database of countries from somewhere else. So
    when within a minute more than 20 sessions and more than 5 % of the active ones differ in one of the two signals, its
    action falls to `alert` until that minute is over. Signals are counted apart: a site full of phones must not
    switch the country off. Only those whose action is stronger than `alert` are counted at all. Never `device`.
    """

    WINDOW_S: Final = 60.0
    FEWEST: Final = 20
    SHARE: Final = 0.05
    MOST: Final = 65_536  # names that are remembered; more than so many are a storm of whatever share

    __slots__ = ("_active", "_asked_at", "_count_active", "_seen")

    def __init__(self, rules: Fingerprint, count_active: Callable[[float], int]) -> None:
        """`count_active(since)` says how many sessions this worker has seen since; it is asked once a second at most."""
        # In the order of time. NB: a plain dict is slow when it loses its first key again and again.
        self._seen: dict[Signal, OrderedDict[str, float]] = {
            signal: OrderedDict()
            for signal in (Signal.NETWORK, Signal.COUNTRY)
            if configured(rules, signal) in ("deny", "end_session")
        }
        self._count_active = count_active
        self._active = 0
        self._asked_at = -self.WINDOW_S

    def note(self, session: str, mismatches: tuple[Mismatch, ...], now: float) -> frozenset[Signal]:
        """A session differs from its login; returns what is subdued, for `act`. Any clock in seconds that does not go back."""
        for mismatch in mismatches:
            seen = self._seen.get(mismatch.signal)
            if seen is not None and mismatch.most == "end_session":
                seen[session] = now
                seen.move_to_end(session)
                if len(seen) > self.MOST:
                    seen.popitem(last=False)
        return self.subdued(now)

    def subdued(self, now: float) -> frozenset[Signal]:
        """The signals whose actions fall to `alert` at the moment: each of them is worth a page."""
        return frozenset(signal for signal, seen in self._seen.items() if self._is_storm(seen, now))

    def _is_storm(self, seen: OrderedDict[str, float], now: float) -> bool:
        while seen and seen[next(iter(seen))] <= now - self.WINDOW_S:
            seen.popitem(last=False)
        if len(seen) <= self.FEWEST:
            return False
        if now - self._asked_at >= 1.0:
            self._asked_at = now
            self._active = self._count_active(now - self.WINDOW_S)
        return len(seen) >= self.MOST or len(seen) > self.SHARE * self._active
