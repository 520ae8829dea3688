"""The one spelling of an e-mail address by which an account is known.

    "  Álice@EXAMPLE.com "  ->  refused        the local part is ASCII: homoglyphs and zero-width characters are no accounts
    "  Alice@Bücher.example "  ->  alice@xn--bcher-kva.example

Whoever registers `Admin@…`, `admin@… ` or the same in fullwidth letters meets the account that is there already. The local
part is RFC 5322's dot-atom, lower case; the domain is IDNA 2008 in its ASCII form, so it shows what it is. Dots and
`+tags` are kept: only some providers ignore them, and to merge two people is worse than to split one.

It owns no data. The result passes unchanged when it is normalised again.
"""

import re
import unicodedata
from typing import Final

from gateway.login.refused import Refused

LONGEST_ADDRESS: Final = 254  # RFC 5321 section 4.5.3.1.3, less the angle brackets
LONGEST_TYPED: Final = 1024  # of what is looked at at all
_ATEXT: Final = r"[a-z0-9!#$%&'*+/=?^_`{|}~-]+"
_LOCAL_PART: Final = re.compile(rf"(?=.{{1,64}}\Z){_ATEXT}(?:\.{_ATEXT})*")
_LABEL: Final = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_DOMAIN: Final = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")


def normalise(typed: str) -> str | Refused:
    """The account's name for what was typed, or why there can be none."""
    if len(typed) > LONGEST_TYPED:
        return Refused.ADDRESS_TOO_LONG
    address = unicodedata.normalize("NFKC", typed).strip(" ").lower()
    local_part, at, domain = address.partition("@")
    if not at or "@" in domain:
        return Refused.ADDRESS_WITHOUT_AT
    if not _LOCAL_PART.fullmatch(local_part):
        return Refused.ADDRESS_LOCAL_PART
    ascii_domain = _ascii_domain(domain)
    if ascii_domain is None:
        return Refused.ADDRESS_DOMAIN
    if len(local_part) + 1 + len(ascii_domain) > LONGEST_ADDRESS:
        return Refused.ADDRESS_TOO_LONG
    return f"{local_part}@{ascii_domain}"


def _ascii_domain(domain: str) -> str | None:
    """The domain as DNS knows it; None when it is none. The common case needs no table of Unicode."""
    if len(domain) > LONGEST_ADDRESS:
        return None
    if not domain.isascii() or "xn--" in domain:
        domain = _by_idna(domain)
    return domain if len(domain) <= LONGEST_ADDRESS and _DOMAIN.fullmatch(domain) else None


def _by_idna(domain: str) -> str:
    import idna  # loaded by the first such address; it takes 5 ms

    try:
        return idna.encode(domain, uts46=True, std3_rules=True).decode("ascii").lower()
    except (idna.IDNAError, UnicodeError):
        return ""
