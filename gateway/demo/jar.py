"""A browser's cookies for one site, and what can be read in them by whoever holds them.

A jar keeps what `Set-Cookie` says (RFC 6265) as far as one site on one address needs it: names, values, how long they live, who
may read them. Copying a jar is the theft: nothing in a cookie says who holds it.
"""

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Self

import jwt

CLAIMS: Final = ("jti", "sid", "ver", "gen", "iat", "exp")
_HEAD, _TAIL = 10, 6


@dataclass(frozen=True, slots=True)
class Cookie:
    """One cookie. `expires_at` is wall clock; `is_hidden`: no script of a page can read it."""

    name: str
    value: str
    expires_at: float
    is_hidden: bool

    @property
    def short(self) -> str:
        """Enough of the value to tell two apart, too little to use."""
        return self.value if len(self.value) <= _HEAD + _TAIL + 8 else f"{self.value[:_HEAD]}…{self.value[-_TAIL:]}"

    @property
    def claims(self) -> dict[str, Any]:
        """What the token in it says, unverified; empty when it holds none."""
        try:
            said: dict[str, Any] = jwt.decode(self.value, options={"verify_signature": False})
        except jwt.InvalidTokenError:
            return {}
        return {name: said[name] for name in CLAIMS if name in said}


@dataclass(slots=True)
class Jar:
    """Per browser and site."""

    cookies: dict[str, Cookie] = field(default_factory=dict)

    def copy(self) -> Self:
        """What a thief takes away."""
        return type(self)(dict(self.cookies))

    def header(self) -> str:
        """The value of `Cookie`, without what has expired; empty: there is nothing to send."""
        now = time.time()
        return "; ".join(f"{cookie.name}={cookie.value}" for cookie in self.cookies.values() if cookie.expires_at > now)

    def take(self, lines: Iterable[str]) -> tuple[str, ...]:
        """Obey these `Set-Cookie` lines; what they did, by name: `access`, `-refresh`."""
        done = []
        for line in lines:
            name, value, attributes = _read(line)
            max_age_s = int(attributes.get("max-age", "86400"))
            if max_age_s > 0:
                self.cookies[name] = Cookie(name, value, time.time() + max_age_s, "httponly" in attributes)
                done.append(name)
            else:
                self.cookies.pop(name, None)
                done.append(f"-{name}")
        return tuple(done)

    def value(self, name: str) -> str:
        """A cookie's value, or nothing."""
        cookie = self.cookies.get(name)
        return cookie.value if cookie is not None else ""

    def claim(self, name: str, cookie: str = "access") -> Any:
        """A claim of the token in a cookie; None when there is none."""
        found = self.cookies.get(cookie)
        return found.claims.get(name) if found is not None else None


def _read(line: str) -> tuple[str, str, Mapping[str, str]]:
    pair, *rest = line.split(";")
    name, _, value = pair.strip().partition("=")
    attributes = {key.strip().lower(): text.strip() for key, _, text in (part.partition("=") for part in rest)}
    return name, value, attributes
