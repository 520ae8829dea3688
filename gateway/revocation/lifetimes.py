"""How long a fact must be remembered, so that it outlives whatever it denies [L6]. Pure.

    token     exp + leeway + 60 s; exp unknown: the issuer's longest lifetime from now on instead
    session   the issuer's session lifetime, renewed by use; one of ours: until its absolute end, which whoever ends it knows
    user      as long as any token issued before it can live: longest lifetime + leeway + skew + 60 s
    version   of an account of ours: as long as a session with an older one could live, as whoever raises it says
    block key     until lifted

For the issuer `""` (every issuer), or one that is not configured, the longest of all counts. Too long costs memory,
too short lets a revoked token in.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Self

from gateway.config.schema import Config
from gateway.revocation.entry import PERMANENT, Kind, Revocation

MARGIN_S: Final = 60


@dataclass(frozen=True, slots=True)
class Lifetimes:
    """What the configuration says about one issuer's tokens, in seconds."""

    max_lifetime_s: float = 3600.0
    session_lifetime_s: float = 30 * 86400.0
    leeway_s: float = 30.0
    skew_s: float = 0.0

    @classmethod
    def of(cls, config: Config) -> "dict[str, Self]":
        """The lifetimes of every configured issuer, and of our own tokens: the refresh token is the one that lives longest."""
        others = {
            issuer.issuer: cls(issuer.max_lifetime, issuer.session_lifetime, issuer.leeway, issuer.skew)
            for issuer in config.issuers
        }
        return {config.own_issuer: cls(config.tokens.refresh_ttl, config.tokens.session_ttl, 0.0, 0.0), **others}


@dataclass(frozen=True, slots=True)
class Expiry:
    """When a fact may be forgotten: at a second, or, when that is 0, so many seconds after the store's now."""

    at: int = 0
    after_s: int = 0


def expiry_of(revocation: Revocation, issuers: Mapping[str, Lifetimes]) -> Expiry:
    """When this revocation's fact may be forgotten."""
    concerned = [issuers[revocation.issuer]] if revocation.issuer in issuers else list(issuers.values()) or [Lifetimes()]
    leeway_s = max(issuer.leeway_s + issuer.skew_s for issuer in concerned)
    longest_s = max(issuer.max_lifetime_s for issuer in concerned)
    match revocation.kind:
        case Kind.SESSION | Kind.VERSION if revocation.expires_at is not None:
            return Expiry(at=min(math.ceil(revocation.expires_at), PERMANENT))
        case Kind.TOKEN if revocation.expires_at is not None:
            return Expiry(at=min(math.ceil(revocation.expires_at + leeway_s) + MARGIN_S, PERMANENT))
        case Kind.TOKEN | Kind.USER:
            return Expiry(after_s=math.ceil(longest_s + leeway_s) + MARGIN_S)
        case Kind.SESSION:
            return Expiry(after_s=math.ceil(max(issuer.session_lifetime_s for issuer in concerned) + leeway_s) + MARGIN_S)
        case _:
            return Expiry(at=PERMANENT)


def largest_skew_s(issuers: Mapping[str, Lifetimes]) -> float:
    """How far a not-before may lie in the future at most [L7]."""
    return max((issuer.skew_s for issuer in issuers.values()), default=0.0)
