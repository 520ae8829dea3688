"""Did the page that sent this request come from here? Asked when the token came in a cookie, which browsers send for anybody.

    Sec-Fetch-Site   there: only `same-origin` passes, and it suffices      the browser's word, no page can write it
    Origin           there: ours or a trusted one passes, and it suffices
    X-CSRF-Token     the page's echo of the CSRF cookie: HMAC(key, sid), so nobody can make one for a session of another

Safe methods change nothing and are not asked, except for an upgrade: a WebSocket is opened by GET and then says anything [C1].
Login, register and refresh stop after `Origin`: with neither header there is no browser that could be abused.
"""

import hmac
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from gateway.enforce.shown import Shown, shown_by
from gateway.tokens import base64url
from gateway.wire.head import RequestHead

SAFE_METHODS: Final = frozenset((b"GET", b"HEAD", b"OPTIONS"))


@dataclass(frozen=True, slots=True)
class Csrf:
    """The rules of one gateway. `origins` are ours and the trusted ones; `keys` newest first."""

    origins: frozenset[bytes]
    keys: tuple[bytes, ...]
    is_enabled: bool = True

    @classmethod
    def of(cls, public_url: str, trusted_origins: Iterable[str], keys: Iterable[bytes], *, is_enabled: bool) -> "Csrf":
        return cls(frozenset(origin.encode() for origin in (public_url, *trusted_origins)), tuple(keys), is_enabled)

    def value_of(self, sid: str) -> str:
        """The CSRF value of a session: one for its whole life."""
        return _value(self.keys[0], sid)

    def is_from_here(self, shown: Shown) -> bool | None:
        """What the browser itself says. None: it says nothing."""
        if not self.is_enabled:
            return True
        if shown.site is not None:
            return shown.site == b"same-origin"
        if shown.origin is not None:
            return shown.origin in self.origins
        return None

    def allows(self, head: RequestHead, sid: str | None) -> bool:
        """Whether a request whose token came in a cookie may be served. `sid` is the token's session."""
        if head.method in SAFE_METHODS and head.upgrade is None:
            return True
        shown = shown_by(head)
        said = self.is_from_here(shown)
        return said if said is not None else self.is_echoed(shown.echo, sid)

    def is_echoed(self, echo: bytes | None, sid: str | None) -> bool:
        """Whether the page knows the CSRF value of this session."""
        if not echo or sid is None:
            return False
        return any(hmac.compare_digest(_value(key, sid).encode(), echo) for key in self.keys)


def _value(key: bytes, sid: str) -> str:
    return base64url.encode(hmac.digest(key, sid.encode(), sha256)[:16]).decode()
