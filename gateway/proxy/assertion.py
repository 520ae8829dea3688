"""A signed word about the user for the backend (`identity.assertion`): for backends that do not trust their network.

    {iss, aud: the route's name, sub, user, groups, sid, iat, exp}        typ assertion+jwt, signed with the ring's key

It lives a minute, so signing stays off the path: one signature (30 µs) per session, route and half a minute. It lives no longer
than the token it speaks of, and on a route that goes on without the store no longer than that route would [B5]: what a backend
may still believe a minute from now must not outlive what the gateway itself would.
"""

import math
from typing import TYPE_CHECKING, Final

from gateway.enforce.verified import Verified
from gateway.routes.route import OnOutage, Route
from gateway.sessions.minting import Mint
from gateway.tokens.issue import ASSERTION, assertion_claims

if TYPE_CHECKING:
    from gateway.proxy.plane import Plane

LIFETIME_S: Final = 60
RENEW_S: Final = 30
MEMORY: Final = 50_000


class Assertions:
    """The assertions of one worker, by token and route; a bounded memory."""

    __slots__ = ("_header", "_kept", "_mint")

    def __init__(self, header: str, mint: Mint) -> None:
        self._header = header.encode()
        self._mint = mint
        self._kept: dict[tuple[bytes, str], tuple[float, Verified, bytes]] = {}

    def line(self, token: Verified, route: Route, plane: "Plane") -> bytes:
        """The header line. Raises StoreUnavailable while there is no key to sign with."""
        now = plane.clock.wall()
        kept = self._kept.get((token.shown_as, route.name))
        if kept is not None and kept[1] is token and now < kept[0]:
            return kept[2]
        return self._sign(token, route, plane, now)

    def forget(self) -> None:
        """Our keys changed."""
        self._kept.clear()

    def _sign(self, token: Verified, route: Route, plane: "Plane", now: float) -> bytes:
        lifetime_s = min(float(LIFETIME_S), token.usable_until - now, _proof_left_s(route, plane))
        issued_at = now + plane.clock.store_offset_s
        claims = assertion_claims(
            self._mint.issuer, route.name, token.subject, token.user, token.groups, token.session, issued_at, max(1.0, lifetime_s)
        )
        line = b"%b: %b\r\n" % (self._header, self._mint.sign(ASSERTION, claims))
        if len(self._kept) >= MEMORY:
            self._kept.clear()
        self._kept[token.shown_as, route.name] = (now + lifetime_s - (LIFETIME_S - RENEW_S), token, line)
        return line


def _proof_left_s(route: Route, plane: "Plane") -> float:
    """How long the route may still rest on the newest proof of freshness; a fresh replica is proven anew all the time."""
    age_s = plane.clock.boot() - plane.known.replica.proven_at
    if age_s <= plane.known.max_staleness_s or route.on_outage is OnOutage.ALLOW:
        return math.inf
    return plane.known.stale_limit_s - age_s
