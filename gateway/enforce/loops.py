"""An expired token that is shown again and again: a client that never learnt to renew it, or somebody who tries what he found.

    shown      1 2 3 … 10 11 12 …              told at the tenth, once for this minute
               └──── a minute ────┘

A token is known by its issuer and its id, else by its bytes. Counted per worker, in a bounded memory, and only what is genuine:
a stranger's bytes make no entry. Owns the counts and decides nothing.
"""

from typing import Final

from gateway.enforce.verified import Verified

USES: Final = 10
WINDOW_S: Final = 60.0
MOST_TOKENS: Final = 10_000

_Name = tuple[str, str | bytes]


class ExpiredLoops:
    """Per worker."""

    __slots__ = ("_seen",)

    def __init__(self) -> None:
        self._seen: dict[_Name, tuple[float, int]] = {}  # when its minute began, and how often it was shown since

    def note(self, token: Verified, now: float) -> bool:
        """The token was refused as expired. True: it is in a loop, which was not told in this minute."""
        name: _Name = (token.issuer, token.token_id or token.shown_as)
        began, uses = self._seen.get(name, (now, 0))
        if now - began >= WINDOW_S:
            began, uses = now, 0
        if not uses:
            self._make_room()
        self._seen[name] = (began, uses + 1)
        return uses + 1 == USES

    def _make_room(self) -> None:
        if len(self._seen) >= MOST_TOKENS:
            for oldest in list(self._seen)[: MOST_TOKENS // 2]:
                del self._seen[oldest]
