"""The gateway's own cookies on the wire: taken out of what a browser sends, written into what it gets (RFC 6265).

    Cookie: theme=dark; __Host-access=eyJ…; lang=fr      ->   Cookie: theme=dark; lang=fr        to the backend
                        what the decision reads

A cookie is found by the exact bytes of its name between `;`, blanks and `=`; nothing is unquoted, unescaped or trimmed beyond
space and tab, because whoever reads more into a cookie than browsers do can be made to read another one (S20, S21). One that
comes twice was planted by somebody: which of the two is ours cannot be told, so neither is believed (S19).

Owns the names. Knows no tokens.
"""

from dataclasses import dataclass
from typing import Final, NamedTuple

_SECURE_PREFIX: Final = b"__Host-"
_BLANKS: Final = b" \t"


class Taken(NamedTuple):
    """What was found in one Cookie field: the rest for the backend (empty: nothing), and ours in the order of `names`."""

    rest: bytes
    found: tuple[tuple[int, bytes], ...]


ACCESS: Final = 0
REFRESH: Final = 1
CSRF: Final = 2


def is_mostly_cookies(head: bytes) -> bool:
    """Whether a head, or the beginning of one, is as long as it is because of its cookies."""
    return 2 * sum(len(line) for line in head.split(b"\r\n") if line[:7].lower() == b"cookie:") > len(head)


@dataclass(frozen=True, slots=True)
class CookieNames:
    """The three cookies, as the configuration spells them. Without `Secure` there can be no `__Host-` prefix."""

    access: bytes
    refresh: bytes
    csrf: bytes

    @classmethod
    def of(cls, *, is_secure: bool) -> "CookieNames":
        prefix = _SECURE_PREFIX if is_secure else b""
        return cls(prefix + b"access", prefix + b"refresh", prefix + b"csrf")

    def take(self, value: bytes) -> Taken | None:
        """Ours out of a Cookie field; None when it holds none of ours, as most do."""
        if self.access not in value and self.refresh not in value and self.csrf not in value:
            return None
        rest, found = [], []
        for pair in value.split(b";"):
            name, _, content = pair.partition(b"=")
            place = self._place(name.strip(_BLANKS))
            if place is None:
                rest.append(pair)
            else:
                found.append((place, content.strip(_BLANKS)))
        return Taken(b";".join(rest).strip(_BLANKS), tuple(found)) if found else None

    def is_ours(self, name: bytes) -> bool:
        """Whether a backend that sets a cookie of this name means one of ours."""
        return self._place(name.strip(_BLANKS)) is not None

    def _place(self, name: bytes) -> int | None:
        return ACCESS if name == self.access else REFRESH if name == self.refresh else CSRF if name == self.csrf else None


@dataclass(frozen=True, slots=True)
class CookieWriter:
    """Writes `Set-Cookie` lines, each ending in CRLF."""

    names: CookieNames
    is_secure: bool
    same_site: str  # lax | strict

    def set(self, *, access: bytes | None, refresh: bytes, csrf: bytes | None, max_age_s: int) -> bytes:
        """The lines that bring a session to a browser. All live as long as the refresh token. `access` None: not for cookies."""
        lines = [self._line(self.names.refresh, refresh, max_age_s, is_hidden=True)]
        if access is not None:
            lines.insert(0, self._line(self.names.access, access, max_age_s, is_hidden=True))
        if csrf is not None:
            lines.append(self._line(self.names.csrf, csrf, max_age_s, is_hidden=False))
        return b"".join(lines)

    def clear(self) -> bytes:
        """The lines that take a session from a browser."""
        names = ((self.names.access, True), (self.names.refresh, True), (self.names.csrf, False))
        return b"".join(self._line(name, b"", 0, is_hidden=is_hidden) for name, is_hidden in names)

    def _line(self, name: bytes, value: bytes, max_age_s: int, *, is_hidden: bool) -> bytes:
        line = b"Set-Cookie: %b=%b; Path=/; Max-Age=%d; SameSite=%b" % (
            name,
            value,
            max_age_s,
            self.same_site.capitalize().encode(),
        )
        return line + (b"; Secure" if self.is_secure else b"") + (b"; HttpOnly" if is_hidden else b"") + b"\r\n"
