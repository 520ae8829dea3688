"""The two tokens of a session's present generation, minted from its record: any worker makes the same ones again [R1].

Holds the signing key that the ring names at the moment; the worker replaces it when the ring changes. No I/O.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from gateway.errors import StoreUnavailable
from gateway.sessions.model import COOKIE, Record
from gateway.tokens.issue import Claims, access_token, refresh_token, sign
from gateway.tokens.ring import Ring


@dataclass(frozen=True, slots=True)
class Minted:
    """The tokens of one generation, and the value that a page of the session echoes."""

    record: Record
    access: bytes
    refresh: bytes
    csrf: str

    @property
    def cookies(self) -> dict[str, Any]:
        """What `CookieWriter.set` takes. Where the client holds the access token itself, the refresh cookie is alone [R6]."""
        record = self.record
        max_age_s = max(0, int(record.refresh_expires - record.rotated_at))
        if record.delivery == COOKIE:
            return {"access": self.access, "refresh": self.refresh, "csrf": self.csrf.encode(), "max_age_s": max_age_s}
        return {"access": None, "refresh": self.refresh, "csrf": None, "max_age_s": max_age_s}


class Mint:
    """Makes tokens of our own. Per process; `ring` changes."""

    __slots__ = ("_audience", "_csrf_of", "issuer", "ring")

    def __init__(self, issuer: str, audience: str, csrf_of: Callable[[str], str]) -> None:
        self.issuer = issuer
        self._audience = audience
        self._csrf_of = csrf_of
        self.ring = Ring()

    def mint(self, record: Record) -> Minted:
        """The tokens of the record's generation. Raises StoreUnavailable while there is no key to sign with."""
        key = self.ring.signing
        if key is None:
            raise StoreUnavailable("there is no signing key yet")
        csrf = self._csrf_of(record.sid)
        claims = Claims(
            issuer=self.issuer,
            audience=self._audience,
            sub=record.sub,
            name=record.user,
            sid=record.sid,
            version=record.version,
            generation=record.generation,
            issued_at=record.rotated_at,
            access_expires=record.access_expires,
            refresh_expires=record.refresh_expires,
            groups=record.groups,
            csrf=csrf,
            secret=record.secret,
        )
        return Minted(record, access_token(key, claims), refresh_token(key, claims), csrf)

    def sign(self, token_type: str, claims: dict[str, Any]) -> bytes:
        """Anything else that is signed with our key. Raises StoreUnavailable while there is none."""
        key = self.ring.signing
        if key is None:
            raise StoreUnavailable("there is no signing key yet")
        return sign(key, token_type, claims)
