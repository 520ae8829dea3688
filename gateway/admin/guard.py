"""Who may speak to the admin port [B3]: three questions, plain functions, nothing remembered.

* Under which name? A page on evil.example may point its own name at 127.0.0.1 (DNS rebinding) and let the operator's browser
  do the talking. So `Host` must be a loopback name, the address we listen on, or one that the operator listed.
* From which page? `Origin` and `Sec-Fetch-Site` must be absent, as in curl and `gateway revoke`, or say it is our own. A link on
  any page may lead to the page of this port: it is the same for everybody, and knows nothing before it is given the token.
* With which token? Compared in constant time with each of at most two.
"""

import hmac
import ipaddress
import re
from collections.abc import Collection, Sequence
from typing import Final

from gateway.config.address import Address

_HOST: Final = re.compile(r"(?P<name>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.-]+?)\.?(?::[0-9]{1,5})?")
_LOCALHOST: Final = "localhost"


def allowed_names(listen: Address, further: Collection[str]) -> frozenset[str]:
    """The names besides loopback ones. A wildcard is not a name."""
    own = {listen.host} if listen.host and not listen.is_wildcard else set()
    return frozenset(name.lower().strip("[]") for name in (*own, *further))


def is_host_allowed(hosts: Sequence[str], names: Collection[str]) -> bool:
    """Whether there is exactly one `Host`, well-formed, and its name is one of ours. The port is free: tunnels change it."""
    if len(hosts) != 1 or not (match := _HOST.fullmatch(hosts[0])):
        return False
    name = match["name"].lower().strip("[]")
    return name in names or _is_loopback(name)


def is_same_origin(origins: Sequence[str], sites: Sequence[str], host: str) -> bool:
    """Whether the request comes from no page at all, or from one of this very host and port. `null` is a stranger."""
    if any(site not in {"same-origin", "none"} for site in sites):
        return False
    return all(origin.lower() in {f"http://{host.lower()}", f"https://{host.lower()}"} for origin in origins)


def is_navigation(modes: Sequence[str], destinations: Sequence[str]) -> bool:
    """Whether a browser opens a page of ours by itself, in a tab and in no frame, whichever site the link was on."""
    return list(modes) == ["navigate"] and list(destinations) == ["document"]


def which_token(authorizations: Sequence[str], tokens: Sequence[str]) -> int | None:
    """The place of the presented token, counted from 1 (the audit names it so), or None. Every token is compared."""
    if len(authorizations) != 1:
        return None
    scheme, _, presented = authorizations[0].partition(" ")
    if scheme.lower() != "bearer":
        return None
    raw = presented.strip(" ").encode("utf-8", "surrogateescape")
    found = None
    for place, token in enumerate(tokens, start=1):
        if hmac.compare_digest(raw, token.encode()):
            found = place
    return found


def _is_loopback(name: str) -> bool:
    if name == _LOCALHOST:
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
