"""A route as the decision sees it: frozen, with everything that can be known before a request comes."""

from dataclasses import dataclass
from enum import Enum


class Access(Enum):
    """Who may pass: anyone, anyone with or without a token, only a token."""

    PUBLIC = "public"
    OPTIONAL = "optional"
    REQUIRED = "required"


class OnOutage(Enum):
    """What a route does when revocation cannot be checked: refuse, trust the last known state for a while, let pass."""

    DENY = "deny"
    STALE = "stale"
    ALLOW = "allow"


@dataclass(frozen=True, slots=True)
class Route:
    """One entry of `routes`. `path` ends in `/` for a prefix, which matches itself without the slash too."""

    name: str
    path: bytes
    upstream: str
    access: Access
    methods: frozenset[bytes] | None = None
    groups: frozenset[str] = frozenset()
    issuers: frozenset[str] | None = None
    on_outage: OnOutage = OnOutage.DENY
    is_once: bool = False
    forward_authorization: bool = False
    forward_token: str | None = None
    allows_service_worker: bool = False
    is_shared: bool = False  # answers to requests with a token may be kept by shared caches
    is_own: bool = False  # answered by the gateway itself
