"""The gateway's own endpoints as routes: who may ask for what under `/auth/`.

The data plane judges them as it judges an application's: the same cookies, the same refresh, the same CSRF, the same refusals.
What needs no session, or must work with a dying one (login, refresh, logout), is public here and judged by the handler itself.
"""

from typing import Final

from gateway.routes.route import Access, Route
from gateway.telemetry.metrics import OWN_ROUTE

OWN_NAME: Final = OWN_ROUTE
"""The route's name in metrics and logs. No configured route may have it."""

OWN_UPSTREAM: Final = "(gateway)"
"""No configured upstream can have this name."""

OWN_BODY_LIMIT: Final = 16 * 1024
"""Bytes of a request's body. It is here whole before one of our endpoints is asked: they have few connections, and everybody
needs them."""

JWKS_PATH: Final = b"/.well-known/jwks.json"
_WITH_SESSION: Final = (b"/auth/me", b"/auth/devices", b"/auth/password", b"/auth/logout-all", b"/auth/sessions")


class OwnEndpoints:
    """Finds the route of one of our own paths. Without accounts there is nothing but the key set."""

    __slots__ = ("_has_accounts", "_public", "_required")

    def __init__(self, own_issuer: str, *, has_accounts: bool) -> None:
        self._has_accounts = has_accounts
        self._public = Route(OWN_NAME, b"/auth/", OWN_UPSTREAM, Access.PUBLIC, is_shared=True, is_own=True)
        self._required = Route(
            OWN_NAME,
            b"/auth/",
            OWN_UPSTREAM,
            Access.REQUIRED,
            issuers=frozenset((own_issuer,)),
            is_shared=True,
            is_own=True,
        )

    def find(self, method: bytes, path: bytes) -> Route | None:
        """The route, or None when nothing of ours is there."""
        if not self._has_accounts:
            return self._public if path == JWKS_PATH else None
        if path in _WITH_SESSION or path.startswith(b"/auth/sessions/"):
            return self._required
        return self._public
