"""An issuer as the decision sees it: its configuration in the shape that judging a token needs, and its current keys.

It owns the reference to the key set in force. The worker replaces that with `adopt` when a source brings another one;
`generation` then grows, which tells whoever kept a token from before to ask `has_withdrawn`. It fetches nothing.
"""

from math import inf
from typing import TYPE_CHECKING, Final

from gateway.tokens.jwk import KeySet, refuse_mixed_algorithms, refuse_secrets_from_url

if TYPE_CHECKING:
    from gateway.config.schema import IssuerConfig
    from gateway.enforce.verified import Verified


OWN_ALGORITHMS: Final = frozenset(("ES256", "RS256", "EdDSA", "HS256"))
OWN_IAT_LEEWAY_S: Final = 2.0  # twice what two clocks may differ by


class Issuer:
    """One issuer of tokens. Only `keys` and `generation` ever change, and only by `adopt`."""

    __slots__ = (
        "algorithms",
        "audiences",
        "email_claim",
        "exp_leeway",
        "generation",
        "groups_claim",
        "is_own",
        "keys",
        "leeway",
        "max_lifetime",
        "name",
        "name_claim",
        "session_claim",
        "session_lifetime",
        "skew",
        "types",
        "user_claim",
        "user_prefix",
        "version_claim",
    )

    def __init__(
        self,
        name: str,
        audiences: frozenset[str],
        algorithms: frozenset[str],
        *,
        user_claim: str = "sub",
        groups_claim: str | None = "groups",
        session_claim: str | None = "sid",
        version_claim: str | None = None,
        name_claim: str | None = None,
        email_claim: str | None = None,
        user_prefix: str = "",
        max_lifetime: float = 3600.0,
        session_lifetime: float = 30 * 86400.0,
        leeway: float = 30.0,
        skew: float = 0.0,
        types: frozenset[str | None] = frozenset(("at+jwt", "jwt", None)),
        is_own: bool = False,
    ) -> None:
        self.name = name
        self.audiences = audiences
        self.algorithms = algorithms
        self.user_claim = user_claim
        self.groups_claim = groups_claim
        self.session_claim = session_claim
        self.version_claim = version_claim
        self.name_claim = name_claim
        self.email_claim = email_claim
        self.user_prefix = user_prefix
        self.max_lifetime = max_lifetime
        self.session_lifetime = session_lifetime
        self.leeway = leeway
        self.skew = skew
        self.types = types
        self.is_own = is_own
        self.exp_leeway = 0.0 if is_own else leeway
        self.keys: KeySet | None = None
        self.generation = 0

    @classmethod
    def from_config(cls, config: "IssuerConfig") -> "Issuer":
        """The issuer that `config` describes, still without keys.

        Raises `KeySetError` for secrets that come from a URL or are mixed with public keys.
        """
        refuse_mixed_algorithms(config.algorithms)
        refuse_secrets_from_url(config.jwks, config.algorithms)
        return cls(
            config.issuer,
            frozenset(config.audience),
            frozenset(config.algorithms),
            user_claim=config.claims.user,
            groups_claim=config.claims.groups,
            session_claim=config.claims.session,
            version_claim=config.claims.version,
            name_claim=config.claims.name,
            email_claim=config.claims.email,
            user_prefix=config.user_prefix,
            max_lifetime=config.max_lifetime,
            session_lifetime=config.session_lifetime,
            leeway=config.leeway,
            skew=config.skew,
            types=frozenset(None if name is None else media_type(name) for name in config.types),
        )

    @classmethod
    def of_ours(cls, name: str, audience: str, *, is_refresh: bool = False) -> "Issuer":
        """This gateway as an issuer of access tokens, or of refresh tokens, still without keys.

        `exp` has no leeway: we set it. `iat` has, because it is the store's second and another clock judges it [T6].
        Their algorithm is the key's own; the configured one may have changed since.
        """
        return cls(
            name,
            frozenset((audience,)),
            OWN_ALGORITHMS,
            user_claim="sub" if is_refresh else "name",
            name_claim=None,
            email_claim=None if is_refresh else "name",
            groups_claim=None if is_refresh else "groups",
            version_claim="ver",
            max_lifetime=inf,
            leeway=OWN_IAT_LEEWAY_S,
            types=frozenset(("rt+jwt" if is_refresh else "at+jwt",)),
            is_own=True,
        )

    def adopt(self, keys: KeySet) -> None:
        """Put `keys` in force. Nothing verified before counts as verified any more."""
        self.keys = keys
        self.generation += 1

    def has_withdrawn(self, token: "Verified") -> bool:
        """Whether the key that signed a token verified before is in force no more."""
        if token.generation == self.generation:
            return False
        return self.keys is None or all(key.thumbprint != token.thumbprint for key in self.keys.keys.values())


def media_type(name: str) -> str:
    """`typ` as RFC 7515 section 4.1.9 compares it: without case, and "application/" left out when no other slash follows."""
    lowered = name.lower()
    short = lowered.removeprefix("application/")
    return lowered if "/" in short else short
