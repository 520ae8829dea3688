"""Who was let in while revocation could not be checked, and who of them should not have been.

    replica stale, route `stale` or `allow`:  admitted ──► noted: token, route, when, how often
    replica fresh again:                      does the log know a fact from before the admission? ──► told, once

The price of `on_outage: stale | allow` is known afterwards: an admission was right, or it was one of a token that somebody had
revoked meanwhile, elsewhere. What is noted can be judged as soon as a proof of freshness was asked for after the admission, since
then every revocation from before it has been applied.

Bounded: beyond `MOST_NOTED` tokens on routes further ones are only counted. A token that is let in again and again is one note.
Owns the notes; they are this worker's and end with it. Decides nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from gateway.enforce.issuer import Issuer
from gateway.enforce.revoked import every_fact
from gateway.enforce.verified import Verified
from gateway.reasons import Reason
from gateway.revocation.entry import Kind
from gateway.revocation.view import View

MOST_NOTED: Final = 10_000
AT_ONCE: Final = 200
"""So many are judged in one go, of fifteen look-ups each: about a millisecond."""


@dataclass(slots=True)
class Admission:
    """One token on one route. `since` and `until` are wall time, `boot` is boot time of the newest admission."""

    token: Verified
    route: str
    since: float
    until: float
    boot: float
    requests: int = 1


@dataclass(frozen=True, slots=True)
class Wrongly:
    """An admission of what had been revoked, as it turned out. `revoked_at`: see `Deny`."""

    admission: Admission
    reason: Reason
    kind: Kind
    revoked_at: int


class Unchecked:
    """Per worker. `passed_over`: admissions that there was no room to note, since they were last told."""

    __slots__ = ("_notes", "passed_over")

    def __init__(self) -> None:
        self._notes: dict[tuple[object, ...], Admission] = {}
        self.passed_over = 0

    def __len__(self) -> int:
        return len(self._notes)

    def note(self, token: Verified, route: str, wall: float, boot: float) -> None:
        """It was let in at `wall` and `boot` time, and nobody knew whether it should be."""
        name = (route, token.issued_at, token.fact_keys)
        known = self._notes.get(name)
        if known is not None:
            known.until, known.boot, known.requests = max(known.until, wall), max(known.boot, boot), known.requests + 1
        elif len(self._notes) < MOST_NOTED:
            self._notes[name] = Admission(token, route, wall, wall, boot)
        else:
            self.passed_over += 1

    def judge(self, view: View, issuers: Mapping[str, Issuer]) -> list[Wrongly]:
        """Look at some of them again, and forget them. To be called while the view is fresh, until nothing is noted."""
        ready = [name for name, note in self._notes.items() if note.boot <= view.proven_at][:AT_ONCE]
        found = (_judged(self._notes.pop(name), view, issuers) for name in ready)
        return [wrongly for wrongly in found if wrongly is not None]


def _judged(note: Admission, view: View, issuers: Mapping[str, Issuer]) -> Wrongly | None:
    """NB: a version says which, not when: it was not known here when the token passed, and that is all there is to know."""
    for reason, kind, value in every_fact(note.token, view, issuers[note.token.issuer].skew):
        if kind is Kind.VERSION or value <= note.until:
            return Wrongly(note, reason, kind, value)
    return None
