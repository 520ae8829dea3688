"""The cookies of a rotation, on their way out with the answer to the request that asked for it [R4].

The answer may take minutes. When its head is written at last, the cookies go out only if they still mean what they meant: the
session is still good, its grace is not over, and no newer generation is known. Otherwise a report that took six minutes would
put back what a log-out took away. What does not go out is not lost: the browser shows its old cookie again and gets the same
successor, as long as that was never used [R2].
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from gateway.enforce.decide import judge
from gateway.enforce.verdict import Allow
from gateway.enforce.verified import Verified
from gateway.routes.route import Access, Route
from gateway.sessions.cache import Entry
from gateway.sessions.minting import Minted
from gateway.sessions.model import Record

if TYPE_CHECKING:
    from gateway.proxy.plane import Plane

# Asks of a token that its session is good, and nothing of what a route may want.
_ANYWHERE: Final = Route("(any)", b"/", "", Access.REQUIRED)


@dataclass(frozen=True, slots=True)
class Renewal:
    """A session that was renewed for a request: the token that the request goes on with, and what the browser is to get."""

    access: Verified
    minted: Minted


def cookies_of(renewal: Renewal | None, plane: "Plane") -> bytes:
    """The lines to set, at the moment when the answer's head is written; empty when nothing is to be set."""
    if renewal is None or not _is_good(renewal, plane):
        return b""
    return plane.cookie_writer.set(**renewal.minted.cookies)


def _is_good(renewal: Renewal, plane: "Plane") -> bool:
    now, boot = plane.clock.wall(), plane.clock.boot()
    mine = renewal.minted.record
    if now + plane.clock.store_offset_s - mine.rotated_at > plane.grace_s:
        return False
    known = plane.known.sessions.find(mine.sid, boot)
    newest = known.record.generation if isinstance(known, Entry) and isinstance(known.record, Record) else mine.generation
    return newest <= mine.generation and type(judge(renewal.access, _ANYWHERE, plane.known, now, boot)) is Allow
