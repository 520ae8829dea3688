"""The shapes of claims: each function reads one claim out of a parsed payload, or raises `Malformed`.

It owns nothing and judges no value, only types and bounds: what comes out is safe to compare, to compute with, to make a
store key of and (percent-encoded) to put into a header. The libraries accept an `exp` that is a string, a user that is
empty, 10 kB long or holds CR LF; here each claim has one shape.
"""

import re
from typing import Any, Final

MAX_TEXT_BYTES: Final = 255  # of a user, session, token id or group; an OpenID Connect `sub` has the same bound
MAX_GROUPS: Final = 256
_LATEST_DATE: Final = 253402300799  # 9999-12-31T23:59:59Z; beyond it a date is a mistake, or milliseconds
_MAX_VERSION: Final = 2**53  # exact in every JSON reader
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")


class Malformed(Exception):
    """The token has not the shape that we accept. The text is ours and fixed: it never repeats the token."""


def read_date(claims: dict[str, Any], name: str) -> float:
    """A required NumericDate (RFC 7519 section 2): a JSON number, no string, no boolean, between 1970 and 9999."""
    value = claims.get(name)
    if type(value) is not int and type(value) is not float:  # bool is an int to isinstance
        raise Malformed(f"{name} is missing or not a number")
    if not 0 <= value <= _LATEST_DATE:
        raise Malformed(f"{name} is not a date")
    return float(value)


def read_optional_date(claims: dict[str, Any], name: str) -> float | None:
    """A NumericDate, or None when the claim is absent."""
    return read_date(claims, name) if name in claims else None


def read_lenient_date(claims: dict[str, Any], name: str) -> float | None:
    """A date that only tells logins apart: None when it is absent or no date. Nobody is refused for it."""
    value = claims.get(name)
    if type(value) is not int and type(value) is not float:
        return None
    return float(value) if 0 <= value <= _LATEST_DATE else None


def read_issuer(claims: dict[str, Any]) -> str:
    """`iss`; empty when it is absent, which is the name of no issuer."""
    value = claims.get("iss", "")
    if type(value) is not str:
        raise Malformed("iss is not a string")
    return value


def read_audiences(claims: dict[str, Any]) -> list[str]:
    """`aud` as a list: a string stands for a list of one (RFC 7519 section 4.1.3); empty when it is absent."""
    value = claims.get("aud", [])
    if type(value) is str:
        return [value]
    if type(value) is not list or not all(type(audience) is str for audience in value):
        raise Malformed("aud is neither a string nor a list of strings")
    return value


def read_user(claims: dict[str, Any], name: str) -> str:
    """The claim that says who the user is. Required.

    NB: a comma is refused too (J33): a backend that folds equal headers into one reads `X-User: alice,admin` as two users.
    """
    user = _bounded_text(_find(claims, name), "the user claim")
    if "," in user:
        raise Malformed("the user claim holds a comma")
    return user


def read_optional_text(claims: dict[str, Any], name: str) -> str | None:
    """A claim to look up by (jti, sid, sub): one to 255 printable bytes, or None when it is absent."""
    return _bounded_text(claims[name], name) if name in claims else None


def read_mapped_text(claims: dict[str, Any], name: str | None) -> str | None:
    """The same for a claim whose name comes from the configuration."""
    value = None if name is None else _find(claims, name)
    return None if value is None else _bounded_text(value, "a mapped claim")


def read_display_text(claims: dict[str, Any], name: str | None) -> str | None:
    """A claim that is only shown (a name, an e-mail address). What cannot be shown is left out: nobody is refused for it."""
    value = None if name is None else _find(claims, name)
    if type(value) is not str or not value or len(value.encode()) > MAX_TEXT_BYTES or _CONTROL.search(value):
        return None
    return value


def read_groups(claims: dict[str, Any], name: str | None) -> tuple[str, ...]:
    """The user's groups, each once and in the token's order: a list of strings, or one string. Absent or null: none."""
    value = None if name is None else _find(claims, name)
    if value is None:
        return ()
    groups = [value] if type(value) is str else value
    if type(groups) is not list or len(groups) > MAX_GROUPS:
        raise Malformed(f"the groups claim is no list of at most {MAX_GROUPS} strings")
    return tuple(dict.fromkeys([_bounded_text(group, "a group") for group in groups]))


def read_version(claims: dict[str, Any], name: str | None) -> int | None:
    """The user's version, required once the configuration names its claim: a whole number from 0, exact in every reader."""
    if name is None:
        return None
    value = _find(claims, name)
    if type(value) is not int or not 0 <= value <= _MAX_VERSION:
        raise Malformed("the version claim is missing or not a whole number")
    return value


def read_generation(claims: dict[str, Any]) -> int:
    """`gen` of a token of ours: which rotation of its session it belongs to, counted from 1."""
    value = claims.get("gen")
    if type(value) is not int or not 1 <= value <= _MAX_VERSION:
        raise Malformed("gen is missing or not a whole number from 1")
    return value


def _find(claims: dict[str, Any], name: str) -> Any:
    """The claim called `name`, or else the one at that dotted path (`realm_access.roles`). A name may itself hold dots."""
    if name in claims or "." not in name:
        return claims.get(name)
    value: Any = claims
    for step in name.split("."):
        if type(value) is not dict:
            return None
        value = value.get(step)
    return value


def _bounded_text(value: Any, what: str) -> str:
    """Printable text without a space at either end.

    `isprintable` refuses control characters, surrogates, line separators, every space but U+0020, and the invisible
    marks that reverse or hide text on a screen (an audit line that reads backwards is an attack on its reader).
    """
    if type(value) is not str or not value:
        raise Malformed(f"{what} is missing, empty or not a string")
    if not value.isprintable() or value[0] == " " or value[-1] == " ":
        raise Malformed(f"{what} holds characters that cannot be shown")
    if len(value) > MAX_TEXT_BYTES or (not value.isascii() and len(value.encode()) > MAX_TEXT_BYTES):
        raise Malformed(f"{what} is longer than {MAX_TEXT_BYTES} bytes")
    return value
