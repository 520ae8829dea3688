"""The identity that the backend reads: header lines for each preset.

Header values are ASCII on most of the way, so what is not printable ASCII is percent-encoded as UTF-8. The encoding must
not make two users one: a `%` that could be read as the start of an escape is itself encoded, and so is every comma and `%`
in a group, because groups are joined by commas.
"""

import re
from collections.abc import Callable
from typing import Final

from gateway.enforce.verified import Verified

_AMBIGUOUS_PERCENT: Final = re.compile(r"%(?=[0-9A-Fa-f]{2})")
_UNPRINTABLE: Final = re.compile(r"[^\x20-\x7e]+")


def encode(value: str) -> str:
    """A value as printable ASCII.

    >>> encode("José"), encode("100%"), encode("%41")
    ('Jos%C3%A9', '100%', '%2541')
    """
    return _UNPRINTABLE.sub(_escape, _AMBIGUOUS_PERCENT.sub("%25", value))


def encode_groups(groups: tuple[str, ...]) -> str:
    """Groups, joined by commas; a comma within a group is `%2C`."""
    return ",".join(_UNPRINTABLE.sub(_escape, group.replace("%", "%25").replace(",", "%2C")) for group in groups)


def _escape(match: re.Match[str]) -> str:
    return "".join(f"%{byte:02X}" for byte in match.group().encode())


def _user(token: Verified) -> str:
    return encode(token.user)


def _groups(token: Verified) -> str:
    return encode_groups(token.groups)


def _session(token: Verified) -> str:
    return encode(token.session or "")


def _name(token: Verified) -> str:
    return encode(token.name or "")


def _email(token: Verified) -> str:
    return encode(token.email or "")


_PRESETS: Final[dict[str, tuple[tuple[str, Callable[[Verified], str]], ...]]] = {
    "x-user": (("X-User", _user), ("X-User-Groups", _groups), ("X-Session-Id", _session)),
    "remote-user": (("Remote-User", _user), ("Remote-Groups", _groups), ("Remote-Name", _name), ("Remote-Email", _email)),
    "x-forwarded-user": (
        ("X-Forwarded-User", _user),
        ("X-Forwarded-Email", _email),
        ("X-Forwarded-Groups", _groups),
        ("X-Forwarded-Preferred-Username", _name),
    ),
    "x-auth-request": (
        ("X-Auth-Request-User", _user),
        ("X-Auth-Request-Email", _email),
        ("X-Auth-Request-Groups", _groups),
        ("X-Auth-Request-Preferred-Username", _name),
    ),
    "x-webauth": (
        ("X-WEBAUTH-USER", _user),
        ("X-WEBAUTH-EMAIL", _email),
        ("X-WEBAUTH-FULLNAME", _name),
        ("X-WEBAUTH-GROUPS", _groups),
    ),
}


def identity_lines(token: Verified, preset: str) -> bytes:
    """The header lines of a token's user, each ending in CRLF; fields without a value are left out."""
    values = ((name, value(token)) for name, value in _PRESETS[preset])
    return "".join(f"{name}: {value}\r\n" for name, value in values if value).encode("ascii")
